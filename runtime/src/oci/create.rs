//! Makes a container, from the outside: prepares what the host has to give,
//! clones, answers the child, and undoes everything if that fails.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, mkfifo};

use super::apply::StartBy;
use super::cgroup::{self, Layout, Membership, Wanted};
use super::channel::{Channel, ChannelError, Message};
use super::config::Config;
use super::console;
use super::hooks;
use super::plan::{self, PlanError, Step, Surroundings};
use super::prepare;
use super::privileges;
use super::report::Reporter;
use super::seccomp::Filter;
use super::spec::{NamespaceType, Spec};
use super::state::{Folder, Record, State, StateError, Status};
use crate::causes::chain;
use crate::clock::WallTime;
use crate::process::Identity;
use crate::sys;

mod error;
mod launch;

pub(crate) use error::CreateError;
use launch::Launch;

/// What to make.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    /// Absolute.
    pub(crate) bundle: PathBuf,
    /// `config.json`, read and understood.
    pub(crate) config: Config,
    /// Where state is kept; none for a container that leaves no trace.
    pub(crate) state_root: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) rootfs: Option<OwnedFd>,
    /// Descriptors from 3 on that the program gets.
    pub(crate) preserve: i32,
    /// Whether the caller stays and starts it itself.
    pub(crate) attached: bool,
    /// Whether it gets cgroups of its own.
    pub(crate) cgroups: bool,
    /// Whether it leaves the caller's session keyring.
    pub(crate) new_keyring: bool,
}

/// A container whose process waits to be started.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: Channel,
    pub(crate) state: State,
    /// The terminal's master, if there is one and nobody took it.
    pub(crate) console: Option<OwnedFd>,
    pub(crate) made: Made,
}

/// What exists because of a container and goes with it.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) cgroup: Membership,
    pub(crate) folder: Option<Folder>,
}

impl Made {
    /// Takes everything back, whatever part fails; the first failure is told.
    pub(crate) fn undo(self) -> Result<(), CreateError> {
        let cgroup = self.cgroup.clear();
        let folder = self.folder.map_or(Ok(()), Folder::remove);
        cgroup?;
        Ok(folder?)
    }
}

/// Makes a container. On failure nothing of it is left.
pub(crate) fn create(mut request: Request, reports: &Reporter) -> Result<Waiting, CreateError> {
    clamp_limits(&mut request.config.spec);
    let mut made = Made::default();
    match build(&mut request, &mut made, reports) {
        Ok((pid, pidfd, channel, state, console)) => Ok(Waiting {
            pid,
            pidfd,
            channel,
            state,
            console,
            made,
        }),
        Err(error) => {
            if let Err(second) = made.undo() {
                log::error!("{}", chain(&second));
            }
            Err(error)
        }
    }
}

/// Our own default limits are lowered to what can be had, and said once.
fn clamp_limits(spec: &mut Spec) {
    if !spec.annotations.contains_key(super::defaults::CLAMP_LIMITS) {
        return;
    }
    if let Some(process) = &mut spec.process {
        let lowered = privileges::clamp(process);
        if !lowered.is_empty() {
            log::warn!(
                "lowered limits that this host doesn't grant: {}",
                lowered.join(", ")
            );
        }
    }
}

type Parts = (Pid, OwnedFd, Channel, State, Option<OwnedFd>);

fn build(request: &mut Request, made: &mut Made, reports: &Reporter) -> Result<Parts, CreateError> {
    let spec = &request.config.spec;
    let root_path = match &spec.root {
        Some(root) => request.bundle.join(&root.path),
        None => request.bundle.join("rootfs"),
    };
    if let Some(root) = &request.state_root {
        made.folder = Some(Folder::create(root, &request.id)?);
    }
    let resources = spec
        .linux
        .as_ref()
        .and_then(|linux| linux.resources.as_ref());
    let handed = Wanted::of(spec).filter(|_| request.cgroups);
    let mut cgroups = None;
    if request.cgroups {
        let wanted = spec.linux.as_ref();
        let wanted = wanted
            .and_then(|linux| linux.cgroups_path.clone())
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| format!("holdall-{}", request.id));
        let layout = Layout::detect()?;
        let planned = cgroup::plan(&layout, &wanted, resources, handed.as_ref())?;
        cgroups = Some((layout, planned));
    }
    let mut record = Record {
        version: Record::VERSION,
        id: request.id.clone(),
        oci_version: spec.oci_version.clone(),
        bundle: request.bundle.clone(),
        rootfs: root_path.clone(),
        created: WallTime::now().to_string(),
        process: None,
        cgroup: cgroups
            .as_ref()
            .map(|(_, planned)| planned.clone())
            .unwrap_or_default(),
        annotations: spec.annotations.clone(),
    };
    let mut fifo = None;
    if let Some(folder) = &made.folder {
        // Before there is a cgroup or a process, so that a later `delete` finds
        // what a killed `create` left.
        folder.save(&record)?;
        folder.save_config(&request.config.text)?;
        if !request.attached {
            fifo = Some(make_fifo(&folder.fifo())?);
        }
    }
    if let Some((layout, planned)) = &cgroups {
        let handed = handed.as_ref();
        cgroup::make(layout, planned, resources, handed, &mut made.cgroup)?;
    }
    let handed = made.cgroup.open_handed(handed.as_ref());
    if let Some(process) = &mut request.config.spec.process {
        cgroup::announce(process, request.preserve, &handed);
    }
    let spec = &request.config.spec;
    let around = Surroundings {
        cgroups: made.cgroup.mounts(),
        can_mknod: !spec.creates(NamespaceType::User),
    };
    let mut plan = plan::plan(spec, &around)?;
    if !request.new_keyring {
        plan.steps.retain(|step| *step != Step::NewKeyring);
    }
    log::debug!("plan:\n{plan}");
    let root = prepare::root(request.rootfs.take(), &root_path)?;
    let mut prepared = prepare::prepare(&plan, root, &request.bundle)?;
    prepared.tasks = made.cgroup.open_v1()?;
    prepared.handed = handed;
    let filter = compile_filter(spec)?;
    let state = State {
        oci_version: record.oci_version.clone(),
        id: record.id.clone(),
        status: Status::Creating,
        pid: 0,
        bundle: record.bundle.clone(),
        rootfs: record.rootfs.clone(),
        created: record.created.clone(),
        owner: String::new(),
        annotations: record.annotations.clone(),
    };
    let start = fifo.map_or(StartBy::Channel, StartBy::Fifo);
    let launch = Launch {
        request,
        reports,
        plan,
        prepared,
        filter,
        start,
        state: &state,
    };
    let (pid, pidfd, channel) = launch.clone_child(made)?;
    let mut state = State {
        pid: pid.as_raw(),
        ..state
    };
    match follow(request, made, &mut record, &mut state, pid, &channel) {
        Ok(console) => Ok((pid, pidfd, channel, state, console)),
        Err(error) => {
            end(&pidfd);
            Err(error)
        }
    }
}

fn make_fifo(path: &Path) -> Result<OwnedFd, CreateError> {
    let error = |errno: Errno| {
        CreateError::State(StateError::File {
            verb: "make",
            path: path.to_owned(),
            source: errno.into(),
        })
    };
    mkfifo(path, Mode::from_bits_truncate(0o600)).map_err(error)?;
    // For both ways, so that a reader waits instead of seeing an end.
    open(path, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).map_err(error)
}

fn compile_filter(spec: &Spec) -> Result<Option<Filter>, CreateError> {
    let seccomp = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    Ok(seccomp.map(Filter::compile).transpose()?)
}

/// Answers the child until it waits for the start.
fn follow(
    request: &Request,
    made: &Made,
    record: &mut Record,
    state: &mut State,
    pid: Pid,
    channel: &Channel,
) -> Result<Option<OwnedFd>, CreateError> {
    let spec = &request.config.spec;
    outside(spec, &made.cgroup, pid)?;
    if let Some(folder) = &made.folder {
        let identity = Identity::of(pid.as_raw().unsigned_abs());
        record.process = Some(identity.map_err(CreateError::Outside)?);
        folder.save(record)?;
    }
    channel.send(&Message::Proceed, None)?;
    let mut console = None;
    loop {
        match channel.receive()? {
            (Message::RuntimeHooks, _) => {
                let all = spec.hooks.clone().unwrap_or_default();
                hooks::run(&all.prestart, state)?;
                hooks::run(&all.create_runtime, state)?;
                channel.send(&Message::HooksDone, None)?;
            }
            (Message::Console, Some(master)) => match &request.console_socket {
                Some(path) => console::send(&master, path)?,
                None => console = Some(master),
            },
            (Message::Notify, _) => {
                return Err(PlanError::Unsupported("linux.seccomp.listenerPath".into()).into());
            }
            (Message::Ready, _) => {
                state.status = Status::Created;
                return Ok(console);
            }
            (Message::Failed { message, code }, _) => {
                return Err(CreateError::Child { message, code });
            }
            (other, _) => return Err(ChannelError::Unexpected(other).into()),
        }
    }
}

/// What only the host's side can do to the new process, before it goes on.
pub(crate) fn outside(spec: &Spec, cgroup: &Membership, pid: Pid) -> Result<(), CreateError> {
    if !cgroup.holds_v2(pid) {
        cgroup.join_v2(pid)?;
    }
    if let Some(process) = &spec.process {
        privileges::raise_limits(pid, process)?;
        if let Some(score) = process.oom_score_adj {
            fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string())
                .map_err(CreateError::Outside)?;
        }
    }
    if spec.creates(NamespaceType::User)
        && let Some(linux) = &spec.linux
    {
        prepare::write_maps(pid.as_raw(), &linux.uid_mappings, &linux.gid_mappings)
            .map_err(CreateError::Outside)?;
    }
    Ok(())
}

/// Kills a child and takes its exit, so that nothing of it is left.
pub(crate) fn end(process: &OwnedFd) {
    if let Err(errno) = sys::pidfd_kill(process.as_fd(), libc::SIGKILL)
        && errno != Errno::ESRCH
    {
        log::error!("cannot kill the first process: {errno}");
    }
    loop {
        match waitid(Id::PIDFd(process.as_fd()), WaitPidFlag::WEXITED) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) | Ok(_) => return,
            Err(errno) => {
                log::error!("cannot wait for the first process: {errno}");
                return;
            }
        }
    }
}

/// Writes a pid file as docker and podman read it: the digits alone, whole or
/// not at all.
pub(crate) fn write_pid_file(path: &Path, pid: Pid) -> Result<(), CreateError> {
    let error = |source| CreateError::PidFile {
        path: path.to_owned(),
        source,
    };
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fs::write(&fresh, pid.to_string()).map_err(error)?;
    fs::rename(&fresh, path).map_err(error)
}
