//! Reading a box's log: works with and without its monitor.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall_protocol::ServiceName;
use holdall_protocol::log::LogRecord;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::logfile::{CURRENT, ROTATED, note_of};
use crate::clock::{Deadline, WallTime};
use crate::process::timeout;

/// What to read of a log.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Only this service's lines.
    pub service: Option<ServiceName>,
    /// Then every new line, until the box ends.
    pub follow: bool,
    /// Only the newest lines, this many.
    pub tail: Option<usize>,
}

/// Who gets the records, and says when it has enough.
pub type LogSink<'a> = dyn FnMut(&LogRecord) -> ControlFlow<()> + 'a;

/// Longest line that is looked at; longer ones are skipped. See
/// [`super::lines`].
const MAX_LINE: usize = 1024 * 1024;

/// Reads a log from its oldest line to its newest, across rotations.
#[derive(Debug)]
pub(crate) struct Reader {
    dir: PathBuf,
    parts: VecDeque<File>,
    pending: Vec<u8>,
}

impl Reader {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let mut reader = Self {
            dir: dir.to_owned(),
            parts: VecDeque::new(),
            pending: Vec::new(),
        };
        loop {
            // The newer first: if a rotation comes between, both are one file.
            let current = open(&dir.join(CURRENT))?;
            let rotated = open(&dir.join(ROTATED))?;
            match (&rotated, &current) {
                (Some(old), Some(new)) if inode(old)? == inode(new)? => {}
                (Some(_), None) => {
                    // Rotated away between its rename and the new part.
                    reader.parts.extend(rotated);
                    return Ok(reader);
                }
                _ => {
                    reader.parts.extend(rotated);
                    reader.parts.extend(current);
                    return Ok(reader);
                }
            }
        }
    }

    /// Gives every record that is there now.
    pub(crate) fn drain(
        &mut self,
        sink: &mut dyn FnMut(LogRecord) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        loop {
            if let Some(part) = self.parts.front_mut() {
                let mut buffer = [0; 64 * 1024];
                let count = part.read(&mut buffer)?;
                if count > 0 {
                    self.pending
                        .extend_from_slice(buffer.get(..count).unwrap_or_default());
                    if self.lines(sink).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    continue;
                }
            }
            if !self.next_part(sink)? {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// Goes on to the next part, if there is one.
    fn next_part(
        &mut self,
        sink: &mut dyn FnMut(LogRecord) -> ControlFlow<()>,
    ) -> io::Result<bool> {
        if self.parts.len() > 1 {
            self.parts.pop_front();
            return Ok(true);
        }
        let Some(current) = open(&self.dir.join(CURRENT))? else {
            return Ok(false);
        };
        let Some(done) = self.parts.front_mut() else {
            self.parts.push_back(current);
            return Ok(true);
        };
        if inode(done)? == inode(&current)? {
            return Ok(false);
        }
        // The writer's last words before the rotation.
        let before = self.pending.len();
        done.read_to_end(&mut self.pending)?;
        let more = self.pending.len() > before;
        let next_is_current = open(&self.dir.join(ROTATED))?
            .map(|file| inode(&file))
            .transpose()?
            == Some(inode(done)?);
        if more {
            // What it says doesn't matter: the caller drains on.
            let _: ControlFlow<()> = self.lines(sink);
        }
        self.parts.clear();
        self.parts.push_back(current);
        if !next_is_current {
            let text = "lines were written faster than they were read here; some are skipped";
            let _: ControlFlow<()> = sink(note_of(text.into(), WallTime::now()));
        }
        Ok(true)
    }

    /// Gives the whole lines that are pending.
    fn lines(&mut self, sink: &mut dyn FnMut(LogRecord) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut start = 0;
        let mut flow = ControlFlow::Continue(());
        while let Some(rest) = self.pending.get(start..)
            && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
        {
            // A damaged line costs itself and no more.
            if let Ok(record) = serde_json::from_slice(rest.get(..end).unwrap_or_default()) {
                flow = sink(record);
            }
            start += end + 1;
            if flow.is_break() {
                break;
            }
        }
        self.pending.drain(..start);
        if self.pending.len() > MAX_LINE {
            self.pending.clear();
        }
        flow
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn inode(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Gives the records that the query asks for; new ones only by
/// `Boxes::logs` with `follow`.
pub(crate) fn read(
    reader: &mut Reader,
    query: &LogQuery,
    sink: &mut LogSink<'_>,
) -> io::Result<ControlFlow<()>> {
    let wanted = |record: &LogRecord| {
        query.service.is_none() || record.service.as_ref() == query.service.as_ref()
    };
    let Some(tail) = query.tail else {
        return reader.drain(&mut |record| {
            if wanted(&record) {
                sink(&record)
            } else {
                ControlFlow::Continue(())
            }
        });
    };
    let mut newest = VecDeque::new();
    let _: ControlFlow<()> = reader.drain(&mut |record| {
        if tail > 0 && wanted(&record) {
            if newest.len() == tail {
                newest.pop_front();
            }
            newest.push_back(record);
        }
        ControlFlow::Continue(())
    })?;
    for record in &newest {
        if sink(record).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Waits for changes in a box's folder.
pub(crate) struct Watch {
    inotify: Inotify,
}

impl Watch {
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = Inotify::init(flags)?;
        let events = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF;
        inotify.add_watch(dir, events)?;
        Ok(Self { inotify })
    }

    /// Waits for a change, for the end of `process` if one is given, or for
    /// the time to be over; `true` when the process has ended.
    pub(crate) fn wait(
        &self,
        process: Option<BorrowedFd<'_>>,
        limit: Option<Duration>,
    ) -> io::Result<bool> {
        let deadline = limit.map(Deadline::after);
        let mut fds = vec![PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        fds.extend(process.map(|process| PollFd::new(process, PollFlags::POLLIN)));
        match poll(&mut fds, timeout(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ended = fds.get(1).is_some_and(|fd| fd.any().unwrap_or(false));
        // What changed is looked up in the folder itself.
        match self.inotify.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(ended),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::super::logfile::LogFile;
    use super::*;

    fn line(text: &str, service: Option<&str>) -> Vec<u8> {
        let mut record = note_of(text.into(), WallTime(1));
        record.service = service.map(|name| name.parse().expect("a name"));
        let mut out = Vec::new();
        lines::write(&record, &mut out);
        out
    }

    fn texts(reader: &mut Reader, query: &LogQuery) -> Vec<String> {
        let mut texts = Vec::new();
        let flow = read(reader, query, &mut |record| {
            texts.push(record.text.clone());
            ControlFlow::Continue(())
        });
        assert!(flow.expect("read").is_continue());
        texts
    }

    #[test]
    fn the_newest_lines_of_one_service_are_found() {
        let dir = tempfile::tempdir().expect("directory");
        let mut log = LogFile::open(dir.path()).expect("opened");
        for (text, service) in [("1", "web"), ("2", "app"), ("3", "web"), ("4", "web")] {
            assert!(
                log.append(&line(text, Some(service)), WallTime(0))
                    .is_none()
            );
        }
        assert!(log.append(b"{damaged\n", WallTime(0)).is_none());
        assert!(log.append(&line("5", None), WallTime(0)).is_none());
        let query = |service: Option<&str>, tail| LogQuery {
            service: service.map(|name| name.parse().expect("a name")),
            follow: false,
            tail,
        };
        let read = |query| texts(&mut Reader::open(dir.path()).expect("opened"), &query);
        assert_eq!(read(query(None, None)), ["1", "2", "3", "4", "5"]);
        assert_eq!(read(query(Some("web"), Some(2))), ["3", "4"]);
        assert_eq!(read(query(None, Some(0))), Vec::<String>::new());
    }

    #[test]
    fn a_reader_follows_across_rotations_and_loses_nothing() {
        let dir = tempfile::tempdir().expect("directory");
        let mut log = LogFile::open(dir.path()).expect("opened");
        let mut reader = Reader::open(dir.path()).expect("opened");
        let watch = Watch::new(dir.path()).expect("watching");
        let mut expected = Vec::new();
        let mut seen = Vec::new();
        // Two parts and a bit, at 1 MiB a batch.
        let text = "x".repeat(16 * 1024 - 200);
        for batch in 0..40 {
            for number in 0..64 {
                let text = format!("{batch}-{number}-{text}");
                assert!(log.append(&line(&text, None), WallTime(0)).is_none());
                expected.push(text.len());
            }
            assert!(
                !watch
                    .wait(None, Some(Duration::from_secs(10)))
                    .expect("woken")
            );
            seen.extend(
                texts(&mut reader, &LogQuery::default())
                    .iter()
                    .map(String::len),
            );
        }
        assert_eq!(seen, expected);
        assert!(dir.path().join(ROTATED).exists());
    }

    #[test]
    fn a_sink_that_has_enough_is_not_called_again() {
        let dir = tempfile::tempdir().expect("directory");
        let mut log = LogFile::open(dir.path()).expect("opened");
        for text in ["1", "2", "3"] {
            assert!(log.append(&line(text, None), WallTime(0)).is_none());
        }
        let mut calls = 0;
        let mut reader = Reader::open(dir.path()).expect("opened");
        let flow = read(&mut reader, &LogQuery::default(), &mut |_| {
            calls += 1;
            ControlFlow::Break(())
        });
        assert!(flow.expect("read").is_break());
        assert_eq!(calls, 1);
    }
}
