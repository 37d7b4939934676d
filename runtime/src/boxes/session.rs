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
use super::outlet::{CHUNK, Outlet, Progress};
use super::terminal::{RESIZED, Signals, end_of_input, named, resize, size_of};

/// Chunks passed on before signals and input get their turn: a program that
/// never stops writing must not keep them waiting.
const TURN: usize = 1;

/// Chunks of each output passed on after the program's end: 1 MiB, all that a
/// pipe holds unless root made it larger. Children it left behind may write for
/// ever.
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

/// The streams of one program.
pub(crate) struct Session {
    /// Our standard input, as long as there is more of it.
    source: Option<OwnedFd>,
    /// The program's; closed when all is written.
    input: Option<OwnedFd>,
    pending: VecDeque<u8>,
    /// What was read last ended in the middle of a line.
    in_a_line: bool,
    outputs: Vec<Outlet>,
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
            Outlet::new(stdout, io::stdout().as_fd())?,
            Outlet::new(stderr, io::stderr().as_fd())?,
        ];
        Self {
            source,
            input,
            pending: VecDeque::new(),
            in_a_line: false,
            outputs,
            master: None,
        }
        .nonblocking()
    }

    /// Over a terminal.
    pub(crate) fn terminal(master: OwnedFd, interactive: bool) -> io::Result<Self> {
        let source = interactive.then(|| own(io::stdin().as_fd())).transpose()?;
        let input = interactive.then(|| master.try_clone()).transpose()?;
        let outputs = vec![Outlet::new(master.try_clone()?, io::stdout().as_fd())?];
        Self {
            source,
            input,
            pending: VecDeque::new(),
            in_a_line: false,
            outputs,
            master: Some(master),
        }
        .nonblocking()
    }

    /// Only the program's ends: ours are shared with the caller's shell.
    fn nonblocking(self) -> io::Result<Self> {
        for fd in self.outputs.iter().map(Outlet::source).chain(&self.input) {
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
        let code = loop {
            // Asked before the streams are read, so that nothing which was
            // written before the end is missed.
            if let Some(code) = program.poll_exit()? {
                break code;
            }
            self.pass_on(&mut [TURN; 2], false)?;
            for number in signals.take() {
                self.signalled(number, program)?;
            }
            self.wait(Some(program.news()), signals)?;
        };
        (self.source, self.input) = (None, None);
        let mut left = [LAST_TURN; 2];
        while self.pass_on(&mut left, true)? {
            self.wait(None, signals)?;
            // There is nobody to pass it on to any more: it is for us.
            if signals.take().iter().any(|number| *number != RESIZED) {
                break;
            }
        }
        Ok(code)
    }

    /// Passes on what the program wrote so far, of each output at most so many
    /// chunks; whether one is blocked. The last time, one that isn't is over.
    fn pass_on(&mut self, left: &mut [usize; 2], last: bool) -> Result<bool, BoxError> {
        let mut blocked = false;
        let mut failed = None;
        let mut left = left.iter_mut();
        self.outputs.retain_mut(|output| {
            let progress = match left.next() {
                Some(chunks) => output.pass_on(chunks),
                None => Ok(Progress::Idle),
            };
            match progress {
                Ok(Progress::Over) => false,
                Ok(Progress::Idle) => !last,
                Ok(Progress::Blocked) => {
                    blocked = true;
                    true
                }
                Err(errno) => {
                    failed = Some(errno);
                    false
                }
            }
        });
        match failed {
            None => Ok(blocked),
            Some(errno) => Err(BoxError::system("pass the program's output on")(
                errno.into(),
            )),
        }
    }

    fn signalled(&self, number: i32, program: &dyn Program) -> Result<(), BoxError> {
        if number == RESIZED {
            let size = self
                .outputs
                .first()
                .and_then(|output| size_of(output.target()));
            return match (&self.master, size) {
                (Some(master), Some(size)) => {
                    resize(master.as_fd(), size).map_err(BoxError::Terminal)
                }
                _ => Ok(()),
            };
        }
        named(number).map_or(Ok(()), |signal| program.signal(signal))
    }

    fn wait(&mut self, news: Option<BorrowedFd<'_>>, signals: &Signals) -> Result<(), BoxError> {
        self.poll(news, signals)
            .map_err(BoxError::system("wait for the program"))
    }

    fn poll(&mut self, news: Option<BorrowedFd<'_>>, signals: &Signals) -> io::Result<()> {
        let reading = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds: Vec<_> = news.into_iter().map(reading).collect();
        fds.extend(signals.fds().map(reading));
        fds.extend(self.outputs.iter().map(Outlet::interest));
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
            Ok(0) | Err(Errno::EIO) => self.source_ended(),
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                self.in_a_line = !bytes.ends_with(b"\n");
                self.pending.extend(bytes);
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// A pipe's end is its being closed; a terminal has a character for it,
    /// which after half a line only ends that.
    fn source_ended(&mut self) {
        self.source = None;
        if let Some(end) = self.master.as_ref().and_then(|fd| end_of_input(fd.as_fd())) {
            let count = if self.in_a_line { 2 } else { 1 };
            self.pending.extend(std::iter::repeat_n(end, count));
        }
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
}

fn own(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}
