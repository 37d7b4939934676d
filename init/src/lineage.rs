//! Finding every process of a service, whatever it did to get away.
//!
//! After a double fork and setsid nothing in Linux tells whose child a process
//! was, but for what it can't shed: each instance runs under a value of
//! RLIMIT_LOCKS of its own (the kernel has not used that limit since 2.4;
//! lowering it needs no privilege; raising it back needs CAP_SYS_RESOURCE).
//! The value is no proof, as anybody may set the same: a process is taken for
//! the service's only if it is also a descendant of this init.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;

use crate::sys;

/// The values that mark one instance. A range, so that an init inside of it
/// can mark its own services within.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// What the instance itself gets: the highest of its values.
    pub(crate) value: u64,
    /// How many values below belong to it too.
    span: u64,
}

impl Mark {
    fn covers(self, value: u64) -> bool {
        value <= self.value && self.value - value < self.span
    }
}

/// Values for an init whose own limit is unlimited: one million, each with
/// room for an init within, and one within that.
const OUTER_SPAN: u64 = 1 << 30;
/// The same for an init that is itself marked.
const INNER_SPAN: u64 = 1 << 10;
/// And for the innermost.
const LEAF_SPAN: u64 = 1;

/// Hands out marks; after the last it begins again, by when the instances of
/// the first are long gone.
#[derive(Debug)]
pub(crate) struct Marks {
    /// All marks lie below this.
    top: u64,
    span: u64,
    count: u64,
    next: u64,
}

impl Marks {
    /// Marks under the limit that init itself runs under. `salt` keeps inits
    /// side by side apart. None where the limit is too low to be divided.
    pub(crate) fn under(limit: u64, salt: u64) -> Option<Self> {
        let (top, span, count) = if limit > 1 << 62 {
            // Below 2^62, in one of 4096 stretches of a million marks.
            (((salt % 4096) + 1) << 50, OUTER_SPAN, (1 << 20) - 1)
        } else if limit.is_multiple_of(OUTER_SPAN) && limit > 0 {
            (limit, INNER_SPAN, OUTER_SPAN / INNER_SPAN - 1)
        } else if limit > 2 * INNER_SPAN {
            (limit, LEAF_SPAN, INNER_SPAN - 2)
        } else {
            return None;
        };
        Some(Self {
            top,
            span,
            count,
            next: 0,
        })
    }

    pub(crate) fn next(&mut self) -> Mark {
        let index = self.next;
        self.next = (self.next + 1) % self.count;
        // The first stretch below the top stays free: `top` itself may be
        // init's own.
        Mark {
            value: self.top - (index + 1) * self.span,
            span: self.span,
        }
    }
}

/// A live process under a mark.
pub(crate) struct Found {
    /// It, and not whoever has its number later.
    pub(crate) handle: OwnedFd,
}

/// What a look through /proc came to.
pub(crate) struct Scan {
    pub(crate) found: Vec<Found>,
    /// Something vanished while it was looked at: nobody found is not nobody
    /// there.
    pub(crate) uncertain: bool,
}

/// Whether /proc is there and numbers processes as this one sees them.
pub(crate) fn proc_is_ours() -> bool {
    let own = std::process::id().to_string();
    fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == own.as_str())
}

/// The children of init, zombies among them. None where the kernel doesn't
/// tell.
pub(crate) fn children() -> Option<Vec<i32>> {
    let text = fs::read_to_string("/proc/thread-self/children").ok()?;
    Some(
        text.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect(),
    )
}

/// Looks for every live process under `mark` (any where none) that descends
/// from this one.
pub(crate) fn scan(mark: Option<Mark>) -> Scan {
    let mut scan = Scan {
        found: Vec::new(),
        uncertain: false,
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return scan;
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pid == own || mark.is_some_and(|mark| !marked(pid, mark)) {
            continue;
        }
        match descends(pid, own) {
            Some(true) => {}
            Some(false) => continue,
            None => {
                scan.uncertain = true;
                continue;
            }
        }
        // From here on the handle is what counts: is it still the same?
        let Ok(handle) = sys::pidfd_open(pid) else {
            continue;
        };
        let same = match mark {
            Some(mark) => marked(pid, mark),
            None => descends(pid, own) == Some(true),
        };
        if same {
            scan.found.push(Found { handle });
        } else {
            scan.uncertain = true;
        }
    }
    scan
}

/// Whether a process is under a mark, and descends from this one.
pub(crate) fn belongs(pid: i32, mark: Mark) -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    marked(pid, mark) && descends(pid, own) == Some(true)
}

/// Whether a process is there and no zombie. Without /proc every one that is
/// there lives.
pub(crate) fn lives(pid: i32) -> bool {
    let mut buffer = [0; 4096];
    match read(pid, "stat", &mut buffer).and_then(state_and_parent) {
        Some((state, _)) => !matches!(state, 'Z' | 'X' | 'x'),
        None => !std::path::Path::new("/proc/self").exists(),
    }
}

fn marked(pid: i32, mark: Mark) -> bool {
    let mut buffer = [0; 4096];
    let Some(text) = read(pid, "limits", &mut buffer) else {
        return false;
    };
    soft_locks(text).is_some_and(|value| mark.covers(value))
}

/// The soft limit in the line `Max file locks`; none where unlimited.
fn soft_locks(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max file locks"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether `pid` lives and its line of parents leads to `ancestor`. None where
/// one of them vanished meanwhile.
fn descends(pid: i32, ancestor: i32) -> Option<bool> {
    let mut current = pid;
    // Deeper than any process tree; a bound, as parents change under us.
    for depth in 0..1000 {
        let mut buffer = [0; 4096];
        let stat = read(current, "stat", &mut buffer).and_then(state_and_parent);
        let Some((state, parent)) = stat else {
            // It itself is gone: that is certain enough.
            return if depth == 0 { Some(false) } else { None };
        };
        if depth == 0 && matches!(state, 'Z' | 'X' | 'x') {
            return Some(false);
        }
        if parent == ancestor {
            return Some(true);
        }
        if parent <= 1 {
            return Some(false);
        }
        current = parent;
    }
    Some(false)
}

/// `pid (name) S ppid …`; the name may hold anything, so from its last `)`.
fn state_and_parent(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

fn read<'b>(pid: i32, file: &str, buffer: &'b mut [u8]) -> Option<&'b str> {
    let mut opened = fs::File::open(format!("/proc/{pid}/{file}")).ok()?;
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..) {
        match opened.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(_) => return None,
        }
    }
    let bytes = buffer.get(..filled)?;
    // A name that is no UTF-8 stands before the last `)`.
    let start = bytes.iter().rposition(|byte| *byte == b')').unwrap_or(0);
    std::str::from_utf8(bytes.get(start..)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_within_a_service_marks_within_the_mark_of_that_service() {
        let mut outer = Marks::under(u64::MAX, 77).expect("unlimited");
        let (a, b) = (outer.next(), outer.next());
        assert_ne!(a, b);
        let mut inner = Marks::under(a.value, 3).expect("marked");
        for _ in 0..2_000_000 {
            let within = inner.next();
            assert!(a.covers(within.value) && !b.covers(within.value));
            assert!(within.value < a.value);
        }
        let innermost = Marks::under(inner.next().value, 9)
            .expect("marked twice")
            .next();
        assert!(a.covers(innermost.value) && !b.covers(innermost.value));
    }

    #[test]
    fn a_limit_too_low_to_be_divided_gives_no_marks() {
        assert!(Marks::under(0, 1).is_none());
        assert!(Marks::under(64, 1).is_none());
    }

    #[test]
    fn a_process_whose_name_looks_like_a_stat_line_is_read_right() {
        assert_eq!(state_and_parent("7 (x) R 1 (y) S 42 7 7"), Some(('S', 42)));
        assert_eq!(state_and_parent(") Z 3 1"), Some(('Z', 3)));
    }

    #[test]
    fn the_limit_is_read_from_the_kernels_own_table() {
        let line =
            "Max file locks            1125899906842624     1125899906842624     locks     \n";
        assert_eq!(soft_locks(line), Some(1 << 50));
        assert_eq!(
            soft_locks("Max file locks   unlimited  unlimited  locks\n"),
            None
        );
    }
}
