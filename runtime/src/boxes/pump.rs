//! From a box's FIFOs into its log.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use holdall_protocol::log::Stream;
use nix::errno::Errno;
use nix::poll::PollFlags;

use super::folder::{BoxDir, RunDir};
use super::lines::{self, Source};
use super::logfile::note_of;
use super::transfer::{CHUNK, Transfer};
use crate::clock::WallTime;
use crate::process::wait_for;
use crate::sys;

/// One way into the log.
struct Pipe {
    /// Its place among the FIFOs of the box.
    number: usize,
    fd: OwnedFd,
    source: Source,
    /// The beginning of a line for which the FIFO itself had no room. Empty
    /// but for programs that splice (each piece takes a page there) and
    /// records of tens of thousands of unprintable bytes.
    begun: Vec<u8>,
}

/// The log's end of it.
struct Sink {
    transfer: Transfer,
    /// Where a full disk is told: the log itself can't.
    notes: PathBuf,
    buffer: Vec<u8>,
    out: Vec<u8>,
    /// Told of new lines, until nobody listens.
    rope: Option<OwnedFd>,
}

impl Sink {
    /// Writes the whole lines that are in a FIFO into the log; whether there
    /// was anything to do.
    fn pass(&mut self, pipe: &mut Pipe) -> io::Result<bool> {
        let count = self.transfer.look_at(pipe.fd.as_fd(), &mut self.buffer)?;
        let bytes = self.buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(false);
        }
        let now = WallTime::now();
        if !pipe.begun.is_empty() {
            pipe.begun.extend_from_slice(bytes);
            let taken = pipe.source.take(&pipe.begun, now, &mut self.out);
            pipe.begun.drain(..taken);
            self.commit(pipe, count, now)?;
            return Ok(true);
        }
        let taken = pipe.source.take(bytes, now, &mut self.out);
        if taken > 0 {
            self.commit(pipe, taken, now)?;
            return Ok(true);
        }
        let full = wait_for(
            pipe.fd.as_fd(),
            PollFlags::POLLOUT,
            Some(std::time::Duration::ZERO),
        );
        if full? {
            // There is room for the rest of the line.
            return Ok(false);
        }
        pipe.begun.extend_from_slice(bytes);
        self.transfer.take(pipe.fd.as_fd(), count)?;
        Ok(true)
    }

    /// What nobody will end any more.
    fn finish(&mut self, pipe: &mut Pipe) -> io::Result<()> {
        while self.pass(pipe)? {}
        let count = self.transfer.look_at(pipe.fd.as_fd(), &mut self.buffer)?;
        let bytes = self.buffer.get(..count).unwrap_or_default();
        pipe.begun.extend_from_slice(bytes);
        let now = WallTime::now();
        pipe.source.finish(&pipe.begun, now, &mut self.out);
        pipe.begun.clear();
        self.commit(pipe, count, now)
    }

    /// Appends the lines that are ready, which so many bytes of this FIFO were.
    fn commit(&mut self, pipe: &Pipe, count: usize, now: WallTime) -> io::Result<()> {
        let from = (pipe.number, pipe.fd.as_fd());
        let failed = match self.out.is_empty() {
            true => self.transfer.take(pipe.fd.as_fd(), count).map(|()| None),
            false => self.transfer.append(from, count, &self.out, now),
        };
        if !self.out.is_empty() {
            self.ring();
        }
        self.out.clear();
        self.tell(failed?, now);
        Ok(())
    }

    fn say(&mut self, line: &[u8], now: WallTime) {
        let failed = self.transfer.say(line, now);
        self.ring();
        self.tell(failed, now);
    }

    fn ring(&mut self) {
        if let Some(rope) = &self.rope {
            // A pipe that is full has told already.
            match nix::unistd::write(rope, &[0]) {
                Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => self.rope = None,
            }
        }
    }

    fn tell(&self, failed: Option<io::Error>, now: WallTime) {
        let Some(error) = failed else {
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

/// Where the bytes of a box come from.
pub(crate) struct Mouths<'a> {
    /// Stdout, stderr, and the one of init's records.
    pub(crate) fifos: &'a [OwnedFd; 3],
    pub(crate) ledger: BorrowedFd<'a>,
    /// The ledger is a new one, though the run isn't.
    pub(crate) ledger_lost: bool,
    pub(crate) has_init: bool,
    /// What is written here tells of new lines.
    pub(crate) rope: Option<OwnedFd>,
}

impl Pump {
    /// Goes on with the log in the box's folder.
    pub(crate) fn open(dir: &BoxDir, run: &RunDir, mouths: Mouths<'_>) -> io::Result<Self> {
        let kinds = [
            Source::Raw(Stream::Stdout),
            Source::Raw(Stream::Stderr),
            Source::Records,
        ];
        let count = if mouths.has_init { 3 } else { 2 };
        let numbered = mouths.fifos.iter().zip(kinds).take(count).enumerate();
        let pipes = numbered.map(|(number, (fd, source))| {
            Ok(Pipe {
                number,
                fd: fd.try_clone()?,
                source,
                begun: Vec::new(),
            })
        });
        let transfer = Transfer::open(
            dir.path(),
            &run.transfer(),
            &mouths.fifos.each_ref().map(|fifo| fifo.as_fd()),
            mouths.ledger.try_clone_to_owned()?,
            mouths.ledger_lost,
        )?;
        Ok(Self {
            pipes: pipes.collect::<io::Result<_>>()?,
            sink: RefCell::new(Sink {
                transfer,
                notes: run.path().join("notes"),
                buffer: vec![0; CHUNK],
                out: Vec::new(),
                rope: mouths.rope,
            }),
        })
    }

    /// Writes the monitor's own words into the log.
    pub(crate) fn note(&mut self, text: String) {
        let (now, mut line) = (WallTime::now(), Vec::new());
        lines::write(&note_of(text, now), &mut line);
        self.sink.get_mut().say(&line, now);
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

    /// What is still in the FIFOs once the box is gone: the writers are, too.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let sink = self.sink.get_mut();
        self.pipes.iter_mut().try_for_each(|pipe| sink.finish(pipe))
    }
}

async fn move_all(pipe: &mut Pipe, sink: &RefCell<Sink>) -> io::Result<()> {
    let fd = sys::readable(pipe.fd.try_clone()?)?;
    loop {
        let mut ready = fd.readable().await?;
        let passed = ready.try_io(|_| match sink.borrow_mut().pass(pipe) {
            // The next word of the box is an edge of its own.
            Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(true) => Ok(()),
            Err(error) => Err(error),
        });
        match passed {
            Ok(passed) => passed?,
            Err(_would_block) => continue,
        }
        // A program that never stops writing must not starve the ports.
        tokio::task::yield_now().await;
    }
}
