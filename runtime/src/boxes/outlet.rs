//! What a program in a box says, on its way to one of the caller's streams.
//!
//! A caller that stops reading must not stop us: signals, input and the
//! program's end still have to get through. So what its stream doesn't take
//! now waits here, and no more is read from the program meanwhile.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{read, write};

/// Bytes moved at once.
pub(crate) const CHUNK: usize = 64 * 1024;

/// As much as a pipe that poll calls writable takes without blocking.
const SURE: usize = libc::PIPE_BUF;

/// One output of a program.
pub(crate) struct Outlet {
    /// Our end of its pipe, or its terminal; not blocking.
    from: OwnedFd,
    /// One of the caller's.
    to: OwnedFd,
    /// How much is written to it at once.
    portion: usize,
    waiting: Vec<u8>,
    /// How much of it is written.
    written: usize,
}

/// How far an [`Outlet`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is nothing more to read now, or it had its turn.
    Idle,
    /// The caller's stream takes no more now.
    Blocked,
    /// Either side is gone.
    Over,
}

impl Outlet {
    pub(crate) fn new(from: OwnedFd, to: BorrowedFd<'_>) -> io::Result<Self> {
        // A flag of our own where that can be had: the caller's description is
        // shared with its shell and whoever else.
        let (to, portion) = match reopened(to) {
            Some(own) => (own, CHUNK),
            None => (to.try_clone_to_owned()?, SURE),
        };
        Ok(Self {
            from,
            to,
            portion,
            waiting: Vec::new(),
            written: 0,
        })
    }

    /// What to poll for before the next [`Outlet::pass_on`].
    pub(crate) fn interest(&self) -> PollFd<'_> {
        if self.waiting.is_empty() {
            PollFd::new(self.from.as_fd(), PollFlags::POLLIN)
        } else {
            PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)
        }
    }

    pub(crate) fn source(&self) -> &OwnedFd {
        &self.from
    }

    pub(crate) fn target(&self) -> BorrowedFd<'_> {
        self.to.as_fd()
    }

    /// Passes on what there is, at most so many chunks of it; those are counted
    /// down.
    pub(crate) fn pass_on(&mut self, chunks: &mut usize) -> Result<Progress, Errno> {
        loop {
            match self.flush()? {
                Progress::Idle => {}
                other => return Ok(other),
            }
            if *chunks == 0 {
                return Ok(Progress::Idle);
            }
            self.waiting.resize(CHUNK, 0);
            let count = read(&self.from, &mut self.waiting);
            self.waiting.truncate(count.unwrap_or(0));
            match count {
                // EIO: nobody has the terminal open any more.
                Ok(0) | Err(Errno::EIO) => return Ok(Progress::Over),
                Ok(_) => *chunks -= 1,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Progress::Idle),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn flush(&mut self) -> Result<Progress, Errno> {
        while let Some(rest) = self.waiting.get(self.written..).filter(|r| !r.is_empty()) {
            let portion = rest.get(..self.portion).unwrap_or(rest);
            if self.portion == SURE && !is_writable(self.to.as_fd())? {
                return Ok(Progress::Blocked);
            }
            match write(&self.to, portion) {
                Ok(count) => self.written += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Progress::Blocked),
                // The caller's reader has enough, so the program's has.
                Err(Errno::EPIPE) => return Ok(Progress::Over),
                Err(errno) => return Err(errno),
            }
        }
        self.waiting.clear();
        self.written = 0;
        Ok(Progress::Idle)
    }
}

/// The same pipe or terminal, opened once more without blocking. A file has a
/// place to write at, which is the description's; and it never blocks.
fn reopened(to: BorrowedFd<'_>) -> Option<OwnedFd> {
    let kind = SFlag::from_bits_truncate(fstat(to).ok()?.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFIFO && kind != SFlag::S_IFCHR {
        return None;
    }
    let path = format!("/proc/self/fd/{}", to.as_raw_fd());
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open(path.as_str(), flags, Mode::empty()).ok()
}

fn is_writable(to: BorrowedFd<'_>) -> Result<bool, Errno> {
    match poll(
        &mut [PollFd::new(to, PollFlags::POLLOUT)],
        PollTimeout::ZERO,
    ) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use nix::unistd::pipe;

    use super::*;

    /// An outlet whose program has said this, and the program's end.
    fn saying(words: &[u8], to: BorrowedFd<'_>) -> (Outlet, UnixStream) {
        let (from, mut program) = UnixStream::pair().expect("a pair");
        from.set_nonblocking(true).expect("set");
        program.write_all(words).expect("written");
        (Outlet::new(from.into(), to).expect("made"), program)
    }

    #[test]
    fn a_reader_that_stops_blocks_nothing_and_misses_nothing() {
        let (mut pipe_reader, pipe_writer) = {
            let (read, write) = pipe().expect("a pipe");
            (std::fs::File::from(read), write)
        };
        let (mut socket_reader, socket_writer) = UnixStream::pair().expect("a pair");
        let readers: [(&mut dyn io::Read, OwnedFd); 2] = [
            (&mut pipe_reader, pipe_writer),
            (&mut socket_reader, socket_writer.into()),
        ];
        for (reader, writer) in readers {
            let words: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
            let (mut outlet, mut program) = saying(&words, writer.as_fd());
            let mut said = words;
            // Whatever the stream's buffer, it is full some time.
            while outlet.pass_on(&mut 1).expect("passed on") != Progress::Blocked {
                program.write_all(&[7; 1000]).expect("written");
                said.extend([7; 1000]);
            }
            drop((program, writer));
            let mut heard: Vec<u8> = Vec::new();
            while heard.len() < said.len() {
                let mut buffer = [0; 10_000];
                let count = reader.read(&mut buffer).expect("read");
                heard.extend(&buffer[..count]);
                outlet.pass_on(&mut 1).expect("passed on");
            }
            assert_eq!(heard, said);
        }
    }

    #[test]
    fn an_outlet_is_over_with_either_side() {
        let (read, write) = pipe().expect("a pipe");
        let (mut outlet, program) = saying(b"words", write.as_fd());
        assert_eq!(outlet.pass_on(&mut 9), Ok(Progress::Idle));
        drop(program);
        assert_eq!(outlet.pass_on(&mut 9), Ok(Progress::Over));
        let (mut outlet, _program) = saying(b"more", write.as_fd());
        drop(read);
        assert_eq!(outlet.pass_on(&mut 9), Ok(Progress::Over));
    }

    #[test]
    fn a_file_is_written_where_the_caller_stands_in_it() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"before ").expect("written");
        let (mut outlet, _program) = saying(b"after", file.as_fd());
        assert_eq!(outlet.pass_on(&mut 9), Ok(Progress::Idle));
        io::Seek::rewind(&mut file).expect("rewound");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "before after");
    }
}
