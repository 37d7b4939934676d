//! fork … exec: a child in a clean state by construction, and words for what
//! went wrong on the way.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use holdall_protocol::account::AccountError;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{self, Gid, Pid, Uid};

use crate::launch::Launch;
use crate::sys::{self, Forked};

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
    #[error("cannot make a pipe: {}", words(*.0))]
    Pipe(Errno),
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
            | Self::Pipe(_)
            | Self::Terminal(_)
            | Self::Descriptors
            | Self::Fork(_)
            | Self::Stage { .. } => 125,
        }
    }
}

/// 127 for a program that is missing, 126 for one that can't be executed.
fn shell_code(errno: Errno) -> u8 {
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
    Cgroup,
    Become,
    Enter,
    Execute,
}

impl Stage {
    const ALL: [Self; 8] = [
        Self::Session,
        Self::Terminal,
        Self::Descriptors,
        Self::Limit,
        Self::Cgroup,
        Self::Become,
        Self::Enter,
        Self::Execute,
    ];

    fn verb(self) -> &'static str {
        match self {
            Self::Session => "make a session for",
            Self::Terminal => "give the terminal to",
            Self::Descriptors => "arrange the descriptors of",
            Self::Limit => "set a limit of",
            Self::Cgroup => "join the cgroup of",
            Self::Become => "become user",
            Self::Enter => "enter",
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
pub(crate) fn begin(mut launch: Launch, stdio: &Stdio<'_>) -> Result<Starting, SpawnError> {
    let (report, reporter) = unistd::pipe2(OFlag::O_CLOEXEC).map_err(SpawnError::Pipe)?;
    match sys::fork().map_err(SpawnError::Fork)? {
        Forked::Child => child(&mut launch, stdio, &reporter),
        Forked::Parent(pid) => Ok(Starting {
            launch,
            pid,
            report,
        }),
    }
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

const REPORT: usize = 6;

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
        .map_or("/".into(), |dir| dir.to_string_lossy());
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

/// The child's whole life before exec. Nothing here allocates, locks or
/// buffers.
fn child(launch: &mut Launch, stdio: &Stdio<'_>, reporter: &OwnedFd) -> ! {
    let mut candidate = 0;
    let first = 3 + RawFd::try_from(launch.handed.len()).unwrap_or(0);
    // Out of the way of what is put in its place below.
    let Ok(reporter) = sys::copy_above(reporter.as_raw_fd(), first) else {
        sys::exit_now(125)
    };
    let (stage, errno) = match prepare(launch, stdio, first) {
        Ok(()) => (Stage::Execute, execute(launch, &mut candidate)),
        Err(failure) => failure,
    };
    let stage_code = Stage::ALL.iter().position(|s| *s == stage).unwrap_or(0);
    let mut bytes = [0; REPORT];
    let [a, b, errno_bytes @ ..] = &mut bytes;
    *a = u8::try_from(stage_code).unwrap_or(0);
    *b = u8::try_from(candidate).unwrap_or(u8::MAX);
    *errno_bytes = (errno as i32).to_le_bytes();
    let (reporter, code) = (sys::adopt(reporter), shell_code(errno));
    if let Some(reporter) = &reporter {
        let _ = unistd::write(reporter, &bytes);
    }
    sys::exit_now(if stage == Stage::Execute { code } else { 125 })
}

fn prepare(launch: &mut Launch, stdio: &Stdio<'_>, first: RawFd) -> Result<(), (Stage, Errno)> {
    let at = |stage| move |errno| (stage, errno);
    sys::default_signals();
    session(stdio)?;
    if let Some(cgroup) = &launch.cgroup {
        unistd::write(cgroup, b"0").map_err(at(Stage::Cgroup))?;
    }
    descriptors(launch, stdio, first).map_err(at(Stage::Descriptors))?;
    if let Some(mark) = launch.mark {
        setrlimit(Resource::RLIMIT_LOCKS, mark, mark).map_err(at(Stage::Limit))?;
    }
    if let Some(mask) = launch.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    if let Some(account) = &launch.account {
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        // Without privilege only init's own account can be had, and is.
        let own = unistd::geteuid() == uid && unistd::getegid() == gid;
        if !own || unistd::geteuid().is_root() {
            unistd::setgroups(&launch.groups).map_err(at(Stage::Become))?;
            unistd::setresgid(gid, gid, gid).map_err(at(Stage::Become))?;
            unistd::setresuid(uid, uid, uid).map_err(at(Stage::Become))?;
        }
    }
    if let Some(dir) = &launch.dir {
        unistd::chdir(dir.as_c_str()).map_err(at(Stage::Enter))?;
    }
    if let Some((index, at)) = launch.pid_slot {
        let mut digits = [0; 10];
        launch
            .env
            .patch(index, at, decimal(unistd::getpid().as_raw(), &mut digits));
    }
    // Last: from here on a signal may end this process, as it should.
    SigSet::empty()
        .thread_set_mask()
        .map_err(at(Stage::Session))
}

fn session(stdio: &Stdio<'_>) -> Result<(), (Stage, Errno)> {
    let at = |stage| move |errno| (stage, errno);
    if let Stdio::Foreground = stdio {
        unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(at(Stage::Session))?;
        // TTOU, which this raises in a group that is not in front yet, is
        // still blocked.
        return unistd::tcsetpgrp(std::io::stdin(), unistd::getpid()).map_err(at(Stage::Terminal));
    }
    unistd::setsid().map_err(at(Stage::Session))?;
    match stdio {
        Stdio::OwnTerminal => sys::take_terminal(0).map_err(at(Stage::Terminal)),
        Stdio::Terminal(fd) => sys::take_terminal(fd.as_raw_fd()).map_err(at(Stage::Terminal)),
        Stdio::Given(_) | Stdio::Inherited | Stdio::Foreground => Ok(()),
    }
}

fn descriptors(launch: &mut Launch, stdio: &Stdio<'_>, first: RawFd) -> Result<(), Errno> {
    for fd in &mut launch.handed {
        *fd = sys::copy_above(*fd, first)?;
    }
    match stdio {
        Stdio::Given(three) => {
            for (to, fd) in (0..).zip(three) {
                sys::copy_to(fd.as_raw_fd(), to)?;
            }
        }
        Stdio::Terminal(fd) => {
            for to in 0..3 {
                sys::copy_to(fd.as_raw_fd(), to)?;
            }
        }
        Stdio::Inherited | Stdio::OwnTerminal | Stdio::Foreground => {}
    }
    for (to, fd) in (3..).zip(&launch.handed) {
        sys::copy_to(*fd, to)?;
    }
    sys::close_on_exec_from(first);
    Ok(())
}

/// The number's digits, without `format!`, which may allocate.
fn decimal(number: i32, digits: &mut [u8; 10]) -> &[u8] {
    let mut rest = number.unsigned_abs();
    let mut at = digits.len();
    for (place, slot) in digits.iter_mut().enumerate().rev() {
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        at = place;
        if rest == 0 {
            break;
        }
    }
    digits.get(at..).unwrap_or(&[])
}

/// Tries each path; a file that is there but can't be executed is remembered
/// over one that is missing, as `execvp` does.
fn execute(launch: &Launch, candidate: &mut usize) -> Errno {
    let mut failure = Errno::ENOENT;
    for (index, path) in launch.candidates.iter().enumerate() {
        match sys::execve(path, &launch.argv, &launch.env) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => (failure, *candidate) = (Errno::EACCES, index),
            other => {
                *candidate = index;
                return other;
            }
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 1, 9, 10, 4_194_304, i32::MAX] {
            let mut digits = [0; 10];
            assert_eq!(decimal(number, &mut digits), number.to_string().as_bytes());
        }
    }
}
