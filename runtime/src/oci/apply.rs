//! Performs a plan, in the new process. Single-threaded, and everything it
//! opens closes at exec.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir, pivot_root, setsid};

use super::channel::{self, Channel, Message};
use super::failure::StepFailure;
use super::hooks;
use super::mounts::{self, Mask};
use super::plan::{Plan, Propagation, Step};
use super::prepare::Prepared;
use super::privileges;
use super::rootfs::{Place, Rootfs};
use super::seccomp::Filter;
use super::spec::{NamespaceType, Spec, TimeOffset};
use super::state::State;
use super::{console, program};
use crate::causes::chain;
use crate::sys::{self, MountAttr, NewFs};

/// How the program is told to start.
#[derive(Debug)]
pub(crate) enum StartBy {
    /// By the parent, over the channel, which stays open until the exec.
    Channel,
    /// By whoever writes to this FIFO; the parent is gone by then.
    Fifo(OwnedFd),
}

/// What the child knows.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) state: &'a State,
    pub(crate) prepared: Prepared,
    pub(crate) channel: Channel,
    pub(crate) filter: Option<Filter>,
    pub(crate) start: StartBy,
    /// How many descriptors from 3 on the program gets.
    pub(crate) preserve: i32,
    /// Whether the program dies with the runtime process.
    pub(crate) die_with_parent: bool,
    /// The lookup's result, between two steps.
    pub(crate) program: Option<PathBuf>,
    pub(crate) mask: Mask,
}

impl Child<'_> {
    /// Performs the plan. Returns only on failure, which was reported; the
    /// caller then ends the process without dropping anything, since
    /// descriptors may be closed behind their owners' backs by then.
    pub(crate) fn run(&mut self, plan: &Plan) -> u8 {
        for step in &plan.steps {
            if let Err(failure) = self.perform(step) {
                let code = match &failure {
                    StepFailure::Program(error) => error.exit_code(),
                    _ => 125,
                };
                return self.report(&format!("cannot {step}: {}", chain(&failure)), code);
            }
        }
        0
    }

    fn report(&self, message: &str, code: u8) -> u8 {
        let report = Message::Failed {
            message: message.to_owned(),
            code,
        };
        if self.channel.send(&report, None).is_err() {
            // Nobody waits on the channel any more (a created container, long
            // after): the program's own standard error is what is left.
            let line = format!("holdall-runtime: {message}\n");
            let _ = nix::unistd::write(std::io::stderr().as_fd(), line.as_bytes());
        }
        code
    }

    fn perform(&mut self, step: &Step) -> Result<(), StepFailure> {
        match step {
            Step::HideFromOthers => {
                // Dies with the runtime until the runtime says otherwise:
                // nothing half made is left when that is killed.
                sys::parent_death_signal(Some(Signal::SIGKILL))?;
                prctl::set_dumpable(false)?;
            }
            Step::JoinCgroups => {
                for tasks in &self.prepared.tasks {
                    nix::unistd::write(tasks, b"0")?;
                }
            }
            Step::AwaitParent => self.channel.expect(&Message::Proceed)?,
            Step::Join(kind) => {
                let namespace = self
                    .prepared
                    .namespaces
                    .get(kind)
                    .ok_or(StepFailure::NotPrepared)?;
                setns(namespace, CloneFlags::empty())?;
            }
            Step::BecomeRoot => privileges::become_root()?,
            Step::NewSession => drop(setsid()?),
            Step::NewKeyring => match sys::new_session_keyring(c"holdall") {
                // A kernel or a filter around us without keyrings has none to
                // leak either.
                Ok(()) | Err(Errno::ENOSYS | Errno::EPERM) => {}
                Err(errno) => return Err(errno.into()),
            },
            Step::NewCgroupNamespace => unshare(CloneFlags::CLONE_NEWCGROUP)?,
            Step::NewTimeNamespace(offsets) => enter_time_namespace(offsets)?,
            Step::LoopbackUp => sys::loopback_up()?,
            Step::IsolateMounts(how) => sys::set_propagation_of_all(how.flag())?,
            Step::AttachRoot => attach_root(self.prepared.root.as_fd())?,
            Step::Mount(mount) => mounts::mount(self.new_root(), &self.prepared, mount)?,
            Step::MakeDevices(nodes) => {
                mounts::devices(self.new_root(), &self.prepared, nodes)?;
            }
            Step::RuntimeHooks => {
                self.channel.send(&Message::RuntimeHooks, None)?;
                self.channel.expect(&Message::HooksDone)?;
            }
            Step::ContainerHooks => {
                if let Some(all) = &self.spec.hooks {
                    hooks::run(&all.create_container, self.state)?;
                }
            }
            Step::PivotRoot => self.pivot()?,
            Step::JoinRunning => self.join_running()?,
            Step::OpenConsole { show } => self.open_console(*show)?,
            Step::ReopenNull => reopen_null(self.new_root())?,
            Step::MakeReadOnly(path) => mounts::make_read_only(self.new_root(), path)?,
            Step::PropagateRoot(how) => propagate_root(self.prepared.root.as_fd(), *how)?,
            Step::SetHostname(name) => nix::unistd::sethostname(name)?,
            Step::SetDomainname(name) => {
                let proc = private_proc()?;
                mounts::write_sysctl(proc.as_fd(), "kernel/domainname", name)?;
            }
            Step::SetSysctls(pairs) => {
                let proc = private_proc()?;
                for (key, value) in pairs {
                    mounts::write_sysctl(proc.as_fd(), key, value)?;
                }
            }
            Step::ProtectPath(path) => mounts::protect(self.new_root(), path)?,
            Step::MaskPath(path) => {
                let root = Rootfs::new(self.prepared.root.as_fd());
                self.mask.cover(root, path)?;
            }
            Step::SetPersonality(domain) => sys::set_execution_domain(*domain)?,
            Step::NoNewPrivileges => prctl::set_no_new_privs()?,
            Step::LoadFilter => {
                if let Some(filter) = &self.filter
                    && let Some(listener) = filter.load()?
                {
                    self.channel.send(&Message::Notify, Some(&listener))?;
                }
            }
            Step::MarkDescriptors => {
                sys::cloexec_from(3 + self.preserve)?;
                for number in 3..3 + self.preserve {
                    sys::keep_at_exec(number)?;
                }
            }
            Step::BecomeUser => self.become_user()?,
            Step::FindProgram => {
                if let Some(process) = &self.spec.process {
                    self.program = Some(program::find(process)?);
                }
            }
            Step::AwaitStart => self.await_start()?,
            Step::StartHooks => {
                if let Some(all) = &self.spec.hooks {
                    hooks::run(&all.start_container, self.state)?;
                }
            }
            Step::Execute => self.execute()?,
        }
        Ok(())
    }

    fn new_root(&self) -> Rootfs<'_> {
        Rootfs::new(self.prepared.root.as_fd())
    }

    /// Makes the attached mount the root. Both old and new are named by
    /// descriptor; the host's tree is gone afterwards.
    fn pivot(&mut self) -> Result<(), StepFailure> {
        let old = open_directory(Path::new("/"))?;
        fchdir(&self.prepared.root)?;
        pivot_root(".", ".")?;
        fchdir(&old)?;
        umount2(".", MntFlags::MNT_DETACH)?;
        chdir("/")?;
        // Made here, since it may lie on any of the mounts; like runc.
        if let Some(process) = &self.spec.process {
            match self.new_root().open_or_make(&process.cwd, Place::Directory) {
                Ok(_) | Err(Errno::EROFS | Errno::EACCES | Errno::EPERM) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// One call for all namespaces; the mount namespace's root is ours then.
    fn join_running(&mut self) -> Result<(), StepFailure> {
        let (init, flags) = self
            .prepared
            .running
            .as_ref()
            .ok_or(StepFailure::NotPrepared)?;
        sys::join_namespaces(init.as_fd(), *flags)?;
        self.prepared.root = open_directory(Path::new("/"))?;
        Ok(())
    }

    fn open_console(&mut self, show: bool) -> Result<(), StepFailure> {
        let size = self
            .spec
            .process
            .as_ref()
            .and_then(|process| process.console_size);
        let master = console::open(self.new_root(), size)?;
        if show {
            console::bind_console(self.new_root())?;
        }
        self.channel.send(&Message::Console, Some(&master))?;
        Ok(())
    }

    fn become_user(&mut self) -> Result<(), StepFailure> {
        let Some(process) = &self.spec.process else {
            return Ok(());
        };
        let early = chdir(&process.cwd);
        privileges::drop_to(process)?;
        match early {
            Ok(()) => {}
            // Root without DAC override may not enter what the user may.
            Err(Errno::EACCES | Errno::EPERM) => chdir(&process.cwd)?,
            Err(errno) => return Err(errno.into()),
        }
        // A descriptor of the host as working directory would survive the
        // pivot (CVE-2024-21626); the kernel then has no path for it.
        match nix::unistd::getcwd() {
            Ok(path) if path.is_absolute() => Ok(()),
            Ok(_) | Err(_) => Err(StepFailure::OutsideRoot),
        }
    }

    fn await_start(&mut self) -> Result<(), StepFailure> {
        // Changing ids cleared it.
        let death = match (&self.start, self.die_with_parent) {
            (_, true) => Some(Signal::SIGKILL),
            (StartBy::Channel | StartBy::Fifo(_), false) => None,
        };
        sys::parent_death_signal(death)?;
        self.channel.send(&Message::Ready, None)?;
        match &self.start {
            StartBy::Channel => self.channel.expect(&Message::Start)?,
            StartBy::Fifo(fifo) => {
                // Words from here on are for whoever reads standard error.
                self.channel.hang_up();
                channel::await_byte(fifo)?;
            }
        }
        Ok(())
    }

    /// Everything above the passed descriptors is closed for real, but for
    /// the channel, which closes by the exec itself or tells why it failed.
    fn execute(&mut self) -> Result<(), StepFailure> {
        let Some(process) = &self.spec.process else {
            return Ok(());
        };
        let path = self.program.take().ok_or(StepFailure::NotPrepared)?;
        let call = program::Call::new(&path, process)?;
        sys::reset_signals()?;
        let first = 3 + self.preserve;
        let handed = std::mem::take(&mut self.prepared.handed);
        let floor = first + i32::try_from(handed.len()).map_err(|_| Errno::EMFILE)?;
        let lifted: nix::Result<Vec<OwnedFd>> = handed
            .iter()
            .map(|(_, cgroup)| sys::dup_from(cgroup.as_fd(), floor + 1))
            .collect();
        let lifted = lifted?;
        self.channel.move_to(floor)?;
        for (number, cgroup) in (first..).zip(&lifted) {
            sys::dup_to(cgroup.as_fd(), number)?;
        }
        sys::close_from(floor + 1)?;
        Err(call.execute().into())
    }
}

fn open_directory(path: &Path) -> nix::Result<OwnedFd> {
    open(
        path,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

/// The root has to hang somewhere for mounts to go on it, and `/` is the one
/// place that surely exists and that any user may reach.
fn attach_root(root: BorrowedFd<'_>) -> nix::Result<()> {
    let slash = open_directory(Path::new("/"))?;
    sys::attach(root, slash.as_fd())
}

fn propagate_root(root: BorrowedFd<'_>, how: Propagation) -> nix::Result<()> {
    let change = MountAttr {
        propagation: how.flag(),
        ..MountAttr::default()
    };
    sys::set_mount(root, change, false)
}

fn private_proc() -> nix::Result<OwnedFd> {
    NewFs::open("proc")?.mount(0)
}

/// The host's null device may be marked (and is on another mount); the
/// container's own takes its place.
fn reopen_null(root: Rootfs<'_>) -> Result<(), StepFailure> {
    let mut null = None;
    for number in 0..3 {
        let Ok(standard) = sys::standard(number) else {
            continue;
        };
        if !mounts::is_null(standard)? {
            continue;
        }
        if null.is_none() {
            match mounts::null_device(root) {
                Ok(found) => drop(found),
                // None in the container: keep the host's.
                Err(StepFailure::Errno(Errno::ENOENT)) => return Ok(()),
                Err(failure) => return Err(failure),
            }
            let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
            let opened = open("/dev/null", flags, Mode::empty())?;
            if !mounts::is_null(opened.as_fd())? {
                return Err(StepFailure::FakeNull);
            }
            null = Some(opened);
        }
        if let Some(null) = &null {
            sys::dup_to(null.as_fd(), number)?;
        }
    }
    Ok(())
}

/// Offsets can be written only while nobody is in the namespace.
fn enter_time_namespace(
    offsets: &std::collections::BTreeMap<String, TimeOffset>,
) -> Result<(), StepFailure> {
    let flag = i32::try_from(sys::clone::NEWTIME).unwrap_or(0x80);
    unshare(CloneFlags::from_bits_retain(flag))?;
    let text: String = offsets
        .iter()
        .map(|(clock, offset)| format!("{clock} {} {}\n", offset.secs, offset.nanosecs))
        .collect();
    if !text.is_empty() {
        std::fs::write("/proc/self/timens_offsets", text)?;
    }
    let namespace = std::fs::File::open("/proc/self/ns/time_for_children")?;
    setns(namespace, CloneFlags::from_bits_retain(flag))?;
    Ok(())
}

/// The order in which a running container's namespaces are joined is the
/// kernel's own when a pidfd is given; this is only which.
pub(crate) fn clone_flag(kind: NamespaceType) -> u64 {
    match kind {
        NamespaceType::Pid => sys::clone::NEWPID,
        NamespaceType::Network => sys::clone::NEWNET,
        NamespaceType::Mount => sys::clone::NEWNS,
        NamespaceType::Ipc => sys::clone::NEWIPC,
        NamespaceType::Uts => sys::clone::NEWUTS,
        NamespaceType::User => sys::clone::NEWUSER,
        NamespaceType::Cgroup => sys::clone::NEWCGROUP,
        NamespaceType::Time => sys::clone::NEWTIME,
    }
}
