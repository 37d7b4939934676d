//! Hooks: programs of others, run at points of the life cycle.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::spec::Hook;
use super::state::State;
use crate::sys;

/// Why a hook counts as failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    /// It couldn't be run or watched.
    #[error("cannot run the hook {}", .path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It ended badly.
    #[error("cannot go on after the hook {} ({status})", .path.display())]
    Failed {
        /// The program.
        path: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// It took too long and was killed.
    #[error("cannot wait for the hook {} any longer than {seconds} s", .path.display())]
    Late {
        /// The program.
        path: PathBuf,
        /// Its timeout.
        seconds: u32,
    },
}

/// Runs hooks in order; the first failure ends it.
pub(crate) fn run(hooks: &[Hook], state: &State) -> Result<(), HookError> {
    hooks.iter().try_for_each(|hook| run_one(hook, state))
}

/// Runs hooks whose failure can't change anything any more: it is logged.
pub(crate) fn run_all(hooks: &[Hook], state: &State) {
    for hook in hooks {
        if let Err(error) = run_one(hook, state) {
            log::warn!("{}", crate::causes::chain(&error));
        }
    }
}

fn run_one(hook: &Hook, state: &State) -> Result<(), HookError> {
    let path: &Path = &hook.path;
    let error = |source| HookError::Run {
        path: path.to_owned(),
        source,
    };
    let mut command = Command::new(path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    for pair in &hook.env {
        if let Some((name, value)) = pair.split_once('=') {
            command.env(name, value);
        }
    }
    let mut child = command.spawn().map_err(error)?;
    if let Some(mut input) = child.stdin.take() {
        let text = serde_json::to_vec(state).map_err(|e| error(e.into()))?;
        match input.write_all(&text) {
            // It doesn't care for the state.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
            other => other.map_err(error)?,
        }
    }
    if let Some(seconds) = hook.timeout {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let handle = sys::pidfd_open(pid).map_err(|e| error(e.into()))?;
        if !ends_within(&handle, seconds).map_err(|e| error(e.into()))? {
            child.kill().map_err(error)?;
            child.wait().map_err(error)?;
            return Err(HookError::Late {
                path: path.to_owned(),
                seconds,
            });
        }
    }
    let status = child.wait().map_err(error)?;
    if status.success() {
        Ok(())
    } else {
        Err(HookError::Failed {
            path: path.to_owned(),
            status,
        })
    }
}

fn ends_within(process: &std::os::fd::OwnedFd, seconds: u32) -> nix::Result<bool> {
    let milliseconds = i32::try_from(u64::from(seconds) * 1000).unwrap_or(i32::MAX);
    let limit = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
    loop {
        // No signal comes here often enough to stretch the limit: all are
        // blocked in the runtime.
        match poll(
            &mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)],
            limit,
        ) {
            Err(Errno::EINTR) => {}
            other => return other.map(|ready| ready > 0),
        }
    }
}
