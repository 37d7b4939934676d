//! What a runtime process tells the program that started it, on the pipe
//! named by `--report-fd`: one JSON object a line. Errors arrive whole and
//! apart from the container's own output.

use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

use serde::{Deserialize, Serialize};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Report {
    /// The process exists: a container that waits for `start`, or a program
    /// that runs.
    Created {
        /// Its id in the caller's pid namespace.
        pid: i32,
    },
    /// The container runs, at the caller's word.
    Started,
    /// The program ended.
    Exited {
        /// Its exit code, or 128 + the signal.
        code: u8,
    },
    /// Nothing was done, or it was undone.
    Failed {
        /// The error with its causes.
        message: String,
        /// The exit code that goes with it.
        code: u8,
    },
}

/// Where reports go; nowhere if nobody asked.
#[derive(Debug, Default)]
pub(crate) struct Reporter(Option<std::fs::File>);

impl Reporter {
    /// Reports to this pipe.
    pub(crate) fn new(pipe: Option<OwnedFd>) -> Self {
        Self(pipe.map(std::fs::File::from))
    }

    /// Sends one. A reader that is gone doesn't want it; one that waits for it
    /// in vain would wait as long as this process lives, which must end then.
    pub(crate) fn send(&mut self, report: &Report) -> io::Result<()> {
        let Some(pipe) = &mut self.0 else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        match pipe.write_all(&line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Closes a clone's copy of the pipe. It lives until the clone's exec, and
    /// would keep the reader waiting for a runtime that is gone. For the clone
    /// alone, which never drops the reporter.
    pub(crate) fn leave_to_parent(&self) -> nix::Result<()> {
        self.0
            .as_ref()
            .map_or(Ok(()), |pipe| nix::unistd::close(pipe.as_raw_fd()))
    }

    /// Whether somebody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.is_some()
    }
}
