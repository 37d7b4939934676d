//! Between the caller's standard streams and a program in a box.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use holdall_protocol::Signal;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};

use super::error::BoxError;
use super::terminal::{RESIZED, Signals, named, resize, size_of};

/// Bytes moved at once.
const CHUNK: usize = 64 * 1024;

/// Chunks passed on before signals and input get their turn: a program that
/// never stops writing must not keep them waiting.
const TURN: usize = 1;

/// Chunks passed on after the program's end: 1 MiB, all that a pipe holds
/// unless root made it larger. Children it left behind may write for ever.
const LAST_TURN: usize = 16;

/// A program that runs in a box.
pub(crate) trait Program {
    /// Readable when there is news of its end.
    fn news(&self) -> BorrowedFd<'_>;
    /// Its exit code, once it has ended.
    fn poll_exit(&mut self) -> Result<Option<u8>, BoxError>;
    /// Signals its process group.
    fn signal(&self, signal: Signal) -> Result<(), BoxError>;
}

/// Where the program's output goes.
pub(crate) struct Output {
    /// Our end of its pipe, or its terminal.
    from: OwnedFd,
    /// One of ours.
    to: OwnedFd,
}

/// The streams of one program.
pub(crate) struct Session {
    /// Our standard input, as long as there is more of it.
    source: Option<OwnedFd>,
    /// The program's; closed when all is written.
    input: Option<OwnedFd>,
    pending: VecDeque<u8>,
    outputs: Vec<Output>,
    /// The program's terminal, to be resized with ours.
    master: Option<OwnedFd>,
}

impl Session {
    /// Over pipes. `input` is absent where the program gets none.
    pub(crate) fn pipes(
        input: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> io::Result<Self> {
        let source = input
            .is_some()
            .then(|| own(io::stdin().as_fd()))
            .transpose()?;
        let outputs = vec![
            Output {
                from: stdout,
                to: own(io::stdout().as_fd())?,
            },
            Output {
                from: stderr,
                to: own(io::stderr().as_fd())?,
            },
        ];
        Self {
            source,
            input,
            pending: VecDeque::new(),
            outputs,
            master: None,
        }
        .nonblocking()
    }

    /// Over a terminal.
    pub(crate) fn terminal(master: OwnedFd, interactive: bool) -> io::Result<Self> {
        let source = interactive.then(|| own(io::stdin().as_fd())).transpose()?;
        let input = interactive.then(|| master.try_clone()).transpose()?;
        let from = master.try_clone()?;
        let outputs = vec![Output {
            from,
            to: own(io::stdout().as_fd())?,
        }];
        Self {
            source,
            input,
            pending: VecDeque::new(),
            outputs,
            master: Some(master),
        }
        .nonblocking()
    }

    /// Only the program's ends: ours are shared with the caller's shell.
    fn nonblocking(self) -> io::Result<Self> {
        for fd in self
            .outputs
            .iter()
            .map(|output| &output.from)
            .chain(&self.input)
        {
            let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
            fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        Ok(self)
    }

    /// Moves bytes and signals until the program has ended and its last words
    /// are written; its exit code.
    pub(crate) fn run(
        mut self,
        program: &mut dyn Program,
        signals: &Signals,
    ) -> Result<u8, BoxError> {
        loop {
            // Asked before the streams are drained, so that nothing which was
            // written before the end is missed.
            let ended = program.poll_exit()?;
            let chunks = if ended.is_some() { LAST_TURN } else { TURN };
            self.drain(chunks)
                .map_err(BoxError::system("pass the program's output on"))?;
            if let Some(code) = ended {
                return Ok(code);
            }
            for number in signals.take() {
                self.signalled(number, program)?;
            }
            self.wait(program.news(), signals)
                .map_err(BoxError::system("wait for the program"))?;
        }
    }

    fn signalled(&self, number: i32, program: &dyn Program) -> Result<(), BoxError> {
        if number == RESIZED {
            let size = self
                .outputs
                .first()
                .and_then(|output| size_of(output.to.as_fd()));
            return match (&self.master, size) {
                (Some(master), Some(size)) => {
                    resize(master.as_fd(), size).map_err(BoxError::Terminal)
                }
                _ => Ok(()),
            };
        }
        named(number).map_or(Ok(()), |signal| program.signal(signal))
    }

    fn wait(&mut self, news: BorrowedFd<'_>, signals: &Signals) -> io::Result<()> {
        let mut fds = vec![PollFd::new(news, PollFlags::POLLIN)];
        fds.extend(signals.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(
            self.outputs
                .iter()
                .map(|output| PollFd::new(output.from.as_fd(), PollFlags::POLLIN)),
        );
        let writing = self.input.as_ref().filter(|_| !self.pending.is_empty());
        fds.extend(writing.map(|input| PollFd::new(input.as_fd(), PollFlags::POLLOUT)));
        // No more is read than what the program takes.
        let reading = self.source.as_ref().filter(|_| self.pending.is_empty());
        let at = fds.len();
        fds.extend(reading.map(|source| PollFd::new(source.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        if fds.get(at).is_some_and(|fd| fd.any().unwrap_or(false)) {
            self.read_source()?;
        }
        self.feed()
    }

    /// Ours is read only when poll says that it won't block.
    fn read_source(&mut self) -> io::Result<()> {
        let Some(source) = &self.source else {
            return Ok(());
        };
        let mut buffer = vec![0; CHUNK];
        match read(source, &mut buffer) {
            // Of a terminal, too: its user hung up.
            Ok(0) | Err(Errno::EIO) => self.source = None,
            Ok(count) => self.pending.extend(buffer.get(..count).unwrap_or_default()),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Gives the program what waits for it.
    fn feed(&mut self) -> io::Result<()> {
        while let Some(input) = &self.input {
            let (bytes, _) = self.pending.as_slices();
            if bytes.is_empty() {
                if self.source.is_none() {
                    // The end of input. A terminal stays open for output.
                    self.input = None;
                }
                return Ok(());
            }
            match write(input, bytes) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                // It closed its input, or its terminal is gone.
                Err(Errno::EPIPE | Errno::EIO) => {
                    self.pending.clear();
                    (self.source, self.input) = (None, None);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Passes on what the program wrote so far, as far as so many chunks reach.
    fn drain(&mut self, chunks: usize) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut failed = None;
        self.outputs.retain_mut(|output| {
            for _ in 0..chunks {
                match read(&output.from, &mut buffer) {
                    // EIO: nobody has the terminal open any more.
                    Ok(0) | Err(Errno::EIO) => return false,
                    Ok(count) => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        match write_all(output.to.as_fd(), bytes) {
                            Ok(()) => {}
                            // Our reader has enough, so the program's has.
                            Err(Errno::EPIPE) => return false,
                            Err(errno) => {
                                failed = Some(errno);
                                return false;
                            }
                        }
                    }
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => return true,
                    Err(errno) => {
                        failed = Some(errno);
                        return false;
                    }
                }
            }
            true
        });
        failed.map_or(Ok(()), |errno| Err(errno.into()))
    }
}

fn own(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

/// Writes to one of ours, which may be non-blocking by its owner's will.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                poll(
                    &mut [PollFd::new(to, PollFlags::POLLOUT)],
                    PollTimeout::NONE,
                )?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
