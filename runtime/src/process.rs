//! Processes that are never mistaken for others.

use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use holdall_image::boot;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::clock::Deadline;
use crate::sys;

/// How long the parent of a dead process may take to reap it before its exit
/// code is given up. It is the host's init, which reaps at once, unless the
/// whole machine is starved.
const REAPING: Duration = Duration::from_secs(10);

/// What `/proc/PID/stat` says: whether it is a zombie, and its start time.
struct Stat {
    zombie: bool,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&text))
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name in parentheses may hold anything, so count from its end.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    // Field 22 of the whole is the 19th after the state.
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat {
        zombie: matches!(state, "Z" | "X"),
        started,
    })
}

/// A process that is never mistaken for another: after a reboot, or when the
/// numbers wrap, its pid is another's, but boot id, pid and start time together
/// never come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// Its number in the host's namespace.
    pub pid: NonZeroU32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since the boot.
    pub started: u64,
}

impl Identity {
    /// Its number as system calls take it.
    pub(crate) fn raw_pid(&self) -> i32 {
        // The kernel gives no larger ones (PID_MAX_LIMIT is 2^22).
        i32::try_from(self.pid.get()).unwrap_or(i32::MAX)
    }

    /// That of a process that is known to run.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let gone = || io::Error::from(Errno::ESRCH);
        let started = stat(pid).ok_or_else(gone)?.started;
        let pid = NonZeroU32::new(pid).ok_or_else(gone)?;
        Ok(Self {
            boot: boot::id()?.to_owned(),
            pid,
            started,
        })
    }

    /// Whether the very process is there and no zombie.
    pub(crate) fn is_alive(&self) -> bool {
        boot::id().is_ok_and(|boot| boot == self.boot)
            && stat(self.pid.get()).is_some_and(|stat| !stat.zombie && stat.started == self.started)
    }

    /// A handle on the very process, even as a zombie; `None` when it is gone.
    pub(crate) fn open(&self) -> io::Result<Option<Handle>> {
        if boot::id()? != self.boot {
            return Ok(None);
        }
        let handle = match sys::pidfd_open(Pid::from_raw(self.raw_pid())) {
            Ok(fd) => Handle(fd),
            Err(Errno::ESRCH) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // Looked at after the handle was taken: if the start time is right
        // now, the handle is on that process and not on its successor.
        let same = stat(self.pid.get()).is_some_and(|stat| stat.started == self.started);
        Ok(same.then_some(handle))
    }
}

/// A handle on a process (a pidfd).
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> Self {
        handle.0
    }
}

impl From<OwnedFd> for Handle {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl Handle {
    /// Sends a signal; a process that is gone is no error.
    pub(crate) fn kill(&self, signal: i32) -> io::Result<()> {
        match sys::pidfd_kill(self.as_fd(), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for the end, at most so long (for ever where `None`).
    pub(crate) fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        wait_for(self.as_fd(), PollFlags::POLLIN, limit)
    }

    /// The exit code of a process that has ended, whoever's child it is: 128 +
    /// n for a signal. `None` where the kernel can't tell (before 6.15) or its
    /// parent won't reap it.
    pub(crate) fn exit_code(&self) -> io::Result<Option<u8>> {
        loop {
            match sys::exit_status_of(self.as_fd()) {
                Ok(Some(status)) => return Ok(Some(code_of(status))),
                Ok(None) => {}
                Err(errno) if sys::exit_status_is_unknown(errno) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
            // A zombie yet: its hang-up is its being reaped.
            if !wait_for(self.as_fd(), PollFlags::empty(), Some(REAPING))? {
                return Ok(None);
            }
        }
    }
}

/// A wait status as a shell shows it.
pub(crate) fn code_of(status: i32) -> u8 {
    let signal = status & 0x7f;
    let code = if signal == 0 {
        (status >> 8) & 0xff
    } else {
        128 + signal
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Waits for a descriptor; `false` when the time is over first.
pub(crate) fn wait_for(
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    limit: Option<Duration>,
) -> io::Result<bool> {
    let deadline = limit.map(Deadline::after);
    loop {
        let timeout = timeout(deadline);
        match poll(&mut [PollFd::new(fd, flags)], timeout) {
            Ok(0) if deadline.is_some_and(|deadline| deadline.left().is_zero()) => {
                return Ok(false);
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// What is left, rounded up so that a wait never ends early and spins.
pub(crate) fn timeout(deadline: Option<Deadline>) -> PollTimeout {
    deadline.map_or(PollTimeout::NONE, |deadline| {
        let left = deadline.left();
        let millis = left.as_millis() + u128::from(left.subsec_nanos() % 1_000_000 != 0);
        PollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "7 (a) b) Z 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        let stat = parse_stat(text).expect("parsed");
        assert_eq!((stat.zombie, stat.started), (true, 4242));
    }

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let own = Identity::of(std::process::id()).expect("alive");
        assert!(own.is_alive());
        assert!(own.open().expect("opened").is_some());
        let other = Identity {
            started: own.started + 1,
            ..own.clone()
        };
        assert!(!other.is_alive());
        assert!(other.open().expect("opened").is_none());
        let before = Identity {
            boot: "another".into(),
            ..own
        };
        assert!(!before.is_alive());
        assert!(before.open().expect("opened").is_none());
    }

    #[test]
    fn the_exit_code_of_a_reaped_process_is_known() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "exit 37"])
            .spawn()
            .expect("spawned");
        let handle = Identity::of(child.id())
            .expect("there")
            .open()
            .expect("opened");
        let handle = handle.expect("there");
        child.wait().expect("reaped");
        assert!(handle.wait(None).expect("waited"));
        assert_eq!(handle.exit_code().expect("asked"), Some(37));
    }

    #[test]
    fn a_wait_status_is_shown_as_a_shell_shows_it() {
        assert_eq!(code_of(37 << 8), 37);
        assert_eq!(code_of(9), 137);
        assert_eq!(code_of(0x80 | 11), 139);
    }
}
