//! What a signal to init means.

use holdall_protocol::Signal;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal as Named};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};

use crate::sys;

/// Sent by the kernel itself: for HUP, the terminal hung up.
const SI_KERNEL: i32 = 128;

/// The container world's "halt" (systemd's).
const RTMIN_3: u8 = 37;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Children have ended.
    Children,
    /// An ordered stop.
    Shutdown,
    /// Read the file of services again.
    Reload,
    /// Open log files anew, as somebody has renamed them.
    ReopenLogs,
    /// Say how everything is.
    Dump,
    /// Hand it to the foreground command.
    Forward(Signal),
    /// The kernel's business.
    Nothing,
}

/// What `signal` means, sent with `code`. `only_command` is a box without
/// services, where the command is to get everything, as under tini.
pub(crate) fn meaning(signal: u8, code: i32, only_command: bool) -> Meaning {
    let number = i32::from(signal);
    let by_kernel = code == SI_KERNEL;
    match number {
        libc::SIGCHLD => Meaning::Children,
        libc::SIGHUP if by_kernel => Meaning::Shutdown,
        _ if only_command && !by_kernel => forward(signal),
        libc::SIGTERM | libc::SIGINT | libc::SIGPWR | libc::SIGQUIT => Meaning::Shutdown,
        _ if signal == RTMIN_3 => Meaning::Shutdown,
        libc::SIGHUP => Meaning::Reload,
        libc::SIGUSR1 => Meaning::ReopenLogs,
        libc::SIGUSR2 => Meaning::Dump,
        // The terminal tells its foreground group by itself.
        _ if by_kernel => Meaning::Nothing,
        _ => forward(signal),
    }
}

fn forward(signal: u8) -> Meaning {
    Signal::from_number(signal).map_or(Meaning::Nothing, Meaning::Forward)
}

/// What a signal for a command becomes on its way to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Forwarding {
    /// From, and to; none sends nothing.
    rewrites: Vec<(u8, Option<Signal>)>,
}

impl Forwarding {
    /// Reads `15:3`: QUIT in place of TERM. `15:0` sends nothing. No signal may
    /// be above `highest`.
    pub(crate) fn rewrite(text: &str, highest: u8) -> Option<(u8, u8)> {
        let (from, to) = text.split_once(':')?;
        let (from, to) = (from.parse::<u8>().ok()?, to.parse::<u8>().ok()?);
        ((1..=highest).contains(&from) && to <= highest).then_some((from, to))
    }

    /// Sends one in place of another.
    pub(crate) fn add(&mut self, from: u8, to: u8) {
        self.rewrites.retain(|(known, _)| *known != from);
        self.rewrites.push((from, Signal::from_number(to)));
    }

    /// As [`add`](Self::add), unless something is said of it.
    pub(crate) fn add_usual(&mut self, from: u8, to: u8) {
        if !self.rewrites.iter().any(|(known, _)| *known == from) {
            self.add(from, to);
        }
    }

    /// What is sent for a signal.
    pub(crate) fn of(&self, signal: Signal) -> Option<Signal> {
        let mut rewrites = self.rewrites.iter();
        match rewrites.find(|(from, _)| *from == signal.number()) {
            Some((_, to)) => *to,
            None => Some(signal),
        }
    }
}

/// The signals of this process as a descriptor.
pub(crate) struct Signals {
    pub(crate) fd: SignalFd,
}

impl Signals {
    /// Puts this process's signals in order, whatever it inherited, and routes
    /// them here. Those that a fault raises stay as they are, and PIPE is
    /// ignored: who writes sees the error.
    pub(crate) fn take() -> Result<Self, Errno> {
        sys::default_signals();
        sys::ignore_signal(Signal::PIPE);
        let mut mask = SigSet::all();
        let faults = [
            Named::SIGSEGV,
            Named::SIGBUS,
            Named::SIGFPE,
            Named::SIGILL,
            Named::SIGTRAP,
            Named::SIGABRT,
            Named::SIGSYS,
            Named::SIGPIPE,
        ];
        for fault in faults {
            mask.remove(fault);
        }
        mask.thread_set_mask()?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { fd })
    }

    /// The next that waits.
    pub(crate) fn next(&self) -> Option<siginfo> {
        self.fd.read_signal().ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_USER: i32 = 0;

    #[test]
    fn every_engines_way_to_stop_is_an_ordered_stop() {
        for signal in [15, 2, 3, 30, RTMIN_3] {
            assert_eq!(
                meaning(signal, BY_USER, false),
                Meaning::Shutdown,
                "{signal}"
            );
        }
    }

    #[test]
    fn a_hangup_of_the_terminal_stops_and_a_sent_one_reloads() {
        assert_eq!(meaning(1, SI_KERNEL, false), Meaning::Shutdown);
        assert_eq!(meaning(1, BY_USER, false), Meaning::Reload);
    }

    #[test]
    fn without_services_the_command_gets_what_is_sent() {
        let forwarded = |n| Meaning::Forward(Signal::from_number(n).expect("a signal"));
        for signal in [1, 2, 3, 10, 12, 15, 28, 37] {
            assert_eq!(meaning(signal, BY_USER, true), forwarded(signal));
        }
        assert_eq!(meaning(17, BY_USER, true), Meaning::Children);
        assert_eq!(meaning(28, BY_USER, false), forwarded(28));
    }
}
