//! What a program said last, for the reason why it failed.

/// The longest last line that goes into a reason, in bytes.
const MAX_LINE: usize = 200;

/// How much of the end of its output is kept, in bytes: what the supervisor
/// keeps of a failure has room for it and for the reason.
const MAX_KEPT: usize = 800;

/// The end of an output, without keeping the rest.
#[derive(Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(MAX_KEPT);
        self.bytes.drain(..excess);
    }

    /// The last line with something in it, and all the lines that are kept
    /// where there are more than that one.
    pub(crate) fn words(&self) -> (String, Vec<String>) {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines = text.split(['\n', '\r']).map(clean);
        let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
        match lines.as_slice() {
            [] => (String::new(), Vec::new()),
            [only] => (shortened(only), Vec::new()),
            [.., last] => (shortened(last), lines),
        }
    }
}

fn clean(line: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = line.chars().map(shown).collect();
    line.trim().to_owned()
}

fn shortened(line: &str) -> String {
    let cut = line.floor_char_boundary(MAX_LINE);
    line.get(..cut).unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_with_something_in_it_is_the_reason_and_the_lines_are_kept() {
        let mut tail = Tail::default();
        for piece in ["first\nsec", "ond\r\n", "\n"] {
            tail.push(piece.as_bytes());
        }
        let lines = vec!["first".to_owned(), "second".to_owned()];
        assert_eq!(tail.words(), ("second".to_owned(), lines));
    }

    #[test]
    fn one_line_is_said_once_and_none_not_at_all() {
        let mut tail = Tail::default();
        assert_eq!(tail.words(), (String::new(), Vec::new()));
        tail.push(b"only\x07\n");
        assert_eq!(tail.words(), ("only".to_owned(), Vec::new()));
    }

    #[test]
    fn memory_and_words_stay_bounded_whatever_is_printed() {
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.push(&[b'x'; 4096]);
            assert!(tail.bytes.len() <= MAX_KEPT);
        }
        tail.push("\né".repeat(500).as_bytes());
        let (last, lines) = tail.words();
        assert_eq!(last, "é");
        assert!(lines.iter().map(String::len).sum::<usize>() <= 2 * MAX_KEPT);
    }
}
