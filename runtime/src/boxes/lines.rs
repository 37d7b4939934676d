//! Bytes from a box into lines of its log: pure.

use holdall_protocol::log::{LogRecord, MAX_LINE, Stream};

use crate::clock::WallTime;

/// The longest line of records that init may write; more is cut off. A record
/// holds [`MAX_LINE`] bytes of text, each of which JSON may escape to six.
const MAX_RECORD: usize = 8 * MAX_LINE;

/// What kind of lines comes by a FIFO.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// Whatever a program writes to this stream.
    Raw(Stream),
    /// Init's own records, passed on as they are. They are checked where they
    /// are read: a damaged one costs its line and no more.
    Records,
}

impl Source {
    /// Turns the whole lines at the beginning of `bytes` into records in `out`;
    /// how many bytes they were. What is left is a line that isn't over yet.
    pub(crate) fn take(self, bytes: &[u8], now: WallTime, out: &mut Vec<u8>) -> usize {
        match self {
            Self::Raw(stream) => take_raw(stream, bytes, now, out),
            Self::Records => match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => {
                    out.extend_from_slice(bytes.get(..=end).unwrap_or_default());
                    end + 1
                }
                None if bytes.len() > MAX_RECORD => {
                    self.finish(bytes, now, out);
                    bytes.len()
                }
                None => 0,
            },
        }
    }

    /// What is left when nobody writes any more.
    pub(crate) fn finish(self, bytes: &[u8], now: WallTime, out: &mut Vec<u8>) {
        match self {
            _ if bytes.is_empty() => {}
            Self::Raw(stream) => write_text(stream, bytes, false, now, out),
            Self::Records => {
                out.extend_from_slice(bytes);
                out.push(b'\n');
            }
        }
    }
}

fn take_raw(stream: Stream, bytes: &[u8], now: WallTime, out: &mut Vec<u8>) -> usize {
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..) {
        let window = rest.get(..MAX_LINE.min(rest.len())).unwrap_or(rest);
        match window.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = window.get(..end).unwrap_or_default();
                write_text(stream, line, false, now, out);
                taken += end + 1;
            }
            None if window.len() == MAX_LINE => {
                // A cut must not split a character: its first bytes wait for
                // the rest.
                let end = MAX_LINE - incomplete_tail(window);
                let piece = window.get(..end).unwrap_or_default();
                write_text(stream, piece, true, now, out);
                taken += end;
            }
            None => break,
        }
    }
    taken
}

fn write_text(stream: Stream, line: &[u8], partial: bool, now: WallTime, out: &mut Vec<u8>) {
    let mut text = String::from_utf8_lossy(line).into_owned();
    if !partial && text.ends_with('\r') {
        text.pop();
    }
    let record = LogRecord {
        time: now.0,
        service: None,
        stream,
        text,
        partial,
    };
    write(&record, out);
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

    /// What comes of bytes that arrive in pieces, and are left where they are
    /// until they are a line.
    fn pass(source: Source, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut waiting, mut out) = (Vec::new(), Vec::new());
        for piece in pieces {
            waiting.extend_from_slice(piece);
            let taken = source.take(&waiting, WallTime(7), &mut out);
            waiting.drain(..taken);
            // Whatever went out ends a line.
            assert!(out.is_empty() || out.ends_with(b"\n"));
            assert!(waiting.len() <= MAX_RECORD);
        }
        source.finish(&waiting, WallTime(7), &mut out);
        out
    }

    fn split(pieces: &[&[u8]]) -> Vec<LogRecord> {
        read(&pass(Source::Raw(Stream::Stdout), pieces))
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
    fn no_line_of_init_waits_without_bound() {
        let pieces = [&[b'x'; 4096][..]; 64];
        assert!(!pass(Source::Records, &pieces).is_empty());
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
            let pieces: Vec<&[u8]> = whole.as_bytes().chunks(cut).collect();
            let out = pass(Source::Records, &pieces);
            prop_assert_eq!(out, whole.into_bytes());
        }
    }
}
