//! The runtime as a library. What clones a container re-executes this program
//! as `holdall-runtime`, since the caller may have threads; what only looks,
//! signals or clears away is done right here.

use std::io::{BufReader, ErrorKind, Write as _};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Child;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use super::call::{Call, failure, next_report, sealed_json};
use super::lifecycle::{self, LifecycleError};
use super::report::Report;
use super::seal::Sealed;
use super::spec::Process;
use super::state::State;

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
    /// It couldn't be told to go on.
    #[error("cannot let the runtime start the container")]
    Word(#[source] std::io::Error),
    /// A process description couldn't be handed over.
    #[error("cannot pass the process to the runtime")]
    Process(#[source] std::io::Error),
}

/// The three standard descriptors of a container's process.
pub type Stdio3<'fd> = [BorrowedFd<'fd>; 3];

/// What `create` takes beside id and bundle.
#[derive(Debug)]
pub struct CreateOpts<'a> {
    /// The configuration, instead of the bundle's `config.json`.
    pub config: Option<BorrowedFd<'a>>,
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

/// A container that waits for the word of whoever made it. Dropped without
/// it, nothing of the container stays.
#[derive(Debug)]
pub(crate) struct Halted {
    /// Its first process, in the caller's pid namespace.
    pub(crate) pid: i32,
    runtime: Child,
    reports: BufReader<std::fs::File>,
    word: std::fs::File,
}

impl Halted {
    /// Lets its process run. The runtime process that did it is about to end;
    /// the caller waits for it when there is time.
    pub(crate) fn start(mut self) -> Result<Child, ClientError> {
        let said = self.word.write_all(b"s");
        // In any case: a runtime that gets no word must not wait for it while
        // its report is waited for here.
        drop(self.word);
        let report = next_report(&mut self.reports)?;
        if report == Some(Report::Started) {
            return Ok(self.runtime);
        }
        let status = self.runtime.wait().map_err(ClientError::Answer)?;
        match said {
            // One that is gone tells why by what it reported, or not.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(ClientError::Word(error)),
            Ok(()) | Err(_) => Err(failure(report, status)),
        }
    }

    /// Takes the container back, and waits until that is done.
    pub(crate) fn give_up(mut self) -> Result<(), ClientError> {
        drop(self.word);
        self.runtime.wait().map_err(ClientError::Answer).map(drop)
    }
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
        let call = creation(self.call("create"), bundle, opts);
        let (mut child, mut reports) = call.spawn(&[id], opts.stdio, opts.parent_death)?;
        let report = next_report(&mut reports)?;
        let status = child.wait().map_err(ClientError::Answer)?;
        match report {
            Some(Report::Created { pid }) if status.success() => Ok(Created { pid }),
            other => Err(failure(other, status)),
        }
    }

    /// The same, but the one runtime process that makes it stays and starts it
    /// at the caller's word.
    pub(crate) fn create_halted(
        &self,
        program: Option<&Sealed>,
        id: &str,
        bundle: &Path,
        opts: &CreateOpts<'_>,
    ) -> Result<Halted, ClientError> {
        let (read, word) = pipe2(OFlag::O_CLOEXEC).map_err(|e| ClientError::Spawn(e.into()))?;
        let call = match program {
            Some(program) => Call::of(&program.path(), Some(&self.state_root), "create"),
            None => self.call("create"),
        };
        let mut call = creation(call, bundle, opts);
        let number = call.pass(std::os::fd::AsFd::as_fd(&read));
        call.command.arg("--start-fd").arg(number.to_string());
        let (mut runtime, mut reports) = call.spawn(&[id], opts.stdio, opts.parent_death)?;
        match next_report(&mut reports)? {
            Some(Report::Created { pid }) => Ok(Halted {
                pid,
                runtime,
                reports,
                word: word.into(),
            }),
            other => {
                let status = runtime.wait().map_err(ClientError::Answer)?;
                Err(failure(other, status))
            }
        }
    }

    /// Lets the container's process run.
    ///
    /// # Errors
    /// Where there is no such container, or it doesn't wait.
    pub fn start(&self, id: &str) -> Result<(), ClientError> {
        lifecycle::start(&self.state_root, id).map_err(ClientError::from)
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// Where there is no such container, or it has ended.
    pub fn kill(&self, id: &str, signal: Signal) -> Result<(), ClientError> {
        lifecycle::kill(&self.state_root, id, signal as i32, false).map_err(ClientError::from)
    }

    /// Sends a signal to every process of the container.
    ///
    /// # Errors
    /// Where there is no such container.
    pub fn kill_all(&self, id: &str, signal: Signal) -> Result<(), ClientError> {
        lifecycle::kill(&self.state_root, id, signal as i32, true).map_err(ClientError::from)
    }

    /// Removes what is left of a container; with `force` ends it first, and a
    /// container that isn't there is no error.
    ///
    /// # Errors
    /// Where it still runs (without `force`), or something can't be removed.
    pub fn delete(&self, id: &str, force: bool) -> Result<(), ClientError> {
        lifecycle::delete(&self.state_root, id, force).map_err(ClientError::from)
    }

    /// The container's state as the specification defines it.
    ///
    /// # Errors
    /// Where there is no such container.
    pub fn state(&self, id: &str) -> Result<State, ClientError> {
        lifecycle::state(&self.state_root, id).map_err(ClientError::from)
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
}

impl From<LifecycleError> for ClientError {
    fn from(error: LifecycleError) -> Self {
        Self::Runtime {
            message: crate::causes::chain(&error),
            code: error.exit_code(),
        }
    }
}

/// What `create` is told by options.
fn creation(mut call: Call, bundle: &Path, opts: &CreateOpts<'_>) -> Call {
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
    if let Some(config) = opts.config {
        let number = call.pass(config);
        call.command.arg("--config-fd").arg(number.to_string());
    }
    if let Some(rootfs) = opts.rootfs {
        let number = call.pass(rootfs);
        call.command.arg("--rootfs-fd").arg(number.to_string());
    }
    call
}
