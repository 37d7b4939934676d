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
    /// How often its bound was halved, as memory ran short.
    halved: u32,
}

/// The ring is never less than this part of what it may be: two lines of the
/// longest fit, and a verdict has something to quote.
const MOST_HALVED: u32 = 3;

impl Ring {
    pub(crate) fn new(services: usize) -> Self {
        let mut ring = Self {
            blocks: BTreeMap::new(),
            owners: Vec::new(),
            charge: 0,
            end: 0,
            gone_to: 0,
            halved: 0,
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

    /// Keeps half as much from now on: whether it kept more than its least.
    pub(crate) fn halve(&mut self) -> bool {
        let more = self.halved < MOST_HALVED;
        self.halved += u32::from(more);
        self.make_room(0);
        more
    }

    /// Lets lines go until there is room for so many bytes.
    fn make_room(&mut self, charge: usize) {
        let bound = (BASE + PER_SERVICE * (self.owners.len() - 1)) >> self.halved;
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
mod tests;
