//! The pipes of the services' stdout and stderr.
//!
//! They hang on epolls of their own, inside the main one: while the log's
//! reader is behind, a single call leaves all of a kind alone.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};

use holdall_protocol::log::Stream;
use holdall_supervise::ServiceId;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::{self, Gid, Uid};

use super::lines::Lines;
use super::{Log, Source};
use crate::poll::{Poll, Token};
use crate::sys;

/// Read from one pipe before the next has its turn: twice what a pipe usually
/// holds. So much has pages of its own, of which only those are taken that were
/// read into, as most services never write much at once.
const CHUNK: usize = 128 * 1024;

/// Pipes looked at in one turn of the loop.
const BATCH: usize = 32;

/// When pipes are left alone, so that who writes to them waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Never.
    Open,
    /// While the log's reader is behind but reads.
    Drop,
    /// Whenever the log's reader is behind.
    Block,
}

/// The pipes behind one gate.
struct Epolled {
    gate: Gate,
    epoll: Epoll,
    /// The main epoll has it.
    watched: bool,
}

struct Pipe {
    fd: OwnedFd,
    gate: Gate,
    source: Source,
    lines: Lines,
}

/// All pipes, and the buffer that they are read into.
pub(crate) struct Pipes {
    epolls: [Epolled; 3],
    /// By the number of their service, in the upper half, and a number of their
    /// own: those of one service lie together.
    pipes: BTreeMap<u64, Pipe>,
    next: u32,
    /// Empty until something was read.
    buffer: Vec<u8>,
}

impl Pipes {
    pub(crate) fn new() -> Result<Self, Errno> {
        let epolled = |gate| {
            Ok(Epolled {
                gate,
                epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
                watched: false,
            })
        };
        Ok(Self {
            epolls: [
                epolled(Gate::Open)?,
                epolled(Gate::Drop)?,
                epolled(Gate::Block)?,
            ],
            pipes: BTreeMap::new(),
            next: 0,
            buffer: Vec::new(),
        })
    }

    /// Has the main epoll watch those whose gate is open.
    pub(crate) fn watch(&mut self, poll: &Poll, log: &Log) {
        for epolled in &mut self.epolls {
            let wanted = !log.is_closed(epolled.gate);
            if wanted && !epolled.watched {
                let fd = epolled.epoll.0.as_fd();
                epolled.watched = poll.add(fd, Token::Pipes, EpollFlags::EPOLLIN).is_ok();
            } else if !wanted && epolled.watched {
                poll.remove(epolled.epoll.0.as_fd());
                epolled.watched = false;
            }
        }
    }

    /// Pipes for a service's stdout and stderr: their writing ends, which belong
    /// to `owner`, so that the service can open /dev/stdout.
    pub(crate) fn pair(
        &mut self,
        service: ServiceId,
        gate: Gate,
        owner: Option<(u32, u32)>,
    ) -> Result<[OwnedFd; 2], Errno> {
        let mut open = |stream| self.open(service, stream, gate, owner);
        Ok([open(Stream::Stdout)?, open(Stream::Stderr)?])
    }

    fn open(
        &mut self,
        service: ServiceId,
        stream: Stream,
        gate: Gate,
        owner: Option<(u32, u32)>,
    ) -> Result<OwnedFd, Errno> {
        let (read, write) = unistd::pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        if let Some((uid, gid)) = owner {
            // Refused without privilege, where the owner is right already.
            let _ = unistd::fchown(&write, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        }
        self.next = self.next.wrapping_add(1);
        let number = numbers(service).start() | u64::from(self.next);
        if let Some(epoll) = epoll_of(&self.epolls, gate) {
            epoll.add(&read, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        }
        let source = Source {
            service: Some(service),
            stream,
        };
        let pipe = Pipe {
            fd: read,
            gate,
            source,
            lines: Lines::default(),
        };
        self.pipes.insert(number, pipe);
        Ok(write)
    }

    /// Reads from those that have something, each a bounded piece.
    pub(crate) fn read(&mut self, log: &mut Log) {
        // One at a time: the kernel puts it at the end of its list, so that
        // each has its turn also where the loop is left early.
        let mut events = [EpollEvent::empty()];
        for at in 0..self.epolls.len() {
            for _ in 0..BATCH {
                let Some(Epolled { gate, epoll, .. }) = self.epolls.get(at) else {
                    return;
                };
                // When the reader has caught up, the next one goes first.
                if log.is_closed(*gate) || epoll.wait(&mut events, EpollTimeout::ZERO) != Ok(1) {
                    break;
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
    }

    /// The service has ended: reads what its pipes hold at this moment, its
    /// last words; they stay open for those that it has left behind.
    pub(crate) fn drain(&mut self, service: ServiceId, log: &mut Log) {
        for (_, pipe) in self.pipes.range_mut(numbers(service)) {
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
        while let Some((&number, _)) = self.pipes.range(numbers(service)).next() {
            self.close(number, log);
        }
    }

    fn close(&mut self, number: u64, log: &mut Log) {
        if let Some(mut pipe) = self.pipes.remove(&number) {
            pipe.finish(log);
            if let Some(epoll) = epoll_of(&self.epolls, pipe.gate) {
                let _ = epoll.delete(&pipe.fd);
            }
        }
    }
}

impl Pipe {
    /// How much was read; none where nothing is there now.
    fn read(&mut self, buffer: &mut Vec<u8>, log: &mut Log) -> Option<usize> {
        if buffer.is_empty() {
            *buffer = vec![0; CHUNK];
        }
        let read = match unistd::read(&self.fd, buffer) {
            Ok(read) => read,
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            Err(_) => 0,
        };
        let bytes = buffer.get(..read).unwrap_or(&[]);
        let source = self.source;
        self.lines.push(bytes, |batch| log.lines(source, batch));
        Some(read)
    }

    fn finish(&mut self, log: &mut Log) {
        let source = self.source;
        self.lines.finish(|batch| log.lines(source, batch));
    }
}

/// The numbers of a service's pipes.
fn numbers(service: ServiceId) -> RangeInclusive<u64> {
    let first = u64::from(service.0) << 32;
    first..=first | u64::from(u32::MAX)
}

fn epoll_of(epolls: &[Epolled], gate: Gate) -> Option<&Epoll> {
    let found = epolls.iter().find(|epolled| epolled.gate == gate);
    found.map(|epolled| &epolled.epoll)
}

#[cfg(test)]
mod tests {
    use holdall_protocol::manifest::BoxLog;

    use super::*;
    use crate::log::Outlet;

    #[test]
    fn a_turn_has_a_budget_however_much_is_said() {
        let names: Vec<_> = (0..20)
            .map(|number| format!("s{number}").parse().expect("a name"))
            .collect();
        let mut log = Log::new(names, Outlet::Nowhere, BoxLog::default());
        let mut pipes = Pipes::new().expect("epolls");
        // Full pipes, both of each service.
        let lines = b"x\n".repeat(64 * 1024 / 2);
        let mut ends = Vec::new();
        for id in (0..20).map(ServiceId) {
            for end in pipes.pair(id, Gate::Drop, None).expect("pipes") {
                let file = std::fs::File::from(end);
                std::io::Write::write_all(&mut &file, &lines).expect("they fit");
                ends.push(file);
            }
        }
        let each = u64::try_from(lines.len() / 2).expect("small");
        pipes.read(&mut log);
        assert_eq!(log.ring().end(), 32 * each);
        // Those that have had no turn are next.
        pipes.read(&mut log);
        assert_eq!(log.ring().end(), 40 * each);
        for id in (0..20).map(ServiceId) {
            assert_eq!(log.ring().pushed(&[id]), 2 * each);
        }
    }

    #[test]
    fn what_a_dying_service_wrote_last_is_read_at_its_end() {
        let names = vec!["a".parse().expect("a name")];
        let mut log = Log::new(names, Outlet::Nowhere, BoxLog::default());
        let mut pipes = Pipes::new().expect("epolls");
        let [out, err] = pipes.pair(ServiceId(0), Gate::Drop, None).expect("pipes");
        let out = std::fs::File::from(out);
        std::io::Write::write_all(&mut &out, b"one\nlast words").expect("they fit");
        // Both ends stay open, as a grandchild may hold them.
        pipes.drain(ServiceId(0), &mut log);
        assert_eq!(log.last_words(ServiceId(0), 5), ["one", "last words"]);
        drop((out, err));
    }
}
