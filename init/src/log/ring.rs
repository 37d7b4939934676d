//! The newest lines of everything, in bounded memory.

use std::collections::VecDeque;

use holdall_protocol::log::Stream;
use holdall_supervise::ServiceId;

/// Text kept, in bytes. More would show in the memory of every box; this is
/// some thousand lines.
const MAX_BYTES: usize = 256 * 1024;

/// Lines kept, so that empty lines can't fill memory with their book-keeping.
const MAX_LINES: usize = 4096;

/// When it is full, this part of it is emptied at once: line by line it would
/// cost as much as all the rest that is done to a line.
const SLACK: usize = 16;

/// What is known of a line beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Microseconds since 1970.
    pub(crate) time: u64,
    pub(crate) service: Option<ServiceId>,
    pub(crate) stream: Stream,
    /// It goes on in the next line of the same service and stream.
    pub(crate) partial: bool,
}

#[derive(Debug)]
struct Entry {
    origin: Origin,
    length: usize,
    /// Where its text begins, counted from the first byte ever kept.
    start: u64,
}

/// A ring of lines. Each has a number, which only grows, so that a slow reader
/// notices what it has missed.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    bytes: VecDeque<u8>,
    /// The number of the first line that is kept.
    first: u64,
    /// Where the first kept byte lies, counted from the first ever.
    origin: u64,
}

impl Ring {
    pub(crate) fn push(&mut self, origin: Origin, text: &[u8]) {
        let text = text.get(..text.len().min(MAX_BYTES)).unwrap_or(text);
        if self.entries.len() >= MAX_LINES || self.bytes.len() + text.len() > MAX_BYTES {
            self.make_room(text.len());
        }
        let start = self.origin + to_u64(self.bytes.len());
        self.bytes.extend(text);
        self.entries.push_back(Entry {
            origin,
            length: text.len(),
            start,
        });
    }

    /// Lets the oldest lines go, until there is room for this many bytes and a
    /// [`SLACK`] more.
    fn make_room(&mut self, length: usize) {
        let (mut lines, mut bytes) = (0, 0);
        for entry in &self.entries {
            let few = self.entries.len() - lines <= MAX_LINES - MAX_LINES / SLACK;
            let kept = self.bytes.len() - bytes;
            if few && kept + length + MAX_BYTES / SLACK <= MAX_BYTES {
                break;
            }
            lines += 1;
            bytes += entry.length;
        }
        self.entries.drain(..lines);
        self.bytes.drain(..bytes);
        self.first += to_u64(lines);
        self.origin += to_u64(bytes);
    }

    /// The number of the oldest line that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next line will have.
    pub(crate) fn end(&self) -> u64 {
        self.first + to_u64(self.entries.len())
    }

    /// Line `number`, if it is still kept.
    pub(crate) fn get(&self, number: u64) -> Option<(Origin, Vec<u8>)> {
        let entry = self.entry(number)?;
        let start = usize::try_from(entry.start - self.origin).ok()?;
        let text = self
            .bytes
            .range(start..start + entry.length)
            .copied()
            .collect();
        Some((entry.origin, text))
    }

    /// What is known of line `number`, without its text.
    pub(crate) fn origin(&self, number: u64) -> Option<Origin> {
        self.entry(number).map(|entry| entry.origin)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries
            .get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Where to begin so that `count` lines for which `wanted` holds are left.
    pub(crate) fn tail(&self, count: usize, wanted: impl Fn(&Origin) -> bool) -> u64 {
        let mut left = count;
        let mut number = self.end();
        for entry in self.entries.iter().rev() {
            if left == 0 {
                break;
            }
            number -= 1;
            if wanted(&entry.origin) {
                left -= 1;
            }
        }
        number
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(time: u64) -> Origin {
        Origin {
            time,
            service: None,
            stream: Stream::Stdout,
            partial: false,
        }
    }

    #[test]
    fn the_newest_lines_are_kept_and_keep_their_numbers() {
        let mut ring = Ring::default();
        for number in 0..10_000_u64 {
            ring.push(origin(number), format!("line {number}").as_bytes());
        }
        assert_eq!(ring.end(), 10_000);
        let kept = 10_000 - ring.first();
        assert!((4096 - 256..=4096).contains(&kept), "{kept}");
        assert_eq!(
            ring.get(9_999),
            Some((origin(9_999), b"line 9999".to_vec()))
        );
        assert_eq!(
            ring.get(ring.first()).map(|(o, _)| o.time),
            Some(ring.first())
        );
        assert_eq!(ring.get(10), None);
        assert_eq!(ring.get(10_000), None);
    }

    #[test]
    fn long_lines_push_out_old_ones_by_their_bytes() {
        let mut ring = Ring::default();
        for number in 0..100 {
            ring.push(origin(number), &[b'x'; 16 * 1024]);
        }
        assert!((15..=16).contains(&(ring.end() - ring.first())));
        assert!(ring.bytes.len() <= MAX_BYTES);
    }

    #[test]
    fn a_tail_counts_only_the_lines_that_are_wanted() {
        let mut ring = Ring::default();
        for number in 0..10 {
            ring.push(origin(number), b"x");
        }
        assert_eq!(ring.tail(2, |o| o.time % 2 == 0), 6);
        assert_eq!(ring.tail(100, |_| true), 0);
        assert_eq!(ring.tail(0, |_| true), 10);
    }
}
