//! From a configuration to the list of steps that set a container up.
//!
//! Pure: the list prints, and is what the snapshot tests hold on to. The order
//! is the security of the whole: what is opened on the host is opened before
//! the container's tree is visible, privileges fall after the last thing that
//! needs them, and the filter is loaded after the last call it may refuse.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::spec::{NamespaceType, Spec, TimeOffset};
use crate::sys::clone;

mod checks;
mod devices;
mod display;
mod error;
mod exec;
mod mounts;
mod options;
pub(crate) use devices::{Node, NodeKind};
pub(crate) use error::PlanError;
pub(crate) use exec::exec;
pub(crate) use mounts::{CgroupMount, IdMap, MountPlan, MountWhat};
pub(crate) use options::WORDS as MOUNT_OPTIONS;

/// What a container's first process is made of.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    /// For the clone itself.
    pub(crate) clone_flags: u64,
    /// Namespaces that exist already, joined first.
    pub(crate) join: Vec<(NamespaceType, PathBuf)>,
    /// What the child does, in order.
    pub(crate) steps: Vec<Step>,
}

/// One thing that the child does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Joins the cgroups of version 1; version 2's it was cloned into.
    JoinCgroups,
    /// Makes its memory and /proc entry unreadable to the namespaces it joins.
    HideFromOthers,
    /// Joins the namespace that the parent opened for this type.
    Join(NamespaceType),
    /// Waits until the parent did what only it can: ids, limits.
    AwaitParent,
    /// Becomes root of its new user namespace.
    BecomeRoot,
    /// Leaves the caller's session and terminal.
    NewSession,
    /// Leaves the caller's keyring.
    NewKeyring,
    /// The cgroup it now is in becomes the root of what it sees.
    NewCgroupNamespace,
    /// Sets clock offsets and enters the time namespace.
    NewTimeNamespace(BTreeMap<String, TimeOffset>),
    /// A new network namespace has its loopback down.
    LoopbackUp,
    /// No mount made here shows on the host (or only the other way round).
    IsolateMounts(Propagation),
    /// Attaches the root filesystem, here only.
    AttachRoot,
    /// One mount.
    Mount(Box<MountPlan>),
    /// Device nodes on the /dev that is ours.
    MakeDevices(Vec<Node>),
    /// The parent runs prestart and createRuntime hooks.
    RuntimeHooks,
    /// Hooks in the container's namespaces, before the pivot.
    ContainerHooks,
    /// The root filesystem becomes the root, and the host's tree goes.
    PivotRoot,
    /// Joins every namespace of a running container.
    JoinRunning,
    /// Opens the terminal and makes it the three standard descriptors.
    OpenConsole {
        /// Whether it is shown as /dev/console too.
        show: bool,
    },
    /// Standard descriptors on the host's /dev/null move to the container's.
    ReopenNull,
    /// A mount that had to be written first turns read-only.
    MakeReadOnly(PathBuf),
    /// The root mount's propagation, as asked for.
    PropagateRoot(Propagation),
    /// Host name.
    SetHostname(String),
    /// NIS domain name.
    SetDomainname(String),
    /// Kernel parameters, through a procfs of our own.
    SetSysctls(BTreeMap<String, String>),
    /// A path that can't be written.
    ProtectPath(PathBuf),
    /// A path that shows nothing.
    MaskPath(PathBuf),
    /// Execution domain.
    SetPersonality(u64),
    /// No exec adds privileges from here on.
    NoNewPrivileges,
    /// The system call filter.
    LoadFilter,
    /// Nothing but the standard and the passed descriptors survives exec.
    MarkDescriptors,
    /// Working directory, ids, limits, capabilities.
    BecomeUser,
    /// Looks the program up, as the user it will run as: a missing one is told
    /// before anything is said to be created.
    FindProgram,
    /// Tells the parent, and waits for the word to start.
    AwaitStart,
    /// Hooks inside, just before the program.
    StartHooks,
    /// The program.
    Execute,
}

/// How mount events travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// Neither way.
    Private,
    /// From the host only.
    Slave,
    /// Both ways.
    Shared,
    /// Neither way, and no bind of it.
    Unbindable,
}

impl Propagation {
    /// The kernel's number.
    pub(crate) fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }

    /// From an option of a mount or of the root; whether it is recursive.
    pub(crate) fn parse(word: &str) -> Option<(Self, bool)> {
        Some(match word {
            "private" => (Self::Private, false),
            "rprivate" => (Self::Private, true),
            "slave" => (Self::Slave, false),
            "rslave" => (Self::Slave, true),
            "shared" => (Self::Shared, false),
            "rshared" => (Self::Shared, true),
            "unbindable" => (Self::Unbindable, false),
            "runbindable" => (Self::Unbindable, true),
            _ => return None,
        })
    }
}

/// What the plan needs to know beside the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Surroundings {
    /// The container's cgroup directories, as they are shown inside.
    pub(crate) cgroups: Vec<CgroupMount>,
    /// Whether device nodes can be made (not in a user namespace).
    pub(crate) can_mknod: bool,
}

/// Plans a container.
pub(crate) fn plan(spec: &Spec, around: &Surroundings) -> Result<Plan, PlanError> {
    let process = spec.process.as_ref().ok_or(PlanError::Missing("process"))?;
    let linux = spec.linux.as_ref().ok_or(PlanError::Missing("linux"))?;
    let root = spec.root.as_ref().ok_or(PlanError::Missing("root"))?;
    checks::refuse_what_is_not_built(spec)?;
    checks::no_namespace_twice(&linux.namespaces)?;
    if !spec.creates(NamespaceType::Mount) {
        return Err(PlanError::Missing("a new mount namespace"));
    }
    let new = |kind| spec.creates(kind);
    let (mut clone_flags, mut join) = (0, Vec::new());
    for namespace in &linux.namespaces {
        match &namespace.path {
            Some(path) => join.push((namespace.kind, path.clone())),
            None => clone_flags |= at_clone(namespace.kind),
        }
    }
    // A pid namespace counts for children, so the parent joins it; the rest is
    // joined in the order in which privileges allow.
    join.sort();

    let mut steps = vec![Step::HideFromOthers, Step::JoinCgroups, Step::AwaitParent];
    steps.extend(
        join.iter()
            .filter(|(kind, _)| *kind != NamespaceType::Pid)
            .map(|(kind, _)| Step::Join(*kind)),
    );
    let mut when = |wanted: bool, step: Step| {
        if wanted {
            steps.push(step);
        }
    };
    when(new(NamespaceType::User), Step::BecomeRoot);
    when(true, Step::NewSession);
    when(true, Step::NewKeyring);
    when(new(NamespaceType::Cgroup), Step::NewCgroupNamespace);
    when(
        new(NamespaceType::Time),
        Step::NewTimeNamespace(linux.time_offsets.clone()),
    );
    when(new(NamespaceType::Network), Step::LoopbackUp);
    let rootfs_propagation = linux
        .rootfs_propagation
        .as_deref()
        .filter(|word| !word.is_empty())
        .map(|word| {
            Propagation::parse(word)
                .map(|(propagation, _)| propagation)
                .ok_or_else(|| PlanError::Invalid {
                    property: "linux.rootfsPropagation",
                    value: word.to_owned(),
                })
        })
        .transpose()?;
    let isolation = match rootfs_propagation {
        Some(Propagation::Slave | Propagation::Shared) => Propagation::Slave,
        Some(Propagation::Private | Propagation::Unbindable) | None => Propagation::Private,
    };
    when(true, Step::IsolateMounts(isolation));
    when(true, Step::AttachRoot);

    let userns = new(NamespaceType::User).then_some(linux);
    let (mounts, own_dev, late) = mounts::plan(&spec.mounts, &around.cgroups, userns)?;
    steps.extend(mounts.into_iter().map(|mount| Step::Mount(Box::new(mount))));
    let nodes = devices::plan(&linux.devices, own_dev, around.can_mknod)?;
    let mut when = |wanted: bool, step: Step| {
        if wanted {
            steps.push(step);
        }
    };
    when(!nodes.is_empty(), Step::MakeDevices(nodes));
    let hooks = spec.hooks.clone().unwrap_or_default();
    when(
        !(hooks.prestart.is_empty() && hooks.create_runtime.is_empty()),
        Step::RuntimeHooks,
    );
    when(!hooks.create_container.is_empty(), Step::ContainerHooks);
    when(true, Step::PivotRoot);
    when(process.terminal, Step::OpenConsole { show: true });
    when(!process.terminal, Step::ReopenNull);
    for path in late {
        when(true, Step::MakeReadOnly(path));
    }
    if let Some(asked @ (Propagation::Shared | Propagation::Unbindable)) = rootfs_propagation {
        when(true, Step::PropagateRoot(asked));
    }
    if let Some(name) = non_empty(spec.hostname.as_ref()) {
        checks::owned(spec, NamespaceType::Uts, "hostname")?;
        when(true, Step::SetHostname(name));
    }
    if let Some(name) = non_empty(spec.domainname.as_ref()) {
        checks::owned(spec, NamespaceType::Uts, "domainname")?;
        when(true, Step::SetDomainname(name));
    }
    checks::check_sysctls(spec)?;
    when(
        !linux.sysctl.is_empty(),
        Step::SetSysctls(linux.sysctl.clone()),
    );
    for path in &linux.readonly_paths {
        when(true, Step::ProtectPath(path.clone()));
    }
    for path in &linux.masked_paths {
        when(true, Step::MaskPath(path.clone()));
    }
    // Last of the mounts' steps: mount points on it are made before.
    when(root.readonly, Step::MakeReadOnly(PathBuf::from("/")));
    if let Some(personality) = &linux.personality {
        when(
            true,
            Step::SetPersonality(checks::domain(&personality.domain)?),
        );
    }
    let filtered = linux.seccomp.is_some();
    when(process.no_new_privileges, Step::NoNewPrivileges);
    // Without no_new_privs loading takes CAP_SYS_ADMIN, so it comes before
    // capabilities fall. The value is tested, not its presence.
    when(filtered && !process.no_new_privileges, Step::LoadFilter);
    when(true, Step::MarkDescriptors);
    when(true, Step::BecomeUser);
    when(true, Step::FindProgram);
    when(true, Step::AwaitStart);
    when(!hooks.start_container.is_empty(), Step::StartHooks);
    when(filtered && process.no_new_privileges, Step::LoadFilter);
    when(true, Step::Execute);
    Ok(Plan {
        clone_flags,
        join,
        steps,
    })
}

/// The clone flag of a new namespace. Cgroup and time namespaces are entered
/// later: the first after the cgroup was joined, the second after its offsets
/// were written.
fn at_clone(kind: NamespaceType) -> u64 {
    match kind {
        NamespaceType::Pid => clone::NEWPID,
        NamespaceType::Network => clone::NEWNET,
        NamespaceType::Mount => clone::NEWNS,
        NamespaceType::Ipc => clone::NEWIPC,
        NamespaceType::Uts => clone::NEWUTS,
        NamespaceType::User => clone::NEWUSER,
        NamespaceType::Cgroup | NamespaceType::Time => 0,
    }
}

fn non_empty(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

#[cfg(test)]
mod tests;
