//! The verbs after `create`: start, kill, delete, state, and `run`, which is
//! all of them in one process.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::cgroup::CgroupError;
use super::channel::{self, ChannelError, Message};
use super::create::{self, CreateError, Request, Waiting};
use super::foreground::{self, OnSignal, Signals};
use super::hooks;
use super::report::{Report, Reporter};
use super::state::{self, Folder, Record, State, StateError, Status};
use crate::process::Identity;
use crate::sys;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LifecycleError {
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("cannot {verb} container {id}: it is {status}")]
    Status {
        verb: &'static str,
        id: String,
        status: Status,
    },
    #[error("cannot start container {id}: whoever made it gave it up")]
    GivenUp { id: String },
    #[error("cannot start container {id}")]
    Start {
        id: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot signal container {id}")]
    Signal {
        id: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot report on container {id}")]
    Report {
        id: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot wait for container {id}")]
    Wait {
        id: String,
        #[source]
        source: Errno,
    },
}

impl LifecycleError {
    /// The exit code of the runtime for this failure.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Create(error) => error.exit_code(),
            Self::State(_)
            | Self::Cgroup(_)
            | Self::Status { .. }
            | Self::GivenUp { .. }
            | Self::Start { .. }
            | Self::Signal { .. }
            | Self::Report { .. }
            | Self::Wait { .. } => 1,
        }
    }
}

/// Makes a container that waits for `start`; this process ends, it stays.
///
/// With `word`, this process stays too: it starts the container when a byte
/// comes there, and takes it back when the other end is closed.
pub(crate) fn create(
    request: Request,
    pid_file: Option<&Path>,
    word: Option<OwnedFd>,
    reports: &mut Reporter,
) -> Result<(), LifecycleError> {
    let (root, id) = (request.state_root.clone(), request.id.clone());
    let made = create::create(request, reports)?;
    let report_error = |source| LifecycleError::Report {
        id: id.clone(),
        source,
    };
    if let Some(path) = pid_file
        && let Err(error) = create::write_pid_file(path, made.pid)
    {
        abandon(made);
        return Err(error.into());
    }
    let created = Report::Created {
        pid: made.pid.as_raw(),
    };
    if let Err(error) = reports.send(&created) {
        abandon(made);
        return Err(report_error(error));
    }
    let (Some(word), Some(root)) = (word, root) else {
        return Ok(());
    };
    if !is_said(&word) {
        abandon(made);
        return Err(LifecycleError::GivenUp { id });
    }
    // With it goes the lock, which `start` takes.
    drop(made);
    start(&root, &id)?;
    // Whoever made it takes it for failed then, and clears it away.
    reports.send(&Report::Started).map_err(report_error)
}

/// Waits for the word; false where nobody is left to say it.
fn is_said(word: &OwnedFd) -> bool {
    channel::await_byte(word).is_ok_and(|count| count == 1)
}

/// Ends a container that waits, and takes everything back.
fn abandon(waiting: Waiting) {
    create::end(&waiting.pidfd);
    if let Err(error) = waiting.made.undo() {
        log::error!("{}", crate::causes::chain(&error));
    }
}

/// How `run` goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunMode {
    /// Whether to return once the process runs.
    pub(crate) detach: bool,
    /// Whether what is left stays for `delete`.
    pub(crate) keep: bool,
    pub(crate) on_signal: OnSignal,
}

/// Makes a container, starts it and (unless detached) stays until its end,
/// then removes it.
pub(crate) fn run(
    request: Request,
    pid_file: Option<&Path>,
    mode: RunMode,
    reports: &mut Reporter,
) -> Result<u8, LifecycleError> {
    // Before the clone, so that no signal is lost between.
    let id = request.id.clone();
    let wait_error = |source| LifecycleError::Wait {
        id: id.clone(),
        source,
    };
    let signals = Signals::block().map_err(wait_error)?;
    let after = request.config.spec.hooks.clone().unwrap_or_default();
    let waiting = create::create(request, reports)?;
    if let Err(error) = start_attached(&waiting, pid_file) {
        abandon(waiting);
        return Err(error.into());
    }
    let state = State {
        status: Status::Running,
        ..waiting.state.clone()
    };
    hooks::run_all(&after.poststart, &state);
    let report_error = |source| LifecycleError::Report {
        id: id.clone(),
        source,
    };
    let created = Report::Created {
        pid: waiting.pid.as_raw(),
    };
    if let Err(error) = reports.send(&created) {
        abandon(waiting);
        return Err(report_error(error));
    }
    if mode.detach {
        return Ok(0);
    }
    let code = foreground::wait(
        waiting.pidfd.as_fd(),
        &signals,
        mode.on_signal,
        waiting.console.as_ref(),
    );
    let undone = if mode.keep {
        Ok(())
    } else {
        waiting.made.undo()
    };
    let code = code.map_err(wait_error)?;
    undone?;
    if !mode.keep {
        let state = State {
            status: Status::Stopped,
            pid: 0,
            ..state
        };
        hooks::run_all(&after.poststop, &state);
    }
    reports
        .send(&Report::Exited { code })
        .map_err(report_error)?;
    Ok(code)
}

/// Says the word, and waits until the exec took the channel away.
fn start_attached(waiting: &Waiting, pid_file: Option<&Path>) -> Result<(), CreateError> {
    if let Some(path) = pid_file {
        create::write_pid_file(path, waiting.pid)?;
    }
    waiting.channel.send(&Message::Start, None)?;
    match waiting.channel.receive() {
        Err(ChannelError::Gone) => Ok(()),
        Err(error) => Err(error.into()),
        Ok((Message::Failed { message, code }, _)) => Err(CreateError::Child { message, code }),
        Ok((other, _)) => Err(ChannelError::Unexpected(other).into()),
    }
}

/// A container's folder and record.
pub(super) fn find(root: &Path, id: &str) -> Result<(Folder, Record), LifecycleError> {
    let folder = Folder::open(root, id)?;
    let record = folder
        .record()?
        .ok_or_else(|| StateError::NotFound { id: id.to_owned() })?;
    Ok((folder, record))
}

/// Lets a created container's process run.
pub(crate) fn start(root: &Path, id: &str) -> Result<(), LifecycleError> {
    let (folder, record) = find(root, id)?;
    let status = folder.status(&record);
    if status != Status::Created {
        return Err(LifecycleError::Status {
            verb: "start",
            id: id.to_owned(),
            status,
        });
    }
    let error = |source| LifecycleError::Start {
        id: id.to_owned(),
        source,
    };
    let fifo = folder.fifo();
    // Without a reader (it died just now) this fails instead of waiting.
    std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .and_then(|mut fifo| fifo.write_all(b"s"))
        .map_err(error)?;
    std::fs::remove_file(&fifo).map_err(error)?;
    let hooks = folder.config()?.hooks.unwrap_or_default();
    hooks::run_all(&hooks.poststart, &folder.state(&record));
    Ok(())
}

/// Sends a signal to the first process, or to all.
pub(crate) fn kill(root: &Path, id: &str, signal: i32, all: bool) -> Result<(), LifecycleError> {
    let (folder, record) = find(root, id)?;
    if all {
        record.cgroup.signal(signal);
        return Ok(());
    }
    let status = folder.status(&record);
    let error = |source| LifecycleError::Signal {
        id: id.to_owned(),
        source,
    };
    let process = match (&record.process, status) {
        (Some(process), Status::Created | Status::Running) => process.open().map_err(error)?,
        _ => None,
    };
    let Some(process) = process else {
        return Err(LifecycleError::Status {
            verb: "kill",
            id: id.to_owned(),
            status,
        });
    };
    sys::pidfd_kill(process.as_fd(), signal).map_err(|errno| error(errno.into()))
}

/// Removes a container; with `force` ends it first, and none is no error.
pub(crate) fn delete(root: &Path, id: &str, force: bool) -> Result<(), LifecycleError> {
    let folder = match Folder::open(root, id) {
        Err(StateError::NotFound { .. }) if force => return Ok(()),
        other => other?,
    };
    // Killed before it wrote anything: only the folder is there.
    let Some(record) = folder.record()? else {
        return Ok(folder.remove()?);
    };
    let status = folder.status(&record);
    match status {
        Status::Stopped => {}
        Status::Creating | Status::Created | Status::Running if force => {
            end(&record, id)?;
        }
        // Never ran, so nothing is lost (runc does the same).
        Status::Created => end(&record, id)?,
        Status::Creating | Status::Running => {
            return Err(LifecycleError::Status {
                verb: "delete",
                id: id.to_owned(),
                status,
            });
        }
    }
    record.cgroup.clear()?;
    let hooks = folder
        .config()
        .ok()
        .and_then(|spec| spec.hooks)
        .unwrap_or_default();
    let state = State {
        status: Status::Stopped,
        pid: 0,
        ..folder.state(&record)
    };
    folder.remove()?;
    hooks::run_all(&hooks.poststop, &state);
    Ok(())
}

/// Kills the first process and waits until it is gone.
fn end(record: &Record, id: &str) -> Result<(), LifecycleError> {
    let error = |source| LifecycleError::Signal {
        id: id.to_owned(),
        source,
    };
    let process = record.process.as_ref().map(Identity::open).transpose();
    let Some(process) = process.map_err(error)?.flatten() else {
        return Ok(());
    };
    process.kill(libc::SIGKILL).map_err(error)?;
    process.wait(None).map(drop).map_err(error)
}

/// One container's state.
pub(crate) fn state(root: &Path, id: &str) -> Result<State, LifecycleError> {
    let (folder, record) = find(root, id)?;
    Ok(folder.state(&record))
}

/// Every container's state. One that is deleted meanwhile is left out.
pub(crate) fn list(root: &Path) -> Result<Vec<State>, LifecycleError> {
    let mut states = Vec::new();
    for id in state::list(root)? {
        match state(root, &id) {
            Ok(one) => states.push(one),
            Err(LifecycleError::State(StateError::NotFound { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(states)
}

/// The processes of a container.
pub(crate) fn processes(root: &Path, id: &str) -> Result<Vec<Pid>, LifecycleError> {
    let (_, record) = find(root, id)?;
    Ok(record.cgroup.pids())
}
