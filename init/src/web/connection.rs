//! One connection: a head comes in, an answer goes out, and that is all. Each
//! of the three has its time.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use holdall_protocol::Millis;
use holdall_supervise::Timestamp;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use super::request::{self, MAX_HEAD, MAX_LINE, Refusal, Request};

/// The head has to be whole by then, however it comes.
const READ_WITHIN: Millis = Millis(5_000);

/// The answer has to be taken by then.
const TAKE_WITHIN: Millis = Millis(10_000);

/// What a client still sends is read for so long after the answer: closed with
/// something unread, the kernel would throw the answer away.
const DRAIN_WITHIN: Millis = Millis(1_000);

/// And so many bytes.
const DRAINED: usize = 64 * 1024;

/// Read at one go.
const CHUNK: usize = 4 * 1024;

enum Phase {
    Reading(Vec<u8>),
    Writing {
        head: Vec<u8>,
        body: Rc<[u8]>,
        sent: usize,
    },
    Draining(usize),
}

/// See the module.
pub(crate) struct Client {
    fd: OwnedFd,
    phase: Phase,
    pub(crate) deadline: Timestamp,
}

/// What a turn has come to.
pub(crate) enum Turn {
    /// It waits for the client.
    Waits,
    /// This is asked, and is to be answered.
    Asks(Result<Request, Refusal>),
    /// It is over.
    Over,
}

impl Client {
    pub(crate) fn new(fd: OwnedFd, now: Timestamp) -> Self {
        Self {
            fd,
            phase: Phase::Reading(Vec::new()),
            deadline: now + READ_WITHIN,
        }
    }

    /// What it is to be watched for.
    pub(crate) fn wanted(&self) -> EpollFlags {
        match self.phase {
            Phase::Reading(_) | Phase::Draining(_) => EpollFlags::EPOLLIN,
            Phase::Writing { .. } => EpollFlags::EPOLLOUT,
        }
    }

    /// Does what can be done without waiting.
    pub(crate) fn turn(&mut self, now: Timestamp) -> Turn {
        match &mut self.phase {
            Phase::Reading(head) => {
                let mut chunk = [0; CHUNK];
                let read = match receive(&self.fd, &mut chunk) {
                    Ok(0) => return Turn::Over,
                    Ok(read) => chunk.get(..read).unwrap_or(&[]),
                    Err(Errno::EAGAIN | Errno::EINTR) => return Turn::Waits,
                    Err(_) => return Turn::Over,
                };
                head.extend_from_slice(read);
                // Byte by byte, a long line is not looked through each time.
                let news = read.contains(&b'\n') || read.contains(&b'\r') || read.contains(&0);
                if !news && head.len() <= MAX_LINE.min(MAX_HEAD) {
                    return Turn::Waits;
                }
                request::read(head).map_or(Turn::Waits, Turn::Asks)
            }
            Phase::Writing { .. } => self.write(now),
            Phase::Draining(left) => {
                let mut chunk = [0; CHUNK];
                match receive(&self.fd, &mut chunk) {
                    Ok(read) if read > 0 && read < *left => {
                        *left -= read;
                        Turn::Waits
                    }
                    Err(Errno::EAGAIN | Errno::EINTR) => Turn::Waits,
                    Ok(_) | Err(_) => Turn::Over,
                }
            }
        }
    }

    /// Answers.
    pub(crate) fn answer(&mut self, now: Timestamp, head: Vec<u8>, body: Rc<[u8]>) -> Turn {
        self.deadline = now + TAKE_WITHIN;
        self.phase = Phase::Writing {
            head,
            body,
            sent: 0,
        };
        self.write(now)
    }

    fn write(&mut self, now: Timestamp) -> Turn {
        let Phase::Writing { head, body, sent } = &mut self.phase else {
            return Turn::Waits;
        };
        loop {
            let rest = match head.get(*sent..).filter(|rest| !rest.is_empty()) {
                Some(rest) => rest,
                None => body.get(*sent - head.len()..).unwrap_or(&[]),
            };
            if rest.is_empty() {
                break;
            }
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.fd.as_raw_fd(), rest, flags) {
                Ok(taken) => *sent += taken,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Turn::Waits,
                Err(_) => return Turn::Over,
            }
        }
        if shutdown(self.fd.as_raw_fd(), Shutdown::Write).is_err() {
            return Turn::Over;
        }
        self.deadline = now + DRAIN_WITHIN;
        self.phase = Phase::Draining(DRAINED);
        Turn::Waits
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn receive(fd: &OwnedFd, chunk: &mut [u8]) -> Result<usize, Errno> {
    recv(fd.as_raw_fd(), chunk, MsgFlags::MSG_DONTWAIT)
}
