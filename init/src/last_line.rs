//! What a program said last, for the reason why it failed.

/// The longest piece of a command's last line that goes into a reason.
const MAX_WORDS: usize = 200;

/// The last line with something in it, without keeping the rest.
#[derive(Default)]
pub(crate) struct LastLine {
    line: Vec<u8>,
    /// A line end came: the next byte begins a new line.
    ended: bool,
}

impl LastLine {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' || *byte == b'\r' {
                self.ended = true;
                continue;
            }
            if std::mem::take(&mut self.ended) {
                self.line.clear();
            }
            if self.line.len() < MAX_WORDS {
                self.line.push(*byte);
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.line);
        text.trim()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_with_something_in_it_is_kept() {
        let mut last = LastLine::default();
        for piece in ["first\nsec", "ond\n", "\n"] {
            last.push(piece.as_bytes());
        }
        assert_eq!(last.text(), "second");
        last.push(&[b'x'; 10_000]);
        assert_eq!(last.text().len(), MAX_WORDS);
    }
}
