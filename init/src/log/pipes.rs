//! The pipes of the services' stdout and stderr.
//!
//! They hang on an epoll of their own, inside the main one: while the log's
//! reader is behind, a single call leaves all of them alone.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use holdall_protocol::log::Stream;
use holdall_supervise::ServiceId;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::{self, Gid, Uid};

use super::Log;
use super::lines::Lines;
use super::sink::Room;
use crate::sys;

/// Read from one pipe before the next has its turn.
const CHUNK: usize = 64 * 1024;

/// Pipes looked at in one turn of the loop.
const BATCH: usize = 32;

struct Pipe {
    fd: OwnedFd,
    service: ServiceId,
    stream: Stream,
    lines: Lines,
}

/// All pipes, and the buffer that they are read into.
pub(crate) struct Pipes {
    epoll: Epoll,
    pipes: BTreeMap<u64, Pipe>,
    next: u64,
    buffer: Vec<u8>,
}

impl Pipes {
    pub(crate) fn new() -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self {
            epoll,
            pipes: BTreeMap::new(),
            next: 0,
            buffer: vec![0; CHUNK],
        })
    }

    /// Readable when any pipe is.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// A pipe for one stream of a service: its writing end, which belongs to
    /// `owner`, so that the service can open /dev/stdout.
    pub(crate) fn open(
        &mut self,
        service: ServiceId,
        stream: Stream,
        owner: Option<(u32, u32)>,
    ) -> Result<OwnedFd, Errno> {
        let (read, write) = unistd::pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        if let Some((uid, gid)) = owner {
            // Refused without privilege, where the owner is right already.
            let _ = unistd::fchown(&write, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        }
        self.next += 1;
        self.epoll
            .add(&read, EpollEvent::new(EpollFlags::EPOLLIN, self.next))?;
        let pipe = Pipe {
            fd: read,
            service,
            stream,
            lines: Lines::default(),
        };
        self.pipes.insert(self.next, pipe);
        Ok(write)
    }

    /// Reads from those that have something, each a bounded piece.
    pub(crate) fn read(&mut self, log: &mut Log) {
        // One at a time: the kernel puts it at the end of its list, so that
        // each has its turn also where the loop is left early.
        let mut events = [EpollEvent::empty()];
        for _ in 0..BATCH {
            // When the reader has caught up, the next one goes first.
            if log.holds_back() || self.epoll.wait(&mut events, EpollTimeout::ZERO) != Ok(1) {
                return;
            }
            let [event] = events;
            let number = event.data();
            let Some(pipe) = self.pipes.get_mut(&number) else {
                continue;
            };
            if pipe.read(&mut self.buffer, log) == Some(0) {
                self.close(number, log);
            }
        }
    }

    /// The service has ended: reads what its pipes hold at this moment, its
    /// last words; they stay open for those that it has left behind.
    pub(crate) fn drain(&mut self, service: ServiceId, log: &mut Log) {
        for pipe in self
            .pipes
            .values_mut()
            .filter(|pipe| pipe.service == service)
        {
            let mut left = sys::readable_bytes(&pipe.fd).unwrap_or(0);
            while left > 0 {
                match pipe.read(&mut self.buffer, log) {
                    Some(read) if read > 0 => left = left.saturating_sub(read),
                    Some(_) | None => break,
                }
            }
            pipe.finish(log);
        }
    }

    /// No process of the service is left: whoever still holds its pipes is not
    /// one of its own.
    pub(crate) fn close_all(&mut self, service: ServiceId, log: &mut Log) {
        self.drain(service, log);
        let of = self
            .pipes
            .iter()
            .filter(|(_, pipe)| pipe.service == service);
        for number in of.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.close(number, log);
        }
    }

    fn close(&mut self, number: u64, log: &mut Log) {
        if let Some(mut pipe) = self.pipes.remove(&number) {
            pipe.finish(log);
            let _ = self.epoll.delete(&pipe.fd);
        }
    }
}

impl Pipe {
    /// How much was read; none where nothing is there now.
    fn read(&mut self, buffer: &mut [u8], log: &mut Log) -> Option<usize> {
        let read = match unistd::read(&self.fd, buffer) {
            Ok(read) => read,
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            Err(_) => 0,
        };
        let (service, stream) = (self.service, self.stream);
        let bytes = buffer.get(..read).unwrap_or(&[]);
        self.lines.push(bytes, |line, partial| {
            log.line(Room::Ordinary, Some(service), stream, partial, line)
        });
        Some(read)
    }

    fn finish(&mut self, log: &mut Log) {
        let (service, stream) = (self.service, self.stream);
        self.lines
            .finish(|line| log.line(Room::Ordinary, Some(service), stream, false, line));
    }
}
