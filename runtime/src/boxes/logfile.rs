//! The log on disk: NDJSON, rotated by size, never in the box's way.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use holdall_protocol::log::{LogRecord, Stream};

use super::lines;
use super::name::BoxId;
use super::store::BoxStore;
use crate::clock::WallTime;

/// The newest part.
pub(crate) const CURRENT: &str = "log.ndjson";

/// The part before it.
pub(crate) const ROTATED: &str = "log.ndjson.1";

/// A part's size in bytes at which the next one begins. Two parts are kept, so
/// a box's log takes at most twice this.
pub(crate) const MAX_PART: u64 = 16 * 1024 * 1024;

/// Where in the log lines stand, or are about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The inode of the part.
    pub(crate) part: u64,
    /// Its size without them.
    pub(crate) before: u64,
    /// Its size with them.
    pub(crate) after: u64,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct LogFile {
    dir: PathBuf,
    limit: u64,
    file: File,
    part: u64,
    size: u64,
    /// Lines that found no room since the last one that did.
    lost: u64,
}

impl LogFile {
    /// Opens the log in a box's folder to go on with it.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        Self::with_limit(dir, MAX_PART)
    }

    /// The same; so many lines are lost and not yet told of.
    pub(crate) fn resume(dir: &Path, lost: u64) -> io::Result<Self> {
        Self::open(dir).map(|log| Self { lost, ..log })
    }

    fn with_limit(dir: &Path, limit: u64) -> io::Result<Self> {
        let mut file = open(&dir.join(CURRENT))?;
        let mut size = file.seek(SeekFrom::End(0))?;
        // A writer that was killed may have left half a line.
        if size > 0 && !ends_with_newline(&mut file)? {
            // On a full disk the half line spoils the next one, and no more.
            if file.write_all(b"\n").is_ok() {
                size += 1;
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            limit,
            part: file.metadata()?.ino(),
            file,
            size,
            lost: 0,
        })
    }

    /// Whether a killed writer wrote the lines that were to stand there; a part
    /// of them is taken back.
    pub(crate) fn settle(dir: &Path, place: Place) -> io::Result<bool> {
        let file = open(&dir.join(CURRENT))?;
        let found = file.metadata()?;
        // A log that somebody took away has had them, for all that is known.
        if found.ino() != place.part || found.len() >= place.after {
            return Ok(true);
        }
        if found.len() > place.before {
            file.set_len(place.before)?;
        }
        Ok(false)
    }

    /// Lines that found no room, and are not told of yet.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends whole lines. What finds no room (or no disk) is dropped and
    /// counted, and the count is the first thing said when there is room
    /// again; the error is given back once each time that begins.
    pub(crate) fn append(&mut self, lines: &[u8], now: WallTime) -> Option<io::Error> {
        self.append_told(lines, now, |_, _| {})
    }

    /// The same, by one write; `begin` hears before it where, and how many
    /// lines are lost until then.
    pub(crate) fn append_told(
        &mut self,
        lines: &[u8],
        now: WallTime,
        begin: impl FnOnce(Place, u64),
    ) -> Option<io::Error> {
        let mut all = Cow::Borrowed(lines);
        if self.lost > 0 {
            let mut note = Vec::new();
            let text = format!("{} lines of the log are lost: the disk was full", self.lost);
            lines::write(&note_of(text, now), &mut note);
            note.extend_from_slice(lines);
            all = Cow::Owned(note);
        }
        let written = self.room(all.len()).and_then(|place| {
            begin(place, self.lost);
            self.write(&all)
        });
        match written {
            Ok(()) => {
                self.lost = 0;
                None
            }
            Err(error) => {
                let first = self.lost == 0;
                self.lost += count(lines);
                first.then_some(error)
            }
        }
    }

    /// The place for so many bytes: in the next part where this one would grow
    /// beyond its limit.
    fn room(&mut self, bytes: usize) -> io::Result<Place> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.size > 0 && self.size.saturating_add(bytes) > self.limit {
            self.rotate()?;
        }
        Ok(Place {
            part: self.part,
            before: self.size,
            after: self.size.saturating_add(bytes),
        })
    }

    /// All or nothing: a reader never sees half a line for longer than a
    /// write takes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.size)?;
                Err(error)
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let current = self.dir.join(CURRENT);
        fs::rename(&current, self.dir.join(ROTATED))?;
        self.file = open(&current)?;
        self.part = self.file.metadata()?.ino();
        self.size = 0;
        Ok(())
    }
}

/// A record of the host's own words.
pub(crate) fn note_of(text: String, now: WallTime) -> LogRecord {
    LogRecord {
        time: now.0,
        service: None,
        stream: Stream::Init,
        text,
        partial: false,
    }
}

/// Says something in the log of a box that has no monitor just now.
pub(crate) fn note(store: &BoxStore, id: &BoxId, text: &str) {
    let (now, mut line) = (WallTime::now(), Vec::new());
    lines::write(&note_of(text.to_owned(), now), &mut line);
    if let Ok(mut log) = LogFile::open(store.dir(id).path()) {
        // A log that can't be written can't be told about itself either.
        drop(log.append(&line, now));
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Append mode: whoever truncates the file by hand leaves no hole.
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

fn ends_with_newline(file: &mut File) -> io::Result<bool> {
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn count(lines: &[u8]) -> u64 {
    u64::try_from(lines.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(dir: &Path, part: &str) -> String {
        fs::read_to_string(dir.join(part)).unwrap_or_default()
    }

    #[test]
    fn half_a_line_of_a_killed_writer_is_ended() {
        let dir = tempfile::tempdir().expect("directory");
        fs::write(dir.path().join(CURRENT), "half").expect("written");
        let mut log = LogFile::open(dir.path()).expect("opened");
        assert!(log.append(b"whole\n", WallTime(0)).is_none());
        assert_eq!(text(dir.path(), CURRENT), "half\nwhole\n");
    }

    #[test]
    fn a_full_disk_is_told_once_and_the_loss_is_counted() {
        let dir = tempfile::tempdir().expect("directory");
        let mut log = LogFile::open(dir.path()).expect("opened");
        log.break_it(dir.path());
        assert!(log.append(b"a\nb\n", WallTime(0)).is_some());
        assert!(log.append(b"c\n", WallTime(0)).is_none());
        log.file = open(&dir.path().join(CURRENT)).expect("opened");
        assert!(log.append(b"d\n", WallTime(0)).is_none());
        let lines = text(dir.path(), CURRENT);
        let (note, rest) = lines.split_once('\n').expect("two lines");
        let note: LogRecord = serde_json::from_str(note).expect("a record");
        assert_eq!(note.text, "3 lines of the log are lost: the disk was full");
        assert_eq!(rest, "d\n");
    }

    impl LogFile {
        /// From now on the disk is full: a descriptor that can't be written
        /// stands for it.
        pub(crate) fn break_it(&mut self, dir: &Path) {
            self.file = File::open(dir.join(CURRENT)).expect("opened");
        }

        /// Where so many bytes would stand.
        pub(crate) fn begin_only(&mut self, bytes: usize, place: &mut Option<Place>) {
            *place = Some(self.room(bytes).expect("room"));
        }
    }

    proptest! {
        #[test]
        fn the_log_is_bounded_and_holds_the_newest_lines_whole(
            batches in prop::collection::vec(prop::collection::vec("[a-z]{0,30}", 1..6), 1..30),
        ) {
            let dir = tempfile::tempdir().expect("directory");
            let mut log = LogFile::with_limit(dir.path(), 100).expect("opened");
            let mut all = String::new();
            for batch in &batches {
                let lines = batch.iter().map(|line| format!("{line}\n")).collect::<String>();
                prop_assert!(log.append(lines.as_bytes(), WallTime(0)).is_none());
                all.push_str(&lines);
            }
            let (old, new) = (text(dir.path(), ROTATED), text(dir.path(), CURRENT));
            // Or one batch, where that alone is longer.
            let longest = batches.iter().map(|batch| batch.iter().map(|line| line.len() + 1).sum());
            let limit = longest.max().unwrap_or(0).max(100);
            prop_assert!(old.len() <= limit && new.len() <= limit, "{} {}", old.len(), new.len());
            let kept = old + &new;
            prop_assert!(all.ends_with(&kept));
            prop_assert!(kept.is_empty() || kept.ends_with('\n'));
        }
    }
}
