//! The patterns of `ready = { log = … }`: a text that a line has in it, in
//! which `*` stands for anything.

/// A pattern. `\*` is a star, and a backslash before anything else is itself.
///
/// Whether a line fits is found out in one pass over it, whatever is in the
/// pattern and in the line: each piece between two stars is searched for by
/// Knuth, Morris and Pratt's way, from where the one before it ended.
#[derive(Debug, Clone)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

/// A text without stars.
#[derive(Debug, Clone)]
struct Piece {
    bytes: Vec<u8>,
    /// For each length that has matched: how much of that still matches when
    /// the next byte doesn't.
    fallback: Vec<usize>,
}

impl Pattern {
    /// Reads a pattern. Any text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'*' => pieces.push(Piece::new(std::mem::take(&mut piece))),
                b'\\' => piece.push(bytes.next_if_eq(&b'*').unwrap_or(b'\\')),
                byte => piece.push(byte),
            }
        }
        pieces.push(Piece::new(piece));
        Self { pieces }
    }

    /// Whether a line has it in it.
    #[must_use]
    pub fn fits(&self, line: &[u8]) -> bool {
        let mut rest = line;
        self.pieces.iter().all(|piece| match piece.end_in(rest) {
            Some(end) => {
                rest = rest.get(end..).unwrap_or(&[]);
                true
            }
            None => false,
        })
    }
}

impl Piece {
    fn new(bytes: Vec<u8>) -> Self {
        let mut fallback = Vec::with_capacity(bytes.len());
        let mut matched = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 {
                matched = step(&bytes, &fallback, matched, *byte);
            }
            fallback.push(matched);
        }
        Self { bytes, fallback }
    }

    /// Where its first occurrence in a text ends.
    fn end_in(&self, text: &[u8]) -> Option<usize> {
        if self.bytes.is_empty() {
            return Some(0);
        }
        let mut matched = 0;
        for (at, byte) in text.iter().enumerate() {
            matched = step(&self.bytes, &self.fallback, matched, *byte);
            if matched == self.bytes.len() {
                return Some(at + 1);
            }
        }
        None
    }
}

/// How much matches after one byte more.
fn step(bytes: &[u8], fallback: &[usize], mut matched: usize, byte: u8) -> usize {
    loop {
        if bytes.get(matched) == Some(&byte) {
            return matched + 1;
        }
        let Some(shorter) = matched.checked_sub(1) else {
            return 0;
        };
        matched = fallback.get(shorter).copied().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by trying everything.
    fn fits_slowly(pieces: &[Vec<u8>], line: &[u8]) -> bool {
        let Some((first, rest)) = pieces.split_first() else {
            return true;
        };
        (0..=line.len()).any(|at| {
            let tail = line.get(at..).unwrap_or(&[]);
            tail.strip_prefix(first.as_slice())
                .is_some_and(|after| fits_slowly(rest, after))
        })
    }

    #[test]
    fn a_text_fits_a_line_that_has_it_anywhere() {
        let fits = |pattern: &str, line: &str| Pattern::new(pattern).fits(line.as_bytes());
        assert!(fits("ready", "the server is ready to accept"));
        assert!(fits("listening on *:*80", "listening on port 1:8080"));
        assert!(!fits("a*b", "b a"));
        assert!(fits("*", "") && fits("", "x"));
        assert!(fits(r"5 \* 3", "it is 5 * 3") && !fits(r"5 \* 3", "it is 5 times 3"));
        assert!(fits(r"C:\dir", r"in C:\dir now"));
        assert!(!fits("ready", "read"));
    }

    #[test]
    fn a_line_made_to_be_slow_takes_one_pass() {
        let pattern = Pattern::new(&format!("{}b", "a".repeat(1023)));
        assert!(!pattern.fits(&vec![b'a'; 16 * 1024 * 1024]));
    }

    proptest! {
        #[test]
        fn a_pattern_fits_as_by_trying_everything(
            pieces in prop::collection::vec("[ab]{0,4}", 1..4),
            line in "[ab]{0,20}",
        ) {
            let bytes: Vec<Vec<u8>> = pieces.iter().map(|p| p.clone().into_bytes()).collect();
            let fits = Pattern::new(&pieces.join("*")).fits(line.as_bytes());
            prop_assert_eq!(fits, fits_slowly(&bytes, line.as_bytes()));
        }
    }
}
