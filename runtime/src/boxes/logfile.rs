//! The log on disk: NDJSON, rotated by size, never in the box's way.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
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

/// The writing end.
#[derive(Debug)]
pub(crate) struct LogFile {
    dir: PathBuf,
    limit: u64,
    file: File,
    size: u64,
    /// Lines that found no room since the last one that did.
    lost: u64,
}

impl LogFile {
    /// Opens the log in a box's folder to go on with it.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        Self::with_limit(dir, MAX_PART)
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
            file,
            size,
            lost: 0,
        })
    }

    /// Appends whole lines. What finds no room (or no disk) is dropped and
    /// counted, and the count is the first thing said when there is room
    /// again; the error is given back once each time that begins.
    pub(crate) fn append(&mut self, mut lines: &[u8], now: WallTime) -> Option<io::Error> {
        if self.lost > 0 {
            let mut note = Vec::new();
            let text = format!("{} lines of the log are lost: the disk was full", self.lost);
            lines::write(&note_of(text, now), &mut note);
            if self.write(&note).is_err() {
                self.lost += count(lines);
                return None;
            }
            self.lost = 0;
        }
        while !lines.is_empty() {
            if self.size >= self.limit
                && let Err(error) = self.rotate()
            {
                self.lost += count(lines);
                return Some(error);
            }
            // Up to the limit, and at least one line.
            let room = usize::try_from(self.limit - self.size).unwrap_or(usize::MAX);
            let (fits, rest) = lines.split_at(whole_lines(lines, room));
            if let Err(error) = self.write(fits) {
                self.lost += count(lines);
                return Some(error);
            }
            lines = rest;
        }
        None
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

/// How many bytes of `lines` make whole lines within `room`, at least one
/// line.
fn whole_lines(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    let within = lines
        .get(..room)
        .unwrap_or(lines)
        .iter()
        .rposition(|byte| *byte == b'\n');
    let first = || lines.iter().position(|byte| *byte == b'\n');
    within.or_else(first).map_or(lines.len(), |end| end + 1)
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
        // A descriptor that can't be written stands for the full disk.
        log.file = File::open(dir.path().join(CURRENT)).expect("opened");
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
            // At most one line over the limit, each.
            prop_assert!(old.len() <= 131 && new.len() <= 131, "{} {}", old.len(), new.len());
            let kept = old + &new;
            prop_assert!(all.ends_with(&kept));
            prop_assert!(kept.is_empty() || kept.ends_with('\n'));
        }
    }
}
