//! Stays with a process: passes signals on, moves a terminal's bytes, and
//! brings its exit code back.
//!
//! Nothing here depends on SIGCHLD: a pidfd is readable once the process has
//! ended, however early that was (runc#5208, youki's hanging `run`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{self, SetArg, Termios};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::sys;

/// Signals as a descriptor. Blocked before any clone, so that none is lost;
/// the child unblocks them before its exec.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Takes all signals that can be taken.
    pub(crate) fn block() -> nix::Result<Self> {
        let all = SigSet::all();
        all.thread_block()?;
        SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self)
    }

    /// The next one, if one is there.
    fn next(&self) -> nix::Result<Option<i32>> {
        let info = self.0.read_signal()?;
        Ok(info.and_then(|info| i32::try_from(info.ssi_signo).ok()))
    }
}

/// What a signal to the runtime does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnSignal {
    /// The process gets it.
    Forward,
    /// A terminating one ends the process for good (a build step).
    Kill,
}

/// Waits for the end: the exit code, or 128 + the signal.
pub(crate) fn wait(
    process: BorrowedFd<'_>,
    signals: &Signals,
    mode: OnSignal,
    console: Option<&OwnedFd>,
) -> nix::Result<u8> {
    let terminal = console.map(Terminal::new).transpose()?;
    let ended = pump(process, signals, mode, terminal.as_ref());
    if let Some(terminal) = terminal {
        terminal.restore();
    }
    ended?;
    exit_code(process)
}

fn pump(
    process: BorrowedFd<'_>,
    signals: &Signals,
    mode: OnSignal,
    terminal: Option<&Terminal<'_>>,
) -> nix::Result<()> {
    let mut input_open = terminal.is_some();
    loop {
        let mut fds = vec![
            PollFd::new(process, PollFlags::POLLIN),
            PollFd::new(signals.0.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(terminal) = terminal {
            fds.push(PollFd::new(terminal.master.as_fd(), PollFlags::POLLIN));
            if input_open {
                fds.push(PollFd::new(sys::standard(0)?, PollFlags::POLLIN));
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => drop(other?),
        }
        let ready = |index: usize| {
            fds.get(index)
                .and_then(PollFd::revents)
                .is_some_and(|events| !events.is_empty())
        };
        let (ended, signalled, output, input) = (ready(0), ready(1), ready(2), ready(3));
        if signalled {
            while let Some(signal) = signals.next()? {
                pass_on(process, signal, mode, terminal)?;
            }
        }
        if let Some(terminal) = terminal {
            if output {
                copy(terminal.master.as_fd(), sys::standard(1)?)?;
            }
            if input && input_open {
                input_open = copy(sys::standard(0)?, terminal.master.as_fd())?;
            }
        }
        // What it last wrote is still in the terminal.
        if ended && !output {
            return Ok(());
        }
        if ended && terminal.is_none_or(|terminal| terminal.is_drained()) {
            return Ok(());
        }
    }
}

/// Moves what is there. False at the end.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> nix::Result<bool> {
    let mut buffer = [0u8; 16384];
    let length = match nix::unistd::read(from, &mut buffer) {
        // The other side of a terminal is closed.
        Err(Errno::EIO) | Ok(0) => return Ok(false),
        Err(Errno::EINTR | Errno::EAGAIN) => return Ok(true),
        other => other?,
    };
    let mut rest = buffer.get(..length).unwrap_or_default();
    while !rest.is_empty() {
        match nix::unistd::write(to, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            // Nobody reads any more: the process goes on without.
            Err(Errno::EPIPE | Errno::EIO) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

fn pass_on(
    process: BorrowedFd<'_>,
    signal: i32,
    mode: OnSignal,
    terminal: Option<&Terminal<'_>>,
) -> nix::Result<()> {
    if signal == libc::SIGCHLD {
        return Ok(());
    }
    if signal == libc::SIGWINCH
        && let Some(terminal) = terminal
    {
        return terminal.resize();
    }
    let terminating = matches!(
        Signal::try_from(signal),
        Ok(Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT)
    );
    let signal = match mode {
        OnSignal::Kill if terminating => libc::SIGKILL,
        OnSignal::Kill => return Ok(()),
        OnSignal::Forward => signal,
    };
    match sys::pidfd_kill(process, signal) {
        // Ended meanwhile.
        Err(Errno::ESRCH) => Ok(()),
        other => other,
    }
}

/// Takes the exit of an ended child.
pub(crate) fn exit_code(process: BorrowedFd<'_>) -> nix::Result<u8> {
    loop {
        match waitid(Id::PIDFd(process), WaitPidFlag::WEXITED) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::Exited(_, code)) => return Ok(u8::try_from(code & 0xff).unwrap_or(255)),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Ok(u8::try_from(128 + signal as i32).unwrap_or(255));
            }
            Ok(_) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The caller's terminal in raw mode, beside the container's.
struct Terminal<'a> {
    master: &'a OwnedFd,
    before: Option<Termios>,
}

impl<'a> Terminal<'a> {
    fn new(master: &'a OwnedFd) -> nix::Result<Self> {
        let input = sys::standard(0)?;
        let mut before = None;
        if let Ok(settings) = termios::tcgetattr(input) {
            let mut raw = settings.clone();
            termios::cfmakeraw(&mut raw);
            termios::tcsetattr(input, SetArg::TCSANOW, &raw)?;
            before = Some(settings);
        }
        let terminal = Self { master, before };
        terminal.resize()?;
        Ok(terminal)
    }

    /// Follows the caller's size; without a terminal there is none to follow.
    fn resize(&self) -> nix::Result<()> {
        match sys::window_size(sys::standard(0)?) {
            Ok(size) => sys::set_window_size(self.master.as_fd(), size),
            Err(_) => Ok(()),
        }
    }

    fn is_drained(&self) -> bool {
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|_| {
            !fds.iter().any(|fd| {
                fd.revents()
                    .is_some_and(|events| events.contains(PollFlags::POLLIN))
            })
        })
    }

    fn restore(self) {
        if let (Some(before), Ok(input)) = (&self.before, sys::standard(0))
            && let Err(errno) = termios::tcsetattr(input, SetArg::TCSANOW, before)
        {
            log::warn!("cannot restore the terminal: {errno}");
        }
    }
}
