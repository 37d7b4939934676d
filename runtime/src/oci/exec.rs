//! Another program in a running container, for images without our init.
//!
//! The container is known by a pidfd, so that no number is looked up twice.
//! One `setns` joins everything (its user namespace first, as the kernel does
//! it); the pid namespace is joined before the clone, since it holds for
//! children.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::apply::{Child, StartBy, clone_flag};
use super::cgroup::Membership;
use super::channel::{Channel, ChannelError, Message};
use super::console;
use super::create::{self, CreateError};
use super::foreground::{self, Signals};
use super::lifecycle::{LifecycleError, RunMode, find};
use super::mounts::Mask;
use super::plan;
use super::prepare::Prepared;
use super::privileges;
use super::report::{Report, Reporter};
use super::seccomp::Filter;
use super::spec::{Linux, NamespaceType, Process, Spec};
use super::state::{State, Status};
use crate::sys::{self, Cloned};

/// What to run, and how to stay with it.
#[derive(Debug)]
pub(crate) struct ExecRequest {
    pub(crate) id: String,
    pub(crate) process: Process,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) preserve: i32,
    pub(crate) mode: RunMode,
}

/// All types, for what differs from our own.
const TYPES: [(NamespaceType, &str); 8] = [
    (NamespaceType::User, "user"),
    (NamespaceType::Mount, "mnt"),
    (NamespaceType::Pid, "pid"),
    (NamespaceType::Network, "net"),
    (NamespaceType::Ipc, "ipc"),
    (NamespaceType::Uts, "uts"),
    (NamespaceType::Cgroup, "cgroup"),
    (NamespaceType::Time, "time"),
];

/// The process description that a container was made with: the defaults of
/// what runs in it later.
pub(crate) fn defaults(root: &Path, id: &str) -> Result<Process, LifecycleError> {
    let (folder, _) = find(root, id)?;
    Ok(folder.config()?.process.unwrap_or_default())
}

/// Runs a program in a container. Its exit code, or 0 when detached.
pub(crate) fn exec(
    root: &Path,
    request: &ExecRequest,
    reports: &mut Reporter,
) -> Result<u8, LifecycleError> {
    let id = &request.id;
    let (folder, record) = find(root, id)?;
    let status = folder.status(&record);
    let init = match (&record.process, status) {
        (Some(process), Status::Created | Status::Running) => {
            process.open().map_err(CreateError::Outside)?
        }
        _ => None,
    };
    let (Some(init), Some(identity)) = (init, &record.process) else {
        return Err(LifecycleError::Status {
            verb: "exec in",
            id: id.clone(),
            status,
        });
    };
    privileges::check(&request.process).map_err(CreateError::from)?;
    let config = folder.config()?;
    let state = folder.state(&record);
    let init_pid = identity.raw_pid();
    let init = OwnedFd::from(init);
    let (flags, userns) = different_namespaces(init_pid).map_err(CreateError::Outside)?;
    // Unlocked: a long program must not keep `delete` waiting.
    drop(folder);

    let wait_error = |source| LifecycleError::Wait {
        id: id.clone(),
        source,
    };
    let signals = Signals::block().map_err(wait_error)?;
    let seccomp = config.linux.and_then(|linux| linux.seccomp);
    let filter = seccomp
        .as_ref()
        .map(Filter::compile)
        .transpose()
        .map_err(CreateError::from)?;
    let spec = Spec {
        process: Some(request.process.clone()),
        linux: Some(Linux {
            seccomp,
            ..Linux::default()
        }),
        // Root, mounts and hooks are the container's affair, and done.
        ..Spec::default()
    };
    let launch = Launch {
        request,
        reports,
        spec: &spec,
        state: &state,
        flags,
        userns,
        filter,
    };
    let (pid, pidfd, channel) = launch.clone_child(init, &record.cgroup, init_pid)?;
    let console = match follow(request, &spec, &record.cgroup, pid, &channel) {
        Ok(console) => console,
        Err(error) => {
            create::end(&pidfd);
            return Err(error.into());
        }
    };
    let report_error = |source| LifecycleError::Report {
        id: id.clone(),
        source,
    };
    if let Err(error) = reports.send(&Report::Created { pid: pid.as_raw() }) {
        create::end(&pidfd);
        return Err(report_error(error));
    }
    if request.mode.detach {
        return Ok(0);
    }
    let code = foreground::wait(
        pidfd.as_fd(),
        &signals,
        request.mode.on_signal,
        console.as_ref(),
    )
    .map_err(wait_error)?;
    reports
        .send(&Report::Exited { code })
        .map_err(report_error)?;
    Ok(code)
}

/// Which namespaces of a process are not ours, as setns takes them.
fn different_namespaces(pid: i32) -> std::io::Result<(u64, bool)> {
    let mut flags = 0;
    let mut userns = false;
    for (kind, name) in TYPES {
        let theirs = match fs::metadata(format!("/proc/{pid}/ns/{name}")) {
            // A kernel without this type.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let ours = fs::metadata(format!("/proc/self/ns/{name}"))?;
        if (theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()) {
            flags |= clone_flag(kind);
            userns |= kind == NamespaceType::User;
        }
    }
    Ok((flags, userns))
}

struct Launch<'a> {
    request: &'a ExecRequest,
    reports: &'a Reporter,
    spec: &'a Spec,
    state: &'a State,
    flags: u64,
    userns: bool,
    filter: Option<Filter>,
}

impl Launch<'_> {
    fn clone_child(
        self,
        init: OwnedFd,
        cgroup: &Membership,
        init_pid: i32,
    ) -> Result<(nix::unistd::Pid, OwnedFd, Channel), CreateError> {
        let (ours, theirs) = Channel::pair()?;
        let plan = plan::exec(&self.request.process, self.userns, self.filter.is_some());
        log::debug!("plan:\n{plan}");
        let directory = cgroup.open_v2()?;
        let tasks = cgroup.open_v1()?;
        // Last, so that what was opened before is ours beyond doubt.
        if self.flags & sys::clone::NEWPID != 0 {
            let pid_only = nix::sched::CloneFlags::CLONE_NEWPID;
            nix::sched::setns(&init, pid_only).map_err(CreateError::Clone)?;
        }
        let cloned = match sys::clone_process(0, directory.as_ref().map(AsFd::as_fd)) {
            // Its init made cgroups of its own and enabled controllers there:
            // the program goes where the init itself is.
            Err(Errno::EBUSY) => {
                let leaf = Membership::leaf_of(init_pid, cgroup)?;
                sys::clone_process(0, leaf.as_ref().map(AsFd::as_fd))
            }
            other => other,
        };
        match cloned.map_err(CreateError::Clone)? {
            Cloned::Child => {
                drop(ours);
                if let Err(errno) = self.reports.leave_to_parent() {
                    log::error!("cannot leave the reports to the runtime: {errno}");
                    sys::exit_now(125);
                }
                let root = fs::File::open("/").map_err(CreateError::Outside)?;
                let mut child = Child {
                    spec: self.spec,
                    state: self.state,
                    prepared: Prepared {
                        tasks,
                        ..Prepared::of_running(root.into(), init, self.flags)
                    },
                    channel: theirs,
                    filter: self.filter,
                    start: StartBy::Channel,
                    preserve: self.request.preserve,
                    die_with_parent: false,
                    program: None,
                    mask: Mask::default(),
                };
                sys::exit_now(child.run(&plan))
            }
            Cloned::Parent { pid, pidfd } => Ok((pid, pidfd, ours)),
        }
    }
}

/// Answers the child until its exec has taken the channel away.
fn follow(
    request: &ExecRequest,
    spec: &Spec,
    cgroup: &Membership,
    pid: nix::unistd::Pid,
    channel: &Channel,
) -> Result<Option<OwnedFd>, CreateError> {
    create::outside(spec, cgroup, pid)?;
    channel.send(&Message::Proceed, None)?;
    let mut console = None;
    loop {
        match channel.receive() {
            Ok((Message::Console, Some(master))) => match &request.console_socket {
                Some(path) => console::send(&master, path)?,
                None => console = Some(master),
            },
            Ok((Message::Ready, _)) => {
                if let Some(path) = &request.pid_file {
                    create::write_pid_file(path, pid)?;
                }
                channel.send(&Message::Start, None)?;
                // The end of the channel is the exec.
                return match channel.receive() {
                    Err(ChannelError::Gone) => Ok(console),
                    Err(error) => Err(error.into()),
                    Ok((Message::Failed { message, code }, _)) => {
                        Err(CreateError::Child { message, code })
                    }
                    Ok((other, _)) => Err(ChannelError::Unexpected(other).into()),
                };
            }
            Ok((Message::Failed { message, code }, _)) => {
                return Err(CreateError::Child { message, code });
            }
            Ok((other, _)) => return Err(ChannelError::Unexpected(other).into()),
            Err(error) => return Err(error.into()),
        }
    }
}
