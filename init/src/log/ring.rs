//! The newest lines of every service, in bounded memory.
//!
//! All of them share one bound. When it is reached, the oldest lines of whoever
//! holds most go: a service that says a lot pushes out its own lines, and never
//! those of a quiet one, which may be days old. Nothing is set aside for a
//! service that says nothing.

use std::collections::{BTreeMap, VecDeque};

use holdall_protocol::log::Stream;
use holdall_supervise::ServiceId;

use super::lines::{Batch, count};

/// Kept in all, in bytes. More would show in the memory of every box; this is
/// some thousand lines.
const BASE: usize = 256 * 1024;

/// And this much more for each service, so that a thousand of them don't share
/// a few lines each.
const PER_SERVICE: usize = 1024;

/// What is kept and let go at one go, at most: a line may be as long.
const BLOCK: usize = 16 * 1024;

/// What a block costs beside its text: its place in the map and in its owner's
/// list, and what the allocator adds.
const OVERHEAD: usize = 128;

/// What is known of lines beside their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Microseconds since 1970.
    pub(crate) time: u64,
    pub(crate) service: Option<ServiceId>,
    pub(crate) stream: Stream,
    /// It goes on in the next line of the same service and stream.
    pub(crate) partial: bool,
}

/// Lines that came together.
#[derive(Debug)]
struct Block {
    origin: Origin,
    /// How many they are.
    lines: u64,
    /// As in a [`Batch`].
    text: Box<[u8]>,
}

impl Block {
    fn charge(&self) -> usize {
        self.text.len() + OVERHEAD
    }
}

/// What is kept for a service, or for init's own words.
#[derive(Debug, Default)]
struct Owner {
    /// The numbers of its blocks, oldest first.
    blocks: VecDeque<u64>,
    charge: usize,
    /// Lines about it, ever.
    pushed: u64,
}

/// One line of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'r> {
    pub(crate) number: u64,
    pub(crate) origin: Origin,
    /// Without its end.
    pub(crate) text: &'r [u8],
}

/// The ring. Each line has a number, which only grows, over all services.
#[derive(Debug)]
pub(crate) struct Ring {
    /// By the number of their first line.
    blocks: BTreeMap<u64, Block>,
    /// Init's, then those of the services.
    owners: Vec<Owner>,
    charge: usize,
    /// The number that the next line will have.
    end: u64,
    /// Some lines before this one are gone.
    gone_to: u64,
}

impl Ring {
    pub(crate) fn new(services: usize) -> Self {
        let mut ring = Self {
            blocks: BTreeMap::new(),
            owners: Vec::new(),
            charge: 0,
            end: 0,
            gone_to: 0,
        };
        ring.serve(services);
        ring
    }

    /// There are so many services now.
    pub(crate) fn serve(&mut self, services: usize) {
        let owners = self.owners.len().max(services + 1);
        self.owners.resize_with(owners, Owner::default);
    }

    pub(crate) fn push(&mut self, origin: Origin, batch: Batch<'_>) {
        let mut rest = batch.text;
        if batch.partial {
            return self.push_block(origin, rest, 1);
        }
        while !rest.is_empty() {
            let (block, next) = rest.split_at(block_end(rest));
            self.push_block(origin, block, count(block));
            rest = next;
        }
    }

    fn push_block(&mut self, origin: Origin, text: &[u8], lines: u64) {
        let block = Block {
            origin,
            lines,
            text: text.into(),
        };
        self.make_room(block.charge());
        let subject = index(origin.service);
        let payer = match origin.stream {
            Stream::Init => 0,
            Stream::Stdout | Stream::Stderr => subject,
        };
        if let Some(subject) = self.owners.get_mut(subject) {
            subject.pushed += lines;
        }
        let Some(payer) = self.owners.get_mut(payer) else {
            return;
        };
        payer.charge += block.charge();
        payer.blocks.push_back(self.end);
        self.charge += block.charge();
        self.blocks.insert(self.end, block);
        self.end += lines;
    }

    /// Lets lines go until there is room for so many bytes.
    fn make_room(&mut self, charge: usize) {
        let bound = BASE + PER_SERVICE * (self.owners.len() - 1);
        while self.charge + charge > bound {
            let heaviest = self.owners.iter_mut().max_by_key(|owner| owner.charge);
            let Some((owner, number)) =
                heaviest.and_then(|owner| owner.blocks.pop_front().map(|number| (owner, number)))
            else {
                return;
            };
            if let Some(block) = self.blocks.remove(&number) {
                owner.charge -= block.charge();
                self.charge -= block.charge();
                self.gone_to = self.gone_to.max(number + block.lines);
            }
        }
    }

    /// The number that the next line will have.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether lines from this one on may be gone.
    pub(crate) fn is_gone(&self, from: u64) -> bool {
        from < self.gone_to
    }

    /// The lines from a number on whose origin is wanted.
    pub(crate) fn lines(
        &self,
        from: u64,
        wanted: impl Fn(&Origin) -> bool,
    ) -> impl Iterator<Item = Line<'_>> {
        let first = self.block_of(from);
        let blocks = self.blocks.range(first..);
        let blocks = blocks.filter(move |(_, block)| wanted(&block.origin));
        let lines = blocks.flat_map(|(number, block)| {
            let text = block.text.strip_suffix(b"\n").unwrap_or(&block.text);
            let texts = text.split(|byte| *byte == b'\n');
            (*number..).zip(texts).map(|(number, text)| Line {
                number,
                origin: block.origin,
                text,
            })
        });
        lines.skip_while(move |line| line.number < from)
    }

    /// Where the block with this line begins.
    fn block_of(&self, number: u64) -> u64 {
        let before = self.blocks.range(..=number).next_back();
        match before {
            Some((start, block)) if start + block.lines > number => *start,
            Some(_) | None => number,
        }
    }

    /// How many lines from a number on are kept whose origin is wanted.
    pub(crate) fn held(&self, from: u64, wanted: impl Fn(&Origin) -> bool) -> u64 {
        let blocks = self.blocks.range(self.block_of(from)..);
        let wanted = blocks.filter(|(_, block)| wanted(&block.origin));
        let lines = wanted.map(|(number, block)| block.lines - from.saturating_sub(*number));
        lines.sum()
    }

    /// How many lines about these services there ever were; all lines where
    /// none is named.
    pub(crate) fn pushed(&self, services: &[ServiceId]) -> u64 {
        if services.is_empty() {
            return self.end;
        }
        let owners = services.iter().map(|id| self.owners.get(index(Some(*id))));
        owners.flatten().map(|owner| owner.pushed).sum()
    }

    /// Where to begin so that `count` lines for which `wanted` holds are left.
    pub(crate) fn tail(&self, count: usize, wanted: impl Fn(&Origin) -> bool) -> u64 {
        let mut left = u64::try_from(count).unwrap_or(u64::MAX);
        if left == 0 {
            return self.end;
        }
        for (number, block) in self.blocks.iter().rev() {
            if !wanted(&block.origin) {
                continue;
            }
            if block.lines >= left {
                return number + (block.lines - left);
            }
            left -= block.lines;
        }
        0
    }
}

/// The place of a service among the owners.
fn index(service: Option<ServiceId>) -> usize {
    service.map_or(0, |id| id.index().saturating_add(1))
}

/// Where the first block of these lines ends.
fn block_end(text: &[u8]) -> usize {
    let Some(head) = text.get(..BLOCK).filter(|head| head.len() < text.len()) else {
        return text.len();
    };
    let end = memchr::memrchr(b'\n', head).or_else(|| memchr::memchr(b'\n', text));
    end.map_or(text.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: usize = 3;

    fn origin(time: u64, service: Option<u32>) -> Origin {
        let stream = match service {
            Some(_) => Stream::Stdout,
            None => Stream::Init,
        };
        Origin {
            time,
            service: service.map(ServiceId),
            stream,
            partial: false,
        }
    }

    fn any(_: &Origin) -> bool {
        true
    }

    fn of(service: u32) -> impl Fn(&Origin) -> bool {
        move |origin| origin.service == Some(ServiceId(service))
    }

    fn texts(ring: &Ring, from: u64, wanted: impl Fn(&Origin) -> bool) -> Vec<String> {
        let lines = ring.lines(from, wanted);
        lines
            .map(|line| String::from_utf8_lossy(line.text).into_owned())
            .collect()
    }

    fn fill(ring: &mut Ring, service: u32, count: u64) {
        for number in 0..count {
            let line = format!("line {number}\n");
            ring.push(origin(number, Some(service)), Batch::whole(line.as_bytes()));
        }
    }

    #[test]
    fn the_newest_lines_are_kept_and_keep_their_numbers() {
        let mut ring = Ring::new(SERVICES);
        fill(&mut ring, 0, 10_000);
        assert_eq!(ring.end(), 10_000);
        let kept: Vec<Line<'_>> = ring.lines(0, any).collect();
        assert!(kept.len() > 1000 && kept.len() < 3000, "{}", kept.len());
        assert!(ring.is_gone(0) && !ring.is_gone(kept[0].number));
        for line in &kept {
            assert_eq!(line.text, format!("line {}", line.number).as_bytes());
            assert_eq!(line.origin.time, line.number);
        }
        assert_eq!(kept.last().map(|line| line.number), Some(9_999));
        assert_eq!(texts(&ring, 10_000, any), [""; 0]);
    }

    #[test]
    fn a_chatty_service_does_not_push_out_the_lines_of_a_quiet_one() {
        let mut ring = Ring::new(SERVICES);
        ring.push(origin(1, Some(1)), Batch::whole(b"rare\nand dear\n"));
        ring.push(origin(1, None), Batch::whole(b"init speaks\n"));
        fill(&mut ring, 0, 100_000);
        let long = [vec![b'x'; 60_000], b"\n".to_vec()].concat();
        let short = b"y\n".repeat(32_000);
        for _ in 0..100 {
            ring.push(origin(2, Some(2)), Batch::whole(&short));
            ring.push(origin(2, Some(2)), Batch::whole(&long));
        }
        assert_eq!(texts(&ring, 0, of(1)), ["rare", "and dear"]);
        assert_eq!(texts(&ring, 0, |o| o.service.is_none()), ["init speaks"]);
        // Those that say a lot share what there is.
        assert!(ring.held(0, of(0)) > 500, "{}", ring.held(0, of(0)));
    }

    #[test]
    fn memory_is_bounded_whatever_is_said_by_whom() {
        let bound = BASE + SERVICES * PER_SERVICE;
        let mut ring = Ring::new(SERVICES);
        let lengths = [0, 1, 10, 100, 5000, 16 * 1024, 60_000];
        for (number, length) in (0..).zip(lengths.iter().cycle().take(3000)) {
            let text = [vec![b'x'; *length], b"\n".to_vec()].concat();
            let service = u32::try_from(number % 4).ok().filter(|id| *id < 3);
            ring.push(origin(number, service), Batch::whole(&text));
            assert!(ring.charge <= bound);
        }
        let kept: usize = ring.blocks.values().map(Block::charge).sum();
        assert_eq!(kept, ring.charge);
        let owned: usize = ring.owners.iter().map(|owner| owner.charge).sum();
        assert_eq!(owned, ring.charge);
        let numbers: usize = ring.owners.iter().map(|owner| owner.blocks.len()).sum();
        assert_eq!(numbers, ring.blocks.len());
    }

    #[test]
    fn lines_that_came_together_are_counted_one_by_one() {
        let mut ring = Ring::new(SERVICES);
        let text = b"a\n\nc\n".repeat(20_000);
        ring.push(origin(1, Some(0)), Batch::whole(&text));
        assert_eq!(ring.end(), 60_000);
        assert_eq!(texts(&ring, 59_996, any), ["c", "a", "", "c"]);
        assert_eq!(ring.pushed(&[ServiceId(0)]), 60_000);
        assert_eq!(ring.pushed(&[ServiceId(1)]), 0);
        assert_eq!(ring.pushed(&[]), 60_000);
    }

    #[test]
    fn a_piece_of_a_line_is_a_line_of_its_own() {
        let mut ring = Ring::new(SERVICES);
        let part = Origin {
            partial: true,
            ..origin(1, Some(0))
        };
        let piece = Batch {
            text: b"half",
            partial: true,
        };
        ring.push(part, piece);
        ring.push(origin(2, Some(0)), Batch::whole(b" and half\n"));
        let lines: Vec<_> = ring.lines(0, any).collect();
        let seen: Vec<_> = lines.iter().map(|l| (l.text, l.origin.partial)).collect();
        assert_eq!(seen, [(&b"half"[..], true), (b" and half", false)]);
    }

    #[test]
    fn a_tail_counts_only_the_lines_that_are_wanted() {
        let mut ring = Ring::new(SERVICES);
        for number in 0..10 {
            let service = u32::try_from(number % 2).ok();
            ring.push(origin(number, service), Batch::whole(b"x\ny\n"));
        }
        assert_eq!(ring.tail(3, of(0)), 13);
        assert_eq!(texts(&ring, 13, of(0)), ["y", "x", "y"]);
        assert_eq!(ring.tail(100, any), 0);
        assert_eq!(ring.tail(0, any), 20);
        assert_eq!(ring.held(13, of(0)), 3);
        assert_eq!(ring.held(0, any), 20);
    }
}
