//! The runtime as a library: each call re-executes this program as
//! `holdall-runtime`. A container is never cloned in the caller, which may
//! have threads.

use std::io::{BufRead, BufReader, Read as _};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use super::report::Report;
use super::spec::Process;
use super::state::State;
use crate::sys;

/// Why a call of the runtime failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// This program couldn't be executed again.
    #[error("cannot start the runtime")]
    Spawn(#[source] std::io::Error),
    /// The runtime's own words.
    #[error("{message}")]
    Runtime {
        /// The error with its causes.
        message: String,
        /// The exit code that goes with it: 127 where the program isn't
        /// there, 126 where it can't be run.
        code: u8,
    },
    /// It ended without a word.
    #[error("cannot tell why the runtime failed ({status})")]
    Silent {
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// It said something else than it should.
    #[error("cannot read the runtime's answer")]
    Answer(#[source] std::io::Error),
    /// A process description couldn't be handed over.
    #[error("cannot pass the process to the runtime")]
    Process(#[source] std::io::Error),
}

/// The three standard descriptors of a container's process.
pub type Stdio3<'fd> = [BorrowedFd<'fd>; 3];

/// What `create` takes beside id and bundle.
#[derive(Debug)]
pub struct CreateOpts<'a> {
    /// Where the pid is written.
    pub pid_file: Option<&'a Path>,
    /// A listening unix socket that gets the terminal's master.
    pub console_socket: Option<&'a Path>,
    /// Become 3, 4, … in the container.
    pub preserve_fds: &'a [BorrowedFd<'a>],
    /// A detached mount that is the root instead of `root.path`.
    pub rootfs: Option<BorrowedFd<'a>>,
    /// Standard input, output, error.
    pub stdio: Stdio3<'a>,
    /// What the runtime process gets when the caller dies before it is done;
    /// with SIGKILL nothing goes on that nobody knows of.
    pub parent_death: Option<Signal>,
}

/// A container that waits for `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// Its first process, in the caller's pid namespace.
    pub pid: i32,
}

/// A program running in a container.
#[derive(Debug)]
pub struct Exec {
    runtime: Child,
    reports: BufReader<std::fs::File>,
    /// The program's id in the caller's pid namespace.
    pub pid: i32,
}

impl Exec {
    /// Waits for the program's end: exit code, or 128 + the signal.
    ///
    /// # Errors
    /// Where the runtime process that watches it was itself killed.
    pub fn wait(mut self) -> Result<u8, ClientError> {
        let report = next_report(&mut self.reports)?;
        let status = self.runtime.wait().map_err(ClientError::Answer)?;
        match report {
            Some(Report::Exited { code }) => Ok(code),
            other => Err(failure(other, status)),
        }
    }

    /// The runtime process that waits for it; a signal sent there is passed on.
    #[must_use]
    pub fn runtime_pid(&self) -> u32 {
        self.runtime.id()
    }
}

/// Calls the runtime with one state root.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where the runtime keeps its containers' state.
    pub state_root: PathBuf,
}

impl Client {
    /// Makes a container up to the point where its process waits for `start`.
    ///
    /// # Errors
    /// Whatever the runtime refuses; nothing of the container is left then.
    pub fn create(
        &self,
        id: &str,
        bundle: &Path,
        opts: &CreateOpts<'_>,
    ) -> Result<Created, ClientError> {
        let mut call = self.call("create");
        call.command.arg("--bundle").arg(bundle);
        if let Some(path) = opts.pid_file {
            call.command.arg("--pid-file").arg(path);
        }
        if let Some(path) = opts.console_socket {
            call.command.arg("--console-socket").arg(path);
        }
        if !opts.preserve_fds.is_empty() {
            call.command
                .arg("--preserve-fds")
                .arg(opts.preserve_fds.len().to_string());
        }
        for fd in opts.preserve_fds {
            call.pass(*fd);
        }
        if let Some(rootfs) = opts.rootfs {
            let number = call.pass(rootfs);
            call.command.arg("--rootfs-fd").arg(number.to_string());
        }
        let (mut child, mut reports) = call.spawn(&[id], opts.stdio, opts.parent_death)?;
        let report = next_report(&mut reports)?;
        let status = child.wait().map_err(ClientError::Answer)?;
        match report {
            Some(Report::Created { pid }) if status.success() => Ok(Created { pid }),
            other => Err(failure(other, status)),
        }
    }

    /// Lets the container's process run.
    ///
    /// # Errors
    /// Where there is no such container, or it doesn't wait.
    pub fn start(&self, id: &str) -> Result<(), ClientError> {
        self.simple(self.call("start"), &[id]).map(drop)
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// Where there is no such container, or it has ended.
    pub fn kill(&self, id: &str, signal: Signal) -> Result<(), ClientError> {
        self.simple(self.call("kill"), &[id, signal.as_str()])
            .map(drop)
    }

    /// Sends a signal to every process of the container.
    ///
    /// # Errors
    /// Where there is no such container.
    pub fn kill_all(&self, id: &str, signal: Signal) -> Result<(), ClientError> {
        let mut call = self.call("kill");
        call.command.arg("--all");
        self.simple(call, &[id, signal.as_str()]).map(drop)
    }

    /// Removes what is left of a container; with `force` ends it first, and a
    /// container that isn't there is no error.
    ///
    /// # Errors
    /// Where it still runs (without `force`), or something can't be removed.
    pub fn delete(&self, id: &str, force: bool) -> Result<(), ClientError> {
        let mut call = self.call("delete");
        if force {
            call.command.arg("--force");
        }
        self.simple(call, &[id]).map(drop)
    }

    /// The container's state as the specification defines it.
    ///
    /// # Errors
    /// Where there is no such container.
    pub fn state(&self, id: &str) -> Result<State, ClientError> {
        let text = self.simple(self.call("state"), &[id])?;
        serde_json::from_slice(&text)
            .map_err(|error| ClientError::Answer(std::io::Error::other(error)))
    }

    /// Runs another program in a running container.
    ///
    /// # Errors
    /// Whatever the runtime refuses before the program runs.
    pub fn exec(
        &self,
        id: &str,
        process: &Process,
        stdio: Stdio3<'_>,
        console_socket: Option<&Path>,
    ) -> Result<Exec, ClientError> {
        let description = sealed_json(process).map_err(ClientError::Process)?;
        let mut call = self.call("exec");
        let number = call.pass(std::os::fd::AsFd::as_fd(&description));
        call.command
            .arg("--process")
            .arg(format!("/proc/self/fd/{number}"));
        if let Some(path) = console_socket {
            call.command.arg("--console-socket").arg(path);
        }
        let (mut runtime, mut reports) = call.spawn(&[id], stdio, None)?;
        match next_report(&mut reports)? {
            Some(Report::Created { pid }) => Ok(Exec {
                runtime,
                reports,
                pid,
            }),
            other => {
                let status = runtime.wait().map_err(ClientError::Answer)?;
                Err(failure(other, status))
            }
        }
    }

    fn call(&self, verb: &str) -> Call {
        Call::new(Some(&self.state_root), verb)
    }

    /// A verb that answers on standard output and ends.
    fn simple(&self, call: Call, arguments: &[&str]) -> Result<Vec<u8>, ClientError> {
        let (mut child, mut reports) = call.spawn_captured(arguments)?;
        let mut text = Vec::new();
        if let Some(mut output) = child.stdout.take() {
            output.read_to_end(&mut text).map_err(ClientError::Answer)?;
        }
        let report = next_report(&mut reports)?;
        let status = child.wait().map_err(ClientError::Answer)?;
        if status.success() {
            Ok(text)
        } else {
            Err(failure(report, status))
        }
    }
}

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
        let mut command = Command::new("/proc/self/exe");
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

    fn spawn_captured(
        mut self,
        arguments: &[&str],
    ) -> Result<(Child, BufReader<std::fs::File>), ClientError> {
        // Errors come by the report; standard error would repeat them.
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        self.launch(arguments, None)
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
        Some(Report::Created { .. } | Report::Exited { .. }) | None => {
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
