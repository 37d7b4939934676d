//! Bytes from a box into lines of its log: pure.

use holdall_protocol::log::{LogRecord, MAX_LINE, Stream};

use crate::clock::WallTime;

/// The longest line of records that init may write; more is cut off. A record
/// holds [`MAX_LINE`] bytes of text, each of which JSON may escape to six.
const MAX_RECORD: usize = 8 * MAX_LINE;

/// Turns what a program writes into records. It holds at most one line.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: Stream,
    pending: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    /// Adds bytes; whole lines go to `out` as NDJSON.
    pub(crate) fn push(&mut self, mut bytes: &[u8], now: WallTime, out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.pending.len();
            let window = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.pending
                        .extend_from_slice(bytes.get(..end).unwrap_or_default());
                    self.flush(false, now, out);
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                }
                None => {
                    self.pending.extend_from_slice(window);
                    bytes = bytes.get(window.len()..).unwrap_or_default();
                    if self.pending.len() == MAX_LINE {
                        self.flush(true, now, out);
                    }
                }
            }
        }
    }

    /// What is left when nobody writes any more.
    pub(crate) fn finish(&mut self, now: WallTime, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.flush(false, now, out);
        }
    }

    fn flush(&mut self, partial: bool, now: WallTime, out: &mut Vec<u8>) {
        // A cut must not split a character: its first bytes wait for the rest.
        let keep = if partial {
            incomplete_tail(&self.pending)
        } else {
            0
        };
        let rest = self.pending.split_off(self.pending.len() - keep);
        let line = std::mem::replace(&mut self.pending, rest);
        let mut text = String::from_utf8_lossy(&line).into_owned();
        if !partial && text.ends_with('\r') {
            text.pop();
        }
        let stream = self.stream;
        write(
            &LogRecord {
                time: now.0,
                service: None,
                stream,
                text,
                partial,
            },
            out,
        );
    }
}

/// The bytes at the end that begin a character and don't finish it: 0 to 3.
fn incomplete_tail(bytes: &[u8]) -> usize {
    let tail = bytes
        .get(bytes.len().saturating_sub(3)..)
        .unwrap_or_default();
    for (at, byte) in tail.iter().enumerate() {
        let length = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => continue,
        };
        let there = tail.len() - at;
        if there < length {
            return there;
        }
    }
    0
}

/// Appends one record as a line.
pub(crate) fn write(record: &LogRecord, out: &mut Vec<u8>) {
    // A record is plain data, and memory takes every write.
    if serde_json::to_writer(&mut *out, record).is_ok() {
        out.push(b'\n');
    }
}

/// Passes init's own records on, whole lines only. They are checked where they
/// are read: a damaged one costs its line and no more.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pending: Vec<u8>,
}

impl Records {
    /// Adds bytes; whole lines go to `out`.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            self.pending.extend_from_slice(bytes);
            if self.pending.len() > MAX_RECORD {
                self.finish(out);
            }
            return;
        };
        let (whole, rest) = bytes.split_at(end + 1);
        out.append(&mut self.pending);
        out.extend_from_slice(whole);
        self.pending.extend_from_slice(rest);
    }

    /// What is left when nobody writes any more.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            out.append(&mut self.pending);
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(out: &[u8]) -> Vec<LogRecord> {
        out.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a record"))
            .collect()
    }

    fn split(pieces: &[&[u8]]) -> Vec<LogRecord> {
        let (mut raw, mut out) = (Raw::new(Stream::Stdout), Vec::new());
        for piece in pieces {
            raw.push(piece, WallTime(7), &mut out);
        }
        raw.finish(WallTime(7), &mut out);
        read(&out)
    }

    #[test]
    fn a_line_keeps_its_text_and_loses_its_end() {
        let records = split(&[b"one\r\ntw", b"o\n\nlast"]);
        let texts: Vec<&str> = records.iter().map(|record| record.text.as_str()).collect();
        assert_eq!(texts, ["one", "two", "", "last"]);
        assert!(
            records
                .iter()
                .all(|record| !record.partial && record.time == 7)
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_marked() {
        let line = "ü".repeat(MAX_LINE);
        let records = split(&[b"x", line.as_bytes(), b"\n"]);
        let whole: String = records.iter().map(|record| record.text.as_str()).collect();
        assert_eq!(whole, format!("x{line}"));
        let partial: Vec<bool> = records.iter().map(|record| record.partial).collect();
        assert_eq!(partial, [true, true, false]);
    }

    #[test]
    fn no_line_of_init_is_kept_without_bound() {
        let (mut records, mut out) = (Records::default(), Vec::new());
        for _ in 0..64 {
            records.push(&[b'x'; 4096], &mut out);
        }
        assert!(records.pending.len() <= MAX_RECORD);
        assert!(!out.is_empty());
    }

    proptest! {
        #[test]
        fn text_survives_any_way_it_is_cut(
            lines in prop::collection::vec("[^\r\n]{0,20}", 0..6),
            cut in 1usize..7,
        ) {
            let mut bytes = Vec::new();
            for line in &lines {
                bytes.extend_from_slice(line.as_bytes());
                bytes.push(b'\n');
            }
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let texts: Vec<String> = split(&pieces).into_iter().map(|r| r.text).collect();
            prop_assert_eq!(texts, lines);
        }

        #[test]
        fn any_bytes_give_whole_records(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for record in split(&[&bytes]) {
                prop_assert!(!record.text.contains('\n'));
            }
        }

        #[test]
        fn records_pass_unchanged(
            lines in prop::collection::vec("[a-z]{1,20}", 0..6), cut in 1usize..9,
        ) {
            let whole = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let (mut records, mut out) = (Records::default(), Vec::new());
            for piece in whole.as_bytes().chunks(cut) {
                records.push(piece, &mut out);
                // Whatever went out ends a line.
                prop_assert!(out.is_empty() || out.ends_with(b"\n"));
            }
            records.finish(&mut out);
            prop_assert_eq!(out, whole.into_bytes());
        }
    }
}
