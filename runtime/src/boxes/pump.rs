//! From a box's FIFOs into its log.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use holdall_protocol::log::Stream;
use nix::errno::Errno;
use nix::unistd::read;

use super::lines::{self, Raw, Records};
use super::logfile::{LogFile, note_of};
use crate::clock::WallTime;
use crate::sys;

/// Bytes taken at once: what a FIFO holds.
const CHUNK: usize = 64 * 1024;

/// One way into the log.
enum Source {
    Raw(Raw),
    Records(Records),
}

impl Source {
    fn push(&mut self, bytes: &[u8], now: WallTime, out: &mut Vec<u8>) {
        match self {
            Self::Raw(raw) => raw.push(bytes, now, out),
            Self::Records(records) => records.push(bytes, out),
        }
    }

    fn finish(&mut self, now: WallTime, out: &mut Vec<u8>) {
        match self {
            Self::Raw(raw) => raw.finish(now, out),
            Self::Records(records) => records.finish(out),
        }
    }
}

struct Pipe {
    fd: OwnedFd,
    source: Source,
}

/// The log's end of it.
struct Sink {
    log: LogFile,
    /// Where a full disk is told: the log itself can't.
    notes: PathBuf,
}

impl Sink {
    fn append(&mut self, lines: &[u8], now: WallTime) {
        let Some(error) = self.log.append(lines, now) else {
            return;
        };
        let note = format!("{now} the log can't be written: {error}\n");
        // On a folder in memory, as a rule; with no room there either, the
        // loss is told in the log once there is room again.
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.notes);
        drop(file.and_then(|mut file| file.write_all(note.as_bytes())));
    }
}

/// Moves what a box writes into its log.
pub(crate) struct Pump {
    pipes: Vec<Pipe>,
    sink: RefCell<Sink>,
}

impl Pump {
    /// Goes on with the log in the box's folder. `fifos`: stdout, stderr, and
    /// the one of init's records, if it has one.
    pub(crate) fn open(
        dir: &Path,
        run: &Path,
        fifos: &[OwnedFd; 3],
        has_init: bool,
    ) -> io::Result<Self> {
        let [stdout, stderr, log] = fifos;
        let mut pipes = vec![
            Pipe {
                fd: stdout.try_clone()?,
                source: Source::Raw(Raw::new(Stream::Stdout)),
            },
            Pipe {
                fd: stderr.try_clone()?,
                source: Source::Raw(Raw::new(Stream::Stderr)),
            },
        ];
        if has_init {
            let source = Source::Records(Records::default());
            pipes.push(Pipe {
                fd: log.try_clone()?,
                source,
            });
        }
        let sink = Sink {
            log: LogFile::open(dir)?,
            notes: run.join("notes"),
        };
        Ok(Self {
            pipes,
            sink: RefCell::new(sink),
        })
    }

    /// Writes the monitor's own words into the log.
    pub(crate) fn note(&mut self, text: String) {
        let (now, mut line) = (WallTime::now(), Vec::new());
        lines::write(&note_of(text, now), &mut line);
        self.sink.get_mut().append(&line, now);
    }

    /// Moves for ever; ends only by an error.
    pub(crate) async fn run(&mut self) -> io::Result<()> {
        let sink = &self.sink;
        let [first, second, rest @ ..] = self.pipes.as_mut_slice() else {
            return Ok(());
        };
        let third = async {
            match rest {
                [third, ..] => move_all(third, sink).await,
                [] => std::future::pending().await,
            }
        };
        tokio::try_join!(move_all(first, sink), move_all(second, sink), third)?;
        Ok(())
    }

    /// What is still in the FIFOs once the box is gone.
    pub(crate) fn finish(&mut self) {
        let (now, mut out) = (WallTime::now(), Vec::new());
        let mut buffer = vec![0; CHUNK];
        for pipe in &mut self.pipes {
            // EAGAIN is the end: the writers are gone.
            while let Ok(count @ 1..) = read(pipe.fd.as_fd(), &mut buffer) {
                pipe.source
                    .push(buffer.get(..count).unwrap_or_default(), now, &mut out);
                self.sink.get_mut().append(&out, now);
                out.clear();
            }
            pipe.source.finish(now, &mut out);
            self.sink.get_mut().append(&out, now);
            out.clear();
        }
    }
}

async fn move_all(pipe: &mut Pipe, sink: &RefCell<Sink>) -> io::Result<()> {
    let source = &mut pipe.source;
    let fd = sys::readable(pipe.fd.try_clone()?)?;
    let (mut buffer, mut out) = (vec![0; CHUNK], Vec::new());
    loop {
        let mut ready = fd.readable().await?;
        let count = match ready.try_io(|fd| Ok(read(fd.get_ref(), &mut buffer)?)) {
            Ok(Ok(count)) => count,
            Ok(Err(error)) if error.raw_os_error() == Some(Errno::EINTR as i32) => continue,
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => continue,
        };
        let now = WallTime::now();
        source.push(buffer.get(..count).unwrap_or_default(), now, &mut out);
        sink.borrow_mut().append(&out, now);
        out.clear();
        // A program that never stops writing must not starve the ports.
        tokio::task::yield_now().await;
    }
}
