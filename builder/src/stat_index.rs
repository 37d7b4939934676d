//! What files of a context held when they were last read, so that an unchanged
//! file is not read again.
//!
//! A file is taken as unchanged if its device, inode, size, mode, mtime and
//! ctime are. That says nothing about a file that was written again in the
//! same tick of the clock in which it was read (git calls it racily clean), so
//! such a reading is not remembered.

mod format;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

pub(crate) use self::format::is_readable;
use self::format::{encode, read_index};
use crate::cache::{sweep_beside, write_atomic};

/// How much the clock of a file system lags behind, in nanoseconds: one tick
/// of a kernel with 100 a second, twice.
const TICK: i128 = 20_000_000;

/// The same for a file system that keeps whole seconds (two, for FAT).
const COARSE: i128 = 2_000_000_000;

/// What tells one writing of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Device.
    pub(crate) dev: u64,
    /// Inode.
    pub(crate) ino: u64,
    /// Size in bytes.
    pub(crate) size: u64,
    /// When its content changed, in nanoseconds since 1970.
    pub(crate) mtime: i128,
    /// When its inode changed, likewise.
    pub(crate) ctime: i128,
    /// Kind and permissions.
    pub(crate) mode: u32,
}

impl Stamp {
    /// Whether a writing of this file at or after `now` (nanoseconds since
    /// 1970, by the clock that file systems use) can't go unseen.
    fn settled(&self, now: i128) -> bool {
        let latest = self.mtime.max(self.ctime);
        let whole = |time: i128| time % 1_000_000_000 == 0;
        let lag = if whole(self.mtime) && whole(self.ctime) {
            COARSE
        } else {
            TICK
        };
        latest.saturating_add(lag) < now
    }
}

/// The digest of a file's content.
pub(crate) type Content = [u8; 32];

/// One file of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    path: Vec<u8>,
    stamp: Stamp,
    content: Content,
}

/// The index of one context.
#[derive(Debug, Default)]
pub(crate) struct StatIndex {
    file: PathBuf,
    /// What an earlier build knew, by path.
    before: Vec<Record>,
    /// Which of those are still true, as far as anyone asked.
    used: Vec<bool>,
    new: BTreeMap<Vec<u8>, (Stamp, Content)>,
    racy: Vec<Vec<u8>>,
    read: usize,
}

/// What one walk, or one thread of it, learned: to be [`merged`].
///
/// [`merged`]: StatIndex::merge
#[derive(Debug, Default)]
pub(crate) struct Learned {
    used: Vec<usize>,
    new: Vec<(Vec<u8>, Stamp, Content)>,
    racy: Vec<Vec<u8>>,
}

impl Learned {
    /// Remembers what a file held. `stamp` was taken before it was read, and
    /// `now` as well.
    pub(crate) fn remember(&mut self, path: &[u8], stamp: &Stamp, content: Content, now: i128) {
        if stamp.settled(now) {
            self.new.push((path.to_owned(), *stamp, content));
        } else {
            self.racy.push(path.to_owned());
        }
    }

    /// Takes in what another thread learned.
    pub(crate) fn extend(&mut self, other: Self) {
        self.used.extend(other.used);
        self.new.extend(other.new);
        self.racy.extend(other.racy);
    }
}

impl StatIndex {
    /// Loads the index, empty where there is none or it is damaged.
    pub(crate) fn load(file: PathBuf) -> Self {
        let before = read_index(&file).unwrap_or_default();
        Self {
            file,
            used: vec![false; before.len()],
            before,
            ..Self::default()
        }
    }

    /// The digest of a file that has this stamp, if it is known.
    pub(crate) fn known(
        &self,
        path: &[u8],
        stamp: &Stamp,
        learned: &mut Learned,
    ) -> Option<Content> {
        if let Some((found, content)) = self.new.get(path) {
            return (found == stamp).then_some(*content);
        }
        let find = |record: &Record| record.path.as_slice().cmp(path);
        let at = self.before.binary_search_by(find).ok()?;
        let record = self.before.get(at).filter(|it| it.stamp == *stamp)?;
        learned.used.push(at);
        Some(record.content)
    }

    /// Takes in what a walk learned.
    pub(crate) fn merge(&mut self, learned: Learned) {
        for at in learned.used {
            if let Some(used) = self.used.get_mut(at) {
                *used = true;
            }
        }
        self.read += learned.new.len() + learned.racy.len();
        for (path, stamp, content) in learned.new {
            self.new.insert(path, (stamp, content));
        }
        self.racy.extend(learned.racy);
    }

    /// The files whose reading could not be remembered, because they had just
    /// been written. Read again at the end of a build, most can be.
    pub(crate) fn take_racy(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.racy)
    }

    /// How many files were read because their content wasn't known.
    pub(crate) fn read(&self) -> usize {
        self.read
    }

    /// Saves the index if it has changed. Files that were not asked for are
    /// forgotten.
    pub(crate) fn save(&self) -> io::Result<()> {
        if self.new.is_empty() && self.used.iter().all(|used| *used) {
            return Ok(());
        }
        sweep_beside(&self.file);
        write_atomic(&self.file, &encode(&self.now()))
    }

    /// All that is known, by path.
    fn now(&self) -> Vec<Record> {
        let kept = self.before.iter().zip(&self.used);
        let kept = kept.filter(|(record, used)| **used && !self.new.contains_key(&record.path));
        let mut records: Vec<Record> = kept.map(|(record, _)| record.clone()).collect();
        let new = self.new.iter().map(|(path, (stamp, content))| Record {
            path: path.clone(),
            stamp: *stamp,
            content: *content,
        });
        records.extend(new);
        records.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        records
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::format::decode;
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    fn stamp(mtime: i128) -> Stamp {
        Stamp {
            dev: 1,
            ino: 2,
            size: 3,
            mtime,
            ctime: mtime,
            mode: 0o100_644,
        }
    }

    /// An index that has read the one file `a` at `now`.
    fn remembered(stamp: &Stamp, now: i128) -> StatIndex {
        let mut learned = Learned::default();
        learned.remember(b"a", stamp, [1; 32], now);
        let mut index = StatIndex::default();
        index.merge(learned);
        index
    }

    #[test]
    fn a_file_read_in_the_tick_it_was_written_in_is_read_again() {
        let written = 1000 * SECOND + 7;
        let known = |now| {
            let index = remembered(&stamp(written), now);
            index.known(b"a", &stamp(written), &mut Learned::default())
        };
        assert_eq!(known(written), None);
        assert_eq!(known(written + TICK), None);
        assert_eq!(known(written + TICK + 1), Some([1; 32]));
        assert_eq!(known(written - 50 * SECOND), None, "written in the future");
    }

    #[test]
    fn a_file_system_of_whole_seconds_needs_two_of_them() {
        let written = 1000 * SECOND;
        let known = |now| {
            let index = remembered(&stamp(written), now);
            let mut learned = Learned::default();
            index.known(b"a", &stamp(written), &mut learned).is_some()
        };
        assert!(!known(written + SECOND));
        assert!(known(written + 2 * SECOND + 1));
    }

    #[test]
    fn any_other_stamp_is_another_file() {
        let old = stamp(7);
        let index = remembered(&old, SECOND);
        let mut learned = Learned::default();
        for new in [
            Stamp { dev: 9, ..old },
            Stamp { ino: 9, ..old },
            Stamp { size: 9, ..old },
            Stamp { mtime: 9, ..old },
            Stamp { ctime: 9, ..old },
            Stamp { mode: 9, ..old },
        ] {
            assert_eq!(index.known(b"a", &new, &mut learned), None, "{new:?}");
        }
        assert_eq!(index.known(b"a", &old, &mut learned), Some([1; 32]));
    }

    #[test]
    fn an_index_keeps_what_was_asked_for_and_is_written_only_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("index");
        let walk = |files: &[(&[u8], u8)]| {
            let mut index = StatIndex::load(file.clone());
            let mut learned = Learned::default();
            for (path, content) in files {
                if index.known(path, &stamp(7), &mut learned) != Some([*content; 32]) {
                    learned.remember(path, &stamp(7), [*content; 32], SECOND);
                }
            }
            index.merge(learned);
            index.save().unwrap();
            index.read()
        };
        assert_eq!(walk(&[(b"b", 1), (b"a", 2)]), 2);
        let ino = || std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let before = ino();
        assert_eq!(walk(&[(b"a", 2), (b"b", 1)]), 0);
        assert_eq!(ino(), before, "nothing was written");
        assert_eq!(walk(&[(b"a", 2)]), 0, "b is forgotten");
        assert_eq!(walk(&[(b"a", 3), (b"c", 1)]), 2);
        assert_eq!(walk(&[(b"a", 3), (b"b", 1), (b"c", 1)]), 1);
    }

    #[test]
    fn a_damaged_index_is_no_index() {
        let bytes = encode(&remembered(&stamp(7), SECOND).now());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None);
            assert_eq!(decode(&bytes[..at]), None);
        }
    }

    proptest! {
        #[test]
        fn an_index_reads_back_as_it_was_written(
            entries in prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 0..9),
                (any::<i64>(), any::<u64>(), any::<[u8; 32]>()),
                0..9,
            ),
        ) {
            let record = |(path, (time, size, content)): (Vec<u8>, (i64, u64, Content))| Record {
                path,
                stamp: Stamp { size, ..stamp(i128::from(time)) },
                content,
            };
            let records: Vec<Record> = entries.into_iter().map(record).collect();
            prop_assert_eq!(decode(&encode(&records)), Some(records));
        }
    }
}
