//! One execution of this program as `holdall-runtime`: its arguments, the
//! descriptors it inherits, and the reports it sends back.

use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use super::client::{ClientError, Stdio3};
use super::report::Report;
use crate::sys;

/// One execution of the runtime, being put together.
pub(crate) struct Call {
    /// Arguments are added to this.
    pub(crate) command: Command,
    /// Our number, the child's number.
    inherited: Vec<(i32, i32)>,
}

impl Call {
    /// `holdall-runtime [--root DIR] VERB`.
    pub(crate) fn new(state_root: Option<&Path>, verb: &str) -> Self {
        Self::of(Path::new("/proc/self/exe"), state_root, verb)
    }

    /// The same of another file that holds this program.
    pub(super) fn of(program: &Path, state_root: Option<&Path>, verb: &str) -> Self {
        let mut command = Command::new(program);
        command.arg0("holdall-runtime").env_clear();
        if let Some(root) = state_root {
            command.arg("--root").arg(root);
        }
        command.arg(verb);
        Self {
            command,
            inherited: Vec::new(),
        }
    }

    /// Hands a descriptor over and returns its number there: 3, 4, ….
    pub(crate) fn pass(&mut self, fd: BorrowedFd<'_>) -> i32 {
        let number = self.inherited.last().map_or(3, |(_, last)| last + 1);
        self.inherited.push((fd.as_raw_fd(), number));
        number
    }

    /// Runs it on the given standard descriptors.
    pub(crate) fn spawn(
        self,
        arguments: &[&str],
        stdio: Stdio3<'_>,
        parent_death: Option<Signal>,
    ) -> Result<(Child, BufReader<std::fs::File>), ClientError> {
        let [input, output, error] = stdio.map(|fd| {
            fd.try_clone_to_owned()
                .map(Stdio::from)
                .map_err(ClientError::Spawn)
        });
        let mut call = self;
        call.command.stdin(input?).stdout(output?).stderr(error?);
        call.launch(arguments, parent_death)
    }

    fn launch(
        mut self,
        arguments: &[&str],
        parent_death: Option<Signal>,
    ) -> Result<(Child, BufReader<std::fs::File>), ClientError> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|e| ClientError::Spawn(e.into()))?;
        let number = self.pass(std::os::fd::AsFd::as_fd(&write));
        self.command
            .arg("--report-fd")
            .arg(number.to_string())
            .arg("--")
            .args(arguments);
        sys::inherit_fds(&mut self.command, self.inherited, parent_death);
        let child = self.command.spawn().map_err(ClientError::Spawn)?;
        drop(write);
        Ok((child, BufReader::new(std::fs::File::from(read))))
    }
}

/// The next report; none when the runtime is gone.
pub(crate) fn next_report(
    reports: &mut BufReader<std::fs::File>,
) -> Result<Option<Report>, ClientError> {
    let mut line = String::new();
    if reports.read_line(&mut line).map_err(ClientError::Answer)? == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line)
        .map(Some)
        .map_err(|error| ClientError::Answer(std::io::Error::other(error)))
}

/// The error of a call that didn't say what it should.
pub(crate) fn failure(report: Option<Report>, status: std::process::ExitStatus) -> ClientError {
    match report {
        Some(Report::Failed { message, code }) => ClientError::Runtime { message, code },
        Some(Report::Created { .. } | Report::Started | Report::Exited { .. }) | None => {
            ClientError::Silent { status }
        }
    }
}

/// A document in memory, to be inherited.
pub(crate) fn sealed_json(document: &impl serde::Serialize) -> std::io::Result<OwnedFd> {
    use std::io::{Seek as _, Write as _};
    let memory = nix::sys::memfd::memfd_create(c"holdall", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(&serde_json::to_vec(document)?)?;
    file.rewind()?;
    Ok(file.into())
}
