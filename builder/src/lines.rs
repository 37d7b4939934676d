//! Bytes to lines of text, for people: bounded, and without what would move
//! the cursor of their terminal. Pure.

/// A line is cut here, in bytes, so that a program that prints no line break
/// takes no memory.
const MAX_LINE: usize = 8 * 1024;

/// The line that is not yet ended.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    part: Vec<u8>,
}

impl Lines {
    /// Takes more bytes, and gives every line that they end.
    pub(crate) fn push(&mut self, bytes: &[u8], line: &mut dyn FnMut(&str)) {
        for byte in bytes {
            // A carriage return ends the line of a progress bar.
            if matches!(byte, b'\n' | b'\r') {
                self.finish(line);
            } else {
                self.part.push(*byte);
                if self.part.len() == MAX_LINE {
                    self.finish(line);
                }
            }
        }
    }

    /// Gives what is left, unless it is empty.
    pub(crate) fn finish(&mut self, line: &mut dyn FnMut(&str)) {
        if self.part.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&self.part);
        let shown: String = text
            .chars()
            .filter(|c| *c == '\t' || !c.is_control())
            .collect();
        line(&shown);
        self.part.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece, &mut |line| found.push(line.to_owned()));
        }
        lines.finish(&mut |line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        assert_eq!(lines(&[b"a", b"b\nc", b"\n\nd"]), ["ab", "c", "d"]);
    }

    #[test]
    fn a_progress_bar_and_colours_stay_readable() {
        assert_eq!(
            lines(&[b"10%\r20%\r\n\x1b[31mred\x1b[0m"]),
            ["10%", "20%", "[31mred[0m"]
        );
    }

    #[test]
    fn a_line_without_end_is_cut() {
        assert_eq!(lines(&[&vec![b'x'; 3 * MAX_LINE]]).len(), 3);
    }
}
