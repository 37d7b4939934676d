//! Bytes as a program writes them → lines, each at most
//! [`MAX_LINE`] bytes.

use holdall_protocol::log::MAX_LINE;

/// The unfinished line of one pipe.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    tail: Vec<u8>,
}

impl Lines {
    /// Takes in bytes; `line` gets each finished line without its end, and
    /// whether it goes on in the next one.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8], bool)) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (head, rest) = bytes.split_at(at);
            bytes = rest.get(1..).unwrap_or(&[]);
            if self.tail.is_empty() {
                cut(head, true, &mut line);
            } else {
                self.tail.extend_from_slice(head);
                let whole = std::mem::take(&mut self.tail);
                cut(&whole, true, &mut line);
            }
        }
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > MAX_LINE {
            let whole = std::mem::take(&mut self.tail);
            self.tail = cut(&whole, false, &mut line).to_vec();
        }
    }

    /// The program will say no more: what is left of its last line.
    pub(crate) fn finish(&mut self, line: impl FnOnce(&[u8])) {
        if !self.tail.is_empty() {
            line(&std::mem::take(&mut self.tail));
        }
    }
}

/// Cuts what is over the limit; the last piece is a finished line only if
/// `ended`, else it is given back.
fn cut<'b>(mut bytes: &'b [u8], ended: bool, line: &mut impl FnMut(&[u8], bool)) -> &'b [u8] {
    while bytes.len() > MAX_LINE {
        let (piece, rest) = bytes.split_at(MAX_LINE);
        line(piece, true);
        bytes = rest;
    }
    if ended {
        line(bytes, false);
        return &[];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        for piece in pieces {
            lines.push(piece, |line, partial| got.push((line.to_vec(), partial)));
        }
        lines.finish(|line| got.push((line.to_vec(), false)));
        got
    }

    #[test]
    fn lines_are_the_same_however_the_pipe_cuts_them() {
        let whole = vec![
            (b"one".to_vec(), false),
            (vec![], false),
            (b"two".to_vec(), false),
        ];
        assert_eq!(all(&[b"one\n\ntwo"]), whole);
        assert_eq!(all(&[b"o", b"ne", b"\n", b"\n", b"tw", b"o\n"]), whole);
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_its_pieces_say_so() {
        let long = vec![b'x'; 2 * MAX_LINE + 5];
        for pieces in [
            vec![&long[..], b"\n"],
            long.chunks(1000).chain([&b"\n"[..]]).collect(),
        ] {
            let got = all(&pieces);
            let lengths: Vec<_> = got
                .iter()
                .map(|(line, partial)| (line.len(), *partial))
                .collect();
            assert_eq!(lengths, [(MAX_LINE, true), (MAX_LINE, true), (5, false)]);
        }
    }

    #[test]
    fn memory_stays_bounded_without_a_line_end() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.push(&[b'x'; 4096], |_, _| {});
            assert!(lines.tail.len() <= MAX_LINE);
        }
    }
}
