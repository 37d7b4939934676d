//! Where the log goes: a descriptor that was inherited, and whose reader may be
//! slow, stuck or gone.
//!
//! Its O_NONBLOCK is never touched: the open file is shared with whoever gave
//! it to us. A slow reader slows the services down (nothing is lost while
//! somebody reads); one that takes nothing for [`STUCK_AFTER`] doesn't stop
//! them, those excepted that chose to wait: lines are then dropped, counted,
//! and the count is said. A reader that is gone and a full disk are an
//! [`Episode`]; each flush tries again.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use holdall_protocol::Millis;
use holdall_supervise::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd;

use super::episode::Episode;

/// Bytes that wait for the reader before the services' pipes are left alone.
pub(crate) const HIGH: usize = 128 * 1024;

/// Bytes that wait at most for a reader that is stuck; lines beyond are
/// dropped.
const MAX: usize = 256 * 1024;

/// Beyond that, room for what has been read already when a reader that reads
/// falls behind, with its prefixes, and for what a service that has ended left
/// in its pipes: it can't be made to wait any more.
const BURST: usize = 768 * 1024;

/// And for init's own words: they say what was dropped, and why a box ended.
const OWN_WORDS: usize = 16 * 1024;

/// A reader that takes nothing for this long is stuck.
const STUCK_AFTER: Millis = Millis(1000);

/// Pieces that a reader may take the last words in: all that can wait, in the
/// smallest pieces that a pipe gives room for.
const LAST_PIECES: usize = (MAX + BURST) / PIPE_BUF * 2;

/// A pipe takes as much at once or blocks.
const PIPE_BUF: usize = 4096;

/// Whose line it is that looks for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// A line of a service.
    Ordinary,
    /// Init's own.
    Own,
}

/// How to write without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Opened anew, so that O_NONBLOCK is ours alone.
    Own,
    /// A socket: each call can say that it doesn't wait.
    Socket,
    /// Neither: only so much, and only when poll says that it fits.
    Polled,
    /// A regular file or /dev/null: never blocks.
    Direct,
}

/// The descriptor and what waits for it.
#[derive(Debug)]
pub(crate) struct Sink {
    fd: OwnedFd,
    /// Kept for its end of a FIFO, which must not close.
    _inherited: Option<OwnedFd>,
    way: Way,
    buffer: Vec<u8>,
    written: usize,
    /// Since when the reader has taken nothing, though something waits.
    waiting_since: Option<Timestamp>,
    pub(crate) episode: Episode,
    /// Lines lost in it that nobody has asked for.
    lost: u64,
    /// What was written last has no end of line.
    mid_line: bool,
    stuck: bool,
    /// It took no more; epoll says when it does.
    full: bool,
}

impl Sink {
    /// `inherited` stays open as it is.
    pub(crate) fn new(inherited: OwnedFd) -> Self {
        let kind = fstat(&inherited).map(|stat| SFlag::from_bits_truncate(stat.st_mode));
        let kind = kind.unwrap_or(SFlag::S_IFREG) & SFlag::S_IFMT;
        let number = inherited.as_raw_fd();
        let (own, way) = match kind {
            SFlag::S_IFSOCK => (None, Way::Socket),
            SFlag::S_IFIFO | SFlag::S_IFCHR if is_pollable(&inherited) => match reopen(number) {
                Some(own) => (Some(own), Way::Own),
                None => (None, Way::Polled),
            },
            _ => (None, Way::Direct),
        };
        let (fd, kept) = match own {
            Some(own) => (own, Some(inherited)),
            None => (inherited, None),
        };
        Self {
            fd,
            _inherited: kept,
            way,
            buffer: Vec::new(),
            written: 0,
            waiting_since: None,
            episode: Episode::default(),
            lost: 0,
            mid_line: false,
            stuck: false,
            full: false,
        }
    }

    /// What to watch for writability while something waits; none where writing
    /// never waits.
    pub(crate) fn watched(&self) -> Option<BorrowedFd<'_>> {
        (self.way != Way::Direct).then(|| self.fd.as_fd())
    }

    pub(crate) fn waiting(&self) -> usize {
        self.buffer.len() - self.written
    }

    /// Takes what `write` has to say. It is given the buffer and the length at
    /// which it is to pause, after a line, and says whether it is done. False
    /// if there was no room for all of it.
    pub(crate) fn take(
        &mut self,
        now: Timestamp,
        room: Room,
        mut write: impl FnMut(&mut Vec<u8>, usize) -> bool,
    ) -> bool {
        loop {
            if self.waiting() >= HIGH {
                self.flush(now);
            }
            let limit = match room {
                Room::Ordinary if self.stuck => MAX,
                Room::Ordinary => MAX + BURST,
                Room::Own => MAX + BURST + OWN_WORDS,
            };
            if self.waiting() >= limit {
                return false;
            }
            if self.buffer.is_empty() && self.ends_line_first() {
                self.buffer.push(b'\n');
            }
            let pause = self.buffer.len().max(self.written + HIGH);
            if write(&mut self.buffer, pause) {
                return true;
            }
        }
    }

    /// Lines lost to an episode since the last time this was asked.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// There is room to say what was dropped.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting() < HIGH && !self.episode.fails()
    }

    /// The reader is behind, whether it reads or not.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting() >= HIGH
    }

    /// Services are to wait: the reader is behind but reads.
    pub(crate) fn holds_back(&self) -> bool {
        !self.stuck && self.is_full()
    }

    /// When a reader that takes nothing is to be called stuck.
    pub(crate) fn stuck_at(&self) -> Option<Timestamp> {
        let since = self.waiting_since.filter(|_| self.holds_back())?;
        Some(since + STUCK_AFTER)
    }

    /// Calls the reader stuck if it is.
    pub(crate) fn check_stuck(&mut self, now: Timestamp) {
        if self.stuck_at().is_some_and(|at| at <= now) {
            self.stuck = true;
        }
    }

    /// There is room again.
    pub(crate) fn made_room(&mut self) {
        self.full = false;
    }

    /// Writes what can be written without waiting.
    pub(crate) fn flush(&mut self, now: Timestamp) {
        while self.waiting() > 0 && !self.full {
            match self.write_some() {
                Ok(taken) => {
                    self.written += taken;
                    let last = self.written.checked_sub(1);
                    let last = last.and_then(|last| self.buffer.get(last));
                    self.mid_line = last.is_some_and(|last| *last != b'\n');
                    self.stuck = false;
                    self.waiting_since = None;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.waiting_since.get_or_insert(now);
                    if self.way == Way::Direct {
                        break;
                    }
                    self.full = true;
                }
                Err(errno) => self.give_up(errno),
            }
        }
        if self.waiting() == 0 {
            if self.written > 0 {
                self.episode.work();
            }
            self.written = 0;
            self.buffer.clear();
            // What a burst took goes back.
            self.buffer.shrink_to(MAX);
        } else if self.written >= HIGH {
            self.buffer.drain(..self.written);
            self.written = 0;
        }
    }

    /// The reader is gone, or the disk is full: nobody would ever see what
    /// waits. It is counted, and the next line is another try.
    fn give_up(&mut self, errno: Errno) {
        let end_before = usize::from(self.ends_line_first());
        let rest = self.buffer.get(self.written + end_before..).unwrap_or(&[]);
        self.lost += self.episode.fail(rest, || errno.desc().to_lowercase());
        self.buffer.clear();
        self.written = 0;
        self.waiting_since = None;
    }

    /// Half a line is out and its other half is lost: what comes next begins
    /// with an end of line.
    fn ends_line_first(&self) -> bool {
        self.episode.fails() && self.mid_line && self.written == 0
    }

    fn write_some(&self) -> Result<usize, Errno> {
        let bytes = self.buffer.get(self.written..).unwrap_or(&[]);
        match self.way {
            Way::Own | Way::Direct => unistd::write(&self.fd, bytes),
            Way::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(self.fd.as_raw_fd(), bytes, flags)
            }
            Way::Polled => {
                let mut ready = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut ready, PollTimeout::ZERO)? == 0 {
                    return Err(Errno::EAGAIN);
                }
                let fits = bytes.get(..bytes.len().min(PIPE_BUF)).unwrap_or(bytes);
                unistd::write(&self.fd, fits)
            }
        }
    }

    /// The last words before the exit: waits for a reader that reads, and not
    /// for one that takes nothing for [`STUCK_AFTER`].
    pub(crate) fn finish(&mut self, now: Timestamp) {
        self.made_room();
        self.flush(now);
        let patience = u16::try_from(STUCK_AFTER.0).unwrap_or(u16::MAX);
        for _ in 0..LAST_PIECES {
            let mut ready = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
            if self.waiting() == 0 || poll(&mut ready, PollTimeout::from(patience)) == Ok(0) {
                return;
            }
            self.made_room();
            self.flush(now);
        }
    }
}

/// Whether stderr is another file than stdout, so that what stands in the one
/// is not read in the other.
pub(crate) fn stderr_is_apart() -> bool {
    let [out, err] = [fstat(std::io::stdout()), fstat(std::io::stderr())];
    match (out, err) {
        (Ok(out), Ok(err)) => (out.st_dev, out.st_ino) != (err.st_dev, err.st_ino),
        (_, _) => false,
    }
}

/// A few lines to stderr; if nobody takes them they are in the log all the
/// same.
pub(crate) fn write_stderr(text: &str) {
    let stderr = std::io::stderr();
    for line in text.lines() {
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, PollTimeout::ZERO) != Ok(1) {
            return;
        }
        let mut bytes = line.as_bytes().to_vec();
        bytes.truncate(PIPE_BUF - 1);
        bytes.push(b'\n');
        let _ = unistd::write(&stderr, &bytes);
    }
}

/// /dev/null and regular files are always ready, and epoll refuses them.
fn is_pollable(fd: &OwnedFd) -> bool {
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
    let Ok(epoll) = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC) else {
        return true;
    };
    epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLOUT, 0)) != Err(Errno::EPERM)
}

/// The same file, opened by us.
fn reopen(number: RawFd) -> Option<OwnedFd> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let path = format!("/proc/self/fd/{number}");
    let file = File::options()
        .write(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let own = OwnedFd::from(file);
    let flags = fcntl(&own, FcntlArg::F_GETFL).ok()?;
    OFlag::from_bits_retain(flags)
        .contains(OFlag::O_NONBLOCK)
        .then_some(own)
}

#[cfg(test)]
mod tests;
