//! What a runtime process tells the program that started it, on the pipe
//! named by `--report-fd`: one JSON object a line. Errors arrive whole and
//! apart from the container's own output.

use std::io::Write as _;
use std::os::fd::OwnedFd;

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

    /// Sends one. A reader that is gone doesn't want it.
    pub(crate) fn send(&mut self, report: &Report) {
        let Some(pipe) = &mut self.0 else { return };
        match serde_json::to_vec(report) {
            Ok(mut line) => {
                line.push(b'\n');
                if let Err(error) = pipe.write_all(&line) {
                    log::debug!("nobody reads the report: {error}");
                }
            }
            Err(error) => log::warn!("cannot encode a report: {error}"),
        }
    }

    /// Whether somebody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.is_some()
    }
}
