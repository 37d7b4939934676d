//! A program in a running box.
//!
//! In a box with our init, init is asked for it and no process of the host
//! enters the box; only where init hangs the runtime does, as in a foreign box. Its pipes are made here and its terminal comes out of
//! the box; the caller's own streams are never handed in, since whoever gets a
//! read-only file as standard input can reopen it for writing through /proc.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use holdall_protocol::Signal;
use holdall_protocol::control::{ErrorKind, Exec, WindowSize};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::Boxes;
use super::console::{ARRIVAL, Console};
use super::error::{BoxError, NOT_EXECUTABLE, NOT_FOUND, code_of};
use super::foreign::ByRuntime;
use super::layers;
use super::name::BoxId;
use super::record::Record;
use super::session::{Program, Session};
use super::terminal::{RESIZED, RawMode, Signals, size_of};
use crate::causes::chain;
use crate::control::{ControlClient, ControlError, Executing};
use crate::oci::client::{Client, ClientError};
use crate::oci::spec::{ConsoleSize, Process, Spec};

/// What to run in a box.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// Added to the box's environment.
    pub env: Vec<(String, String)>,
    /// The working directory; the box's where none.
    pub dir: Option<String>,
    /// `user[:group]`; the box's where none.
    pub user: Option<String>,
    /// A terminal of the box's own.
    pub tty: bool,
    /// Pass standard input on.
    pub interactive: bool,
}

/// The size of a terminal whose user has none.
const SIZE: WindowSize = WindowSize {
    rows: 24,
    columns: 80,
};

/// Signals of the caller that are passed on to the program. With a terminal,
/// Ctrl-C and the like reach it as bytes.
const PASSED: [i32; 4] = [
    nix::sys::signal::Signal::SIGINT as i32,
    nix::sys::signal::Signal::SIGQUIT as i32,
    nix::sys::signal::Signal::SIGTERM as i32,
    nix::sys::signal::Signal::SIGHUP as i32,
];

impl Boxes {
    /// Runs a program in a box over the caller's standard streams; its exit
    /// code. The signals that would end the caller are caught from then on and
    /// passed to the program; with a terminal, the caller's is in raw mode
    /// meanwhile.
    ///
    /// # Errors
    /// [`BoxError::exit_code`] tells docker's code for them.
    pub fn exec(&self, id: &BoxId, options: &ExecOptions) -> Result<u8, BoxError> {
        let record = self.record(id)?;
        if !self.state(&record)?.is_running() {
            return Err(BoxError::NotRunning(record.name));
        }
        let mut caught = PASSED.to_vec();
        if options.tty {
            caught.push(RESIZED);
        }
        let signals =
            Signals::catch(&caught).map_err(BoxError::system("catch the caller's signals"))?;
        if !record.has_init {
            return self.exec_by_runtime(&record, options, &signals);
        }
        match ControlClient::connect(self.store.run_dir(&record.id).path()) {
            // It hasn't heard of the program yet, so it won't run it later.
            Err(ControlError::Hangs) => {
                log::warn!("the init of box {} hangs; entering the box", record.name);
                self.exec_by_runtime(&record, options, &signals)
            }
            client => {
                let client = client.map_err(|cause| refused(&record, options, cause))?;
                Self::exec_by_init(client, &record, options, &signals)
            }
        }
    }

    fn exec_by_init(
        client: ControlClient,
        record: &Record,
        options: &ExecOptions,
        signals: &Signals,
    ) -> Result<u8, BoxError> {
        let refused = |cause| refused(record, options, cause);
        let request = Exec {
            argv: options.argv.clone(),
            env: variables(options)?,
            dir: options.dir.clone(),
            user: options.user.clone(),
            tty: options.tty.then(window),
        };
        if options.tty {
            let mut program = client.exec(request, &[]).map_err(refused)?;
            let master = program
                .master
                .take()
                .ok_or(ControlError::Unexpected)
                .map_err(refused)?;
            return on_terminal(master, options, &mut ByInit { program, record }, signals);
        }
        let pipes = Pipes::new(options.interactive)?;
        let theirs: Vec<BorrowedFd<'_>> = pipes.theirs.iter().map(OwnedFd::as_fd).collect();
        let program = client.exec(request, &theirs).map_err(refused)?;
        let session = pipes.session()?;
        session.run(&mut ByInit { program, record }, signals)
    }

    fn exec_by_runtime(
        &self,
        record: &Record,
        options: &ExecOptions,
        signals: &Signals,
    ) -> Result<u8, BoxError> {
        let client = Client {
            state_root: self.store.dirs().runtime_state(),
        };
        let run = self.store.run_dir(&record.id);
        let process = self.foreign_process(record, options)?;
        let failed = |cause| failed(record, options, cause);
        let id = record.id.as_str();
        if options.tty {
            let console = Console::listen(run.path())?;
            let null = Pipes::new(false)?;
            let exec = client
                .exec(id, &process, null.stdio()?, Some(console.path()))
                .map_err(failed)?;
            let master = console.accept(ARRIVAL)?;
            let mut program = ByRuntime::wait_for(exec, record)?;
            return on_terminal(master, options, &mut program, signals);
        }
        let pipes = Pipes::new(options.interactive)?;
        let exec = client
            .exec(id, &process, pipes.stdio()?, None)
            .map_err(failed)?;
        let session = pipes.session()?;
        session.run(&mut ByRuntime::wait_for(exec, record)?, signals)
    }

    /// The process of a box, with another program.
    fn foreign_process(&self, record: &Record, options: &ExecOptions) -> Result<Process, BoxError> {
        let path = self.store.container(&record.id).join("config.json");
        let text = std::fs::read(&path).map_err(BoxError::file("read", &path))?;
        let spec: Spec = serde_json::from_slice(&text).map_err(|cause| BoxError::Record {
            path: path.clone(),
            cause,
        })?;
        let mut process = spec.process.unwrap_or_default();
        process.args.clone_from(&options.argv);
        // The init's own sockets are for its pid alone.
        process
            .env
            .retain(|variable| !variable.starts_with("LISTEN_"));
        process.env.extend(variables(options)?);
        if let Some(dir) = &options.dir {
            process.cwd = dir.into();
        }
        if let Some(user) = &options.user {
            let account = self.account(record, user)?;
            process.user.uid = account.uid;
            process.user.gid = account.gid;
            process.user.additional_gids = account.groups;
        }
        process.terminal = options.tty;
        process.console_size = options.tty.then(|| {
            let size = window();
            ConsoleSize {
                height: size.rows,
                width: size.columns,
            }
        });
        Ok(process)
    }

    fn account(
        &self,
        record: &Record,
        user: &str,
    ) -> Result<holdall_protocol::account::Account, BoxError> {
        let images = self.images(&record.image_name)?;
        let layers = layers::of_record(&images, record)?;
        let record = Record {
            user: Some(user.to_owned()),
            ..record.clone()
        };
        super::bundle::account(&self.store, &record, &layers)
    }
}

fn on_terminal(
    master: OwnedFd,
    options: &ExecOptions,
    program: &mut dyn Program,
    signals: &Signals,
) -> Result<u8, BoxError> {
    let session = Session::terminal(master, options.interactive)
        .map_err(BoxError::system("prepare the terminal"))?;
    let raw = match options.interactive {
        true => RawMode::enter(io::stdin().as_fd())?,
        false => None,
    };
    let code = session.run(program, signals);
    drop(raw);
    code
}

fn window() -> WindowSize {
    size_of(io::stdout().as_fd())
        .or_else(|| size_of(io::stdin().as_fd()))
        .unwrap_or(SIZE)
}

fn variables(options: &ExecOptions) -> Result<Vec<String>, BoxError> {
    let wrong = |name: &String| name.is_empty() || name.contains(['=', '\0']);
    match options
        .env
        .iter()
        .find(|(name, value)| wrong(name) || value.contains('\0'))
    {
        Some((name, _)) => Err(BoxError::Variable(name.clone())),
        None => Ok(options
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()),
    }
}

fn program(options: &ExecOptions) -> String {
    options.argv.first().cloned().unwrap_or_default()
}

fn refused(record: &Record, options: &ExecOptions, cause: ControlError) -> BoxError {
    let name = record.name.clone();
    match cause {
        ControlError::Refused {
            kind: ErrorKind::NotFound,
            ..
        } => BoxError::ProgramNotFound {
            name,
            program: program(options),
        },
        ControlError::Refused {
            kind: ErrorKind::NotExecutable,
            message,
        } => BoxError::ProgramNotExecutable {
            name,
            program: program(options),
            message,
        },
        cause => BoxError::Control { name, cause },
    }
}

fn failed(record: &Record, options: &ExecOptions, cause: ClientError) -> BoxError {
    let (name, program) = (record.name.clone(), program(options));
    match code_of(&cause) {
        NOT_FOUND => BoxError::ProgramNotFound { name, program },
        NOT_EXECUTABLE => BoxError::ProgramNotExecutable {
            name,
            program,
            message: chain(&cause),
        },
        _ => BoxError::Runtime {
            verb: "run a program in",
            name,
            cause,
        },
    }
}

/// The pipes of a program without a terminal.
struct Pipes {
    /// Its standard input, output, error.
    theirs: [OwnedFd; 3],
    input: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Pipes {
    fn new(interactive: bool) -> Result<Self, BoxError> {
        let pipe = || {
            pipe2(OFlag::O_CLOEXEC)
                .map_err(|errno| BoxError::system("make a pipe")(io::Error::from(errno)))
        };
        let ((read, input), (stdout, out), (stderr, err)) = (pipe()?, pipe()?, pipe()?);
        // Nobody writes to it: it ends at once.
        let input = interactive.then_some(input);
        Ok(Self {
            theirs: [read, out, err],
            input,
            stdout,
            stderr,
        })
    }

    fn stdio(&self) -> Result<[BorrowedFd<'_>; 3], BoxError> {
        let [input, output, error] = &self.theirs;
        Ok([input.as_fd(), output.as_fd(), error.as_fd()])
    }

    /// Our side; theirs is closed, so that the program's end is seen.
    fn session(self) -> Result<Session, BoxError> {
        let Self {
            theirs,
            input,
            stdout,
            stderr,
        } = self;
        drop(theirs);
        Session::pipes(input, stdout, stderr).map_err(BoxError::system("prepare the streams"))
    }
}

struct ByInit<'a> {
    program: Executing,
    record: &'a Record,
}

impl ByInit<'_> {
    fn error(&self, cause: ControlError) -> BoxError {
        BoxError::Control {
            name: self.record.name.clone(),
            cause,
        }
    }
}

impl Program for ByInit<'_> {
    fn news(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }

    fn poll_exit(&mut self) -> Result<Option<u8>, BoxError> {
        match self.program.poll_exit() {
            Ok(exit) => Ok(exit),
            Err(cause) => Err(self.error(cause)),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), BoxError> {
        self.program
            .signal(signal)
            .map_err(|cause| self.error(cause))
    }
}
