//! What a monitor does with the log just now, written down for its successor.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::boxes::logfile::Place;

/// Six numbers of 8 bytes.
const LENGTH: usize = 48;

/// What is to be appended, and what is to be taken away for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Intent {
    /// Which of the FIFOs.
    pub(super) fifo: u64,
    /// Bytes of it. Never 0, which stands for no intent.
    pub(super) count: u64,
    pub(super) place: Place,
}

/// What outlives a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// Lines that found no room, and are still to be told of.
    pub(super) lost: u64,
    pub(super) intent: Option<Intent>,
}

impl State {
    fn encode(self) -> [u8; LENGTH] {
        let intent = self.intent.map_or([0; 5], |intent| {
            let Place {
                part,
                before,
                after,
            } = intent.place;
            [intent.fifo, intent.count, part, before, after]
        });
        let mut bytes = [0; LENGTH];
        let numbers = [self.lost].into_iter().chain(intent);
        for (to, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; LENGTH]) -> Self {
        let mut numbers = bytes.chunks_exact(8).map(|chunk| {
            let number = chunk.try_into().unwrap_or_default();
            u64::from_le_bytes(number)
        });
        let mut next = || numbers.next().unwrap_or_default();
        let lost = next();
        let (fifo, count) = (next(), next());
        let place = Place {
            part: next(),
            before: next(),
            after: next(),
        };
        let intent = (count > 0).then_some(Intent { fifo, count, place });
        Self { lost, intent }
    }
}

/// Where a [`State`] is written down. Where that can't be (the run's folder may
/// be gone already when a box is cleared away for the second time), lines may
/// come twice after a kill; that is no reason to lose them.
#[derive(Debug)]
pub(super) struct StateFile(Option<File>);

impl StateFile {
    /// Opens it, and says what the one before left there.
    pub(super) fn open(path: &Path) -> (Self, State) {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let file = options.open(path).ok();
        let mut bytes = [0; LENGTH];
        // A new one is empty: nothing is under way.
        let read = file
            .as_ref()
            .is_some_and(|file| file.read_exact_at(&mut bytes, 0).is_ok());
        let state = if read { bytes } else { [0; LENGTH] };
        (Self(file), State::decode(&state))
    }

    pub(super) fn set(&self, state: State) {
        if let Some(file) = &self.0 {
            drop(file.write_all_at(&state.encode(), 0));
        }
    }
}
