//! Bytes as a program writes them → lines, each at most [`MAX_LINE`] bytes.
//!
//! Lines go on in batches, as many as came at once: most of what is done to
//! them needs no look at each. `Log::lines` is where every batch of every
//! service passes.

use holdall_protocol::log::MAX_LINE;

/// Lines of one pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch<'b> {
    /// Whole lines, each with its end. Or, if `partial`, one piece of a line,
    /// without an end.
    pub(crate) text: &'b [u8],
    /// The line goes on in the next batch of this pipe.
    pub(crate) partial: bool,
}

impl<'b> Batch<'b> {
    pub(crate) fn whole(text: &'b [u8]) -> Self {
        Self {
            text,
            partial: false,
        }
    }

    fn piece(text: &'b [u8]) -> Self {
        Self {
            text,
            partial: true,
        }
    }

    /// How many lines, or pieces of one, it has.
    pub(crate) fn count(self) -> u64 {
        count(self.text).max(u64::from(self.partial))
    }
}

/// How many lines end in these bytes.
pub(crate) fn count(text: &[u8]) -> u64 {
    u64::try_from(memchr::memchr_iter(b'\n', text).count()).unwrap_or(u64::MAX)
}

/// The unfinished line of one pipe.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// At most [`MAX_LINE`] bytes, without an end of line in them.
    tail: Vec<u8>,
}

impl Lines {
    /// Takes in bytes; `out` gets what is finished.
    pub(crate) fn push(&mut self, bytes: &[u8], mut out: impl FnMut(Batch<'_>)) {
        let mut rest = bytes;
        if !self.tail.is_empty()
            && let Some(end) = memchr::memchr(b'\n', rest)
        {
            let (head, next) = rest.split_at(end);
            self.keep(head, &mut out);
            self.finish(&mut out);
            rest = next.get(1..).unwrap_or(&[]);
        }
        if let Some(end) = memchr::memrchr(b'\n', rest) {
            let (whole, open) = rest.split_at(end + 1);
            cut(whole, &mut out);
            rest = open;
        }
        self.keep(rest, &mut out);
    }

    /// The program will say no more: what is left of its last line.
    pub(crate) fn finish(&mut self, mut out: impl FnMut(Batch<'_>)) {
        if !self.tail.is_empty() {
            let mut line = std::mem::take(&mut self.tail);
            line.push(b'\n');
            out(Batch::whole(&line));
        }
    }

    /// More of a line that has not ended; what is too much for one goes on its
    /// way.
    fn keep(&mut self, mut rest: &[u8], out: &mut impl FnMut(Batch<'_>)) {
        while self.tail.len() + rest.len() > MAX_LINE {
            let (fill, next) = rest.split_at(MAX_LINE - self.tail.len());
            if self.tail.is_empty() {
                out(Batch::piece(fill));
            } else {
                self.tail.extend_from_slice(fill);
                out(Batch::piece(&std::mem::take(&mut self.tail)));
            }
            rest = next;
        }
        self.tail.extend_from_slice(rest);
    }
}

/// Whole lines, those that are too long in pieces.
fn cut(text: &[u8], out: &mut impl FnMut(Batch<'_>)) {
    // What lies between is whole lines, none of them too long. It is not looked
    // at line by line: from the start of a line the last end that is near
    // enough is good.
    let (mut start, mut at) = (0, 0);
    loop {
        let left = text.get(at..).unwrap_or(&[]);
        let Some(near) = left.get(..=MAX_LINE).filter(|near| near.len() < left.len()) else {
            break;
        };
        match memchr::memrchr(b'\n', near) {
            Some(end) => at += end + 1,
            None => {
                let good = text.get(start..at).unwrap_or(&[]);
                if !good.is_empty() {
                    out(Batch::whole(good));
                }
                let (piece, _) = near.split_at(MAX_LINE);
                out(Batch::piece(piece));
                at += MAX_LINE;
                start = at;
            }
        }
    }
    out(Batch::whole(text.get(start..).unwrap_or(&[])));
}
