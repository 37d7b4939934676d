//! Which process is meant: a pid alone is soon somebody else's.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::sys;

/// A process for ever: its number, when it started, and in which boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// In clock ticks since boot (proc_pid_stat(5), field 22).
    start_time: u64,
    boot_id: String,
}

impl Identity {
    /// Of a process that exists now.
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        let (_, start_time) = stat(pid.as_raw())?;
        Ok(Self {
            pid: pid.as_raw(),
            start_time,
            boot_id: boot_id()?,
        })
    }

    /// Whether it still runs; a zombie doesn't.
    pub(crate) fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|id| id == self.boot_id)
            && stat(self.pid)
                .is_ok_and(|(state, start)| start == self.start_time && !"ZX".contains(state))
    }

    /// A handle on it, if it still runs. The number can't be reused between
    /// the check and the handle's use, since the check comes second.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let handle = sys::pidfd_open(Pid::from_raw(self.pid)).ok()?;
        self.is_alive().then_some(handle)
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// A process's state letter and start time.
fn stat(pid: i32) -> io::Result<(char, u64)> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&String::from_utf8_lossy(&text))
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The command's name stands in brackets and may hold anything, even `) `.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    // The state is field 3, the start time field 22.
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

/// The time now, as the state's `created` wants it.
pub(crate) fn now_rfc3339() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime's one clock: when a container was made"
    )]
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    rfc3339(since.as_secs(), since.subsec_nanos())
}

/// Days to a date by the civil calendar (Howard Hinnant's `civil_from_days`).
fn rfc3339(seconds: u64, nanos: u32) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "7 (a) b) R 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(parse_stat(text), Some(('R', 4242)));
    }

    #[test]
    fn this_process_is_alive_and_another_start_time_is_not() {
        let mut me = Identity::of(nix::unistd::getpid()).unwrap();
        assert!(me.is_alive());
        me.start_time += 1;
        assert!(!me.is_alive());
    }

    #[test]
    fn dates_are_civil() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(951_782_400, 5), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(rfc3339(1_795_363_199, 0), "2026-11-22T15:59:59.000000000Z");
    }
}
