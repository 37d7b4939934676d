//! What the kernel tells of a process to anybody: its processor time, its
//! memory and its age.

use std::fs;

use holdall_protocol::Millis;
use nix::unistd::{SysconfVar, sysconf};

/// Of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    /// Processor time, its own and that of the children that it has waited
    /// for.
    pub(crate) cpu: Millis,
    /// Bytes.
    pub(crate) resident: u64,
    pub(crate) age: Millis,
}

/// Units of /proc.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Units {
    ticks_per_second: u64,
    page: u64,
}

impl Units {
    pub(crate) fn of_this_kernel() -> Self {
        let number = |name| {
            sysconf(name)
                .ok()
                .flatten()
                .and_then(|n| u64::try_from(n).ok())
        };
        Self {
            ticks_per_second: number(SysconfVar::CLK_TCK).unwrap_or(100).max(1),
            page: number(SysconfVar::PAGE_SIZE).unwrap_or(4096),
        }
    }

    fn millis(self, ticks: u64) -> Millis {
        Millis(ticks.saturating_mul(1000) / self.ticks_per_second)
    }
}

/// Since the kernel's boot.
pub(crate) fn uptime() -> Option<Millis> {
    hundredths(fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?)
}

/// Seconds with two digits behind the point, as /proc/uptime has them.
fn hundredths(text: &str) -> Option<Millis> {
    let (seconds, rest) = text.split_once('.')?;
    let (seconds, rest) = (seconds.parse::<u64>().ok()?, rest.parse::<u64>().ok()?);
    Some(Millis(seconds.saturating_mul(1000) + rest.min(99) * 10))
}

/// The process of this number; none where /proc does not show it.
pub(crate) fn look(pid: u32, uptime: Millis, units: Units) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    read(&String::from_utf8_lossy(&stat), uptime, units)
}

/// Reads proc_pid_stat(5).
fn read(stat: &str, uptime: Millis, units: Units) -> Option<Process> {
    // The name of the program may have anything in it, a bracket too.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first of them is number 3, the state.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let busy: u64 = [14, 15, 16, 17].into_iter().filter_map(field).sum();
    let born = units.millis(field(22)?);
    Some(Process {
        cpu: units.millis(busy),
        resident: field(24)?.saturating_mul(units.page),
        age: Millis(uptime.0.saturating_sub(born.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_can_not_forge_its_numbers_by_its_name() {
        let units = Units {
            ticks_per_second: 100,
            page: 4096,
        };
        let stat = "7 (a) S 1 (b)) R 1 7 7 0 -1 4194304 1 2 3 4 150 50 25 25 20 0 1 0 1000 9 3 18";
        let process = read(stat, Millis(12_500), units).expect("well-formed");
        assert_eq!(
            process,
            Process {
                cpu: Millis(2_500),
                resident: 3 * 4096,
                age: Millis(2_500),
            }
        );
        assert_eq!(read("7 (a) S 1", Millis(1_000), units), None);
        assert_eq!(hundredths("350735.47"), Some(Millis(350_735_470)));
        assert_eq!(hundredths("x"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let units = Units::of_this_kernel();
        let own = look(std::process::id(), uptime().expect("a /proc"), units);
        let own = own.expect("a /proc");
        assert!(own.resident > 100_000, "{own:?}");
    }
}
