//! fork … exec: a child in a clean state by construction, and words for what
//! went wrong on the way.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use holdall_protocol::account::AccountError;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{self, Pid};

use crate::child;
use crate::launch::Launch;
use crate::sys;

/// How long a start waits for `exec` to go through, in milliseconds. It takes
/// well under one; a program on a file system that hangs takes for ever, and
/// must not take init with it: it then counts as started, and if it fails
/// later, that is an exit with a shell's code.
const EXEC_WAIT_MS: u16 = 100;

/// The child's 0, 1 and 2, and its session.
pub(crate) enum Stdio<'a> {
    /// These, in a session of its own.
    Given([BorrowedFd<'a>; 3]),
    /// Init's own, in a session of its own.
    Inherited,
    /// Init's own; the terminal on 0 becomes that of its new session.
    OwnTerminal,
    /// Init's own; init's session goes on, and the child's group is put in the
    /// foreground of its terminal.
    Foreground,
    /// Init's own, in init's session and a group of its own.
    OwnGroup,
    /// Init's own, in init's session and group.
    Same,
    /// This terminal, of its new session.
    Terminal(BorrowedFd<'a>),
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error(transparent)]
    Account(AccountError),
    #[error("cannot execute a program without a name")]
    EmptyProgram,
    #[error("cannot execute {0:?}: it contains a NUL")]
    Nul(String),
    #[error("{0}")]
    Listen(#[from] crate::sockets::ListenError),
    #[error(transparent)]
    EnvFile(#[from] crate::env_file::EnvFileError),
    #[error(transparent)]
    Template(#[from] crate::template::TemplateError),
    #[error("cannot make a pipe: {}", words(*.0))]
    Pipe(Errno),
    #[error("cannot open a socket for its notices: {}", words(*.0))]
    Notices(Errno),
    #[error("cannot open a terminal: {}", words(*.0))]
    Terminal(Errno),
    #[error("cannot execute without a terminal and without three descriptors")]
    Descriptors,
    #[error("cannot create a process: {}", words(*.0))]
    Fork(Errno),
    #[error("cannot {} {object}: {}", stage.verb(), reason)]
    Stage {
        stage: Stage,
        object: String,
        reason: String,
        errno: Errno,
    },
}

impl SpawnError {
    /// A shell's exit code for it.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Stage {
                stage: Stage::Execute,
                errno,
                ..
            } => shell_code(*errno),
            Self::EmptyProgram => 127,
            Self::Nul(_)
            | Self::Account(_)
            | Self::Listen(_)
            | Self::EnvFile(_)
            | Self::Template(_)
            | Self::Pipe(_)
            | Self::Notices(_)
            | Self::Terminal(_)
            | Self::Descriptors
            | Self::Fork(_)
            | Self::Stage { .. } => 125,
        }
    }
}

/// 127 for a program that is missing, 126 for one that can't be executed.
pub(crate) fn shell_code(errno: Errno) -> u8 {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => 127,
        _ => 126,
    }
}

/// What the child was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Session,
    Terminal,
    Descriptors,
    Limit,
    Nice,
    OomScore,
    Cgroup,
    Groups,
    Become,
    Enter,
    Look,
    Execute,
}

impl Stage {
    pub(crate) const ALL: [Self; 12] = [
        Self::Session,
        Self::Terminal,
        Self::Descriptors,
        Self::Limit,
        Self::Nice,
        Self::OomScore,
        Self::Cgroup,
        Self::Groups,
        Self::Become,
        Self::Enter,
        Self::Look,
        Self::Execute,
    ];

    fn verb(self) -> &'static str {
        match self {
            Self::Session => "make a session for",
            Self::Terminal => "give the terminal to",
            Self::Descriptors => "arrange the descriptors of",
            Self::Limit => "set a limit of",
            Self::Nice => "set the niceness of",
            Self::OomScore => "set the out-of-memory score of",
            Self::Groups => "set the groups of",
            Self::Cgroup => "join the cgroup of",
            Self::Become => "become user",
            Self::Enter => "enter",
            Self::Look => "find",
            Self::Execute => "execute",
        }
    }
}

/// A child that runs.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    /// Where its report still comes from, if `exec` has not gone through yet.
    pub(crate) late: Option<OwnedFd>,
}

/// A child on its way to exec.
pub(crate) struct Starting {
    launch: Launch,
    pid: i32,
    report: OwnedFd,
}

/// Starts a program, and waits for it to run.
pub(crate) fn spawn(launch: Launch, stdio: &Stdio<'_>) -> Result<Spawned, SpawnError> {
    begin(launch, stdio)?.finish()
}

/// Makes the child. Several can be on their way at a time; each is to be
/// finished before any child is reaped.
pub(crate) fn begin(launch: Launch, stdio: &Stdio<'_>) -> Result<Starting, SpawnError> {
    let (report, reporter) = unistd::pipe2(OFlag::O_CLOEXEC).map_err(SpawnError::Pipe)?;
    let child = |mut launch| child::become_program(&mut launch, stdio, &reporter);
    let pid = sys::fork_with(&launch, child).map_err(SpawnError::Fork)?;
    Ok(Starting {
        launch,
        pid,
        report,
    })
}

impl Starting {
    /// Waits until it runs, or can't.
    pub(crate) fn finish(self) -> Result<Spawned, SpawnError> {
        let Self {
            launch,
            pid,
            report,
        } = self;
        let mut waiting = [PollFd::new(report.as_fd(), PollFlags::POLLIN)];
        let ready = loop {
            match poll(&mut waiting, PollTimeout::from(EXEC_WAIT_MS)) {
                Err(Errno::EINTR) => {}
                ready => break ready.unwrap_or(0),
            }
        };
        if ready == 0 {
            // The end of file comes with exec, or a report before the exit.
            let late = Some(report);
            return Ok(Spawned { pid, late });
        }
        match read_report(&report) {
            None => Ok(Spawned { pid, late: None }),
            Some(failure) => {
                // It exits right after its report. Until it is reaped its
                // number can't be another's.
                while let Err(Errno::EINTR) = nix::sys::wait::waitpid(Pid::from_raw(pid), None) {}
                Err(failure.error(&launch))
            }
        }
    }
}

/// What a late child has reported before it ended, for the log.
pub(crate) fn late_failure(report: &OwnedFd) -> Option<String> {
    fcntl(report, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
    let failure = read_report(report)?;
    Some(format!(
        "cannot {} it: {}",
        failure.stage.verb(),
        words(failure.errno)
    ))
}

/// The child's words: stage, errno, and the path that it tried last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Report {
    stage: Stage,
    errno: Errno,
    candidate: usize,
}

/// Its length: a byte, a byte, and four.
pub(crate) const REPORT: usize = 6;

fn read_report(report: &OwnedFd) -> Option<Report> {
    let mut bytes = [0; REPORT];
    loop {
        match unistd::read(report, &mut bytes) {
            Err(Errno::EINTR) => {}
            Ok(REPORT) => break,
            Ok(_) | Err(_) => return None,
        }
    }
    let [stage, candidate, errno @ ..] = bytes;
    Some(Report {
        stage: *Stage::ALL.get(usize::from(stage))?,
        errno: Errno::from_raw(i32::from_le_bytes(errno)),
        candidate: usize::from(candidate),
    })
}

impl Report {
    fn error(self, launch: &Launch) -> SpawnError {
        let Self {
            stage,
            errno,
            candidate,
        } = self;
        let mut reason = words(errno);
        let object = match stage {
            Stage::Execute => {
                let path = launch
                    .candidates
                    .get(candidate)
                    .filter(|_| launch.candidates.len() == 1);
                let path = path.or_else(|| {
                    let tried = launch.candidates.get(candidate);
                    tried.filter(|_| errno != Errno::ENOENT)
                });
                let path = path.map(|p| p.to_string_lossy().into_owned());
                if let (Some(path), Errno::ENOENT) = (&path, errno) {
                    if let Some(interpreter) = missing_interpreter(path, launch) {
                        reason = format!("its interpreter {interpreter} is missing");
                    }
                } else if path.is_none() {
                    "no such file in PATH".clone_into(&mut reason);
                }
                path.unwrap_or_else(|| launch.program.clone())
            }
            Stage::Become => launch.account.as_ref().map_or_else(String::new, |account| {
                account
                    .name
                    .clone()
                    .unwrap_or_else(|| account.uid.to_string())
            }),
            Stage::Enter => {
                let dir = launch.dir.as_ref();
                dir.map_or_else(String::new, |dir| dir.to_string_lossy().into_owned())
            }
            Stage::Session
            | Stage::Terminal
            | Stage::Descriptors
            | Stage::Limit
            | Stage::Nice
            | Stage::OomScore
            | Stage::Groups
            | Stage::Look
            | Stage::Cgroup => launch.program.clone(),
        };
        SpawnError::Stage {
            stage,
            object,
            reason,
            errno,
        }
    }
}

/// The kernel says "no such file" of a program that is there when what should
/// interpret it is not: names that, from the first line of a script.
fn missing_interpreter(path: &str, launch: &Launch) -> Option<String> {
    let dir = launch
        .dir
        .as_ref()
        .map_or(".".into(), |dir| dir.to_string_lossy());
    let path = std::path::Path::new(dir.as_ref()).join(path);
    if !fs::metadata(&path).is_ok_and(|found| found.is_file()) {
        return None;
    }
    let mut start = Vec::with_capacity(256);
    fs::File::open(&path)
        .ok()?
        .take(256)
        .read_to_end(&mut start)
        .ok()?;
    let line = start.split(|byte| *byte == b'\n').next()?;
    match line.strip_prefix(b"#!") {
        Some(rest) => {
            let text = String::from_utf8_lossy(rest);
            text.split_whitespace().next().map(str::to_owned)
        }
        None => Some("(the loader that its ELF header names)".to_owned()),
    }
}

/// A cause as a person says it: lower case, no period.
pub(crate) fn words(errno: Errno) -> String {
    match errno {
        Errno::ENOENT => "no such file".to_owned(),
        other => other.desc().to_lowercase(),
    }
}
