//! The one place where init waits.

use std::os::fd::AsFd;

use holdall_supervise::Timestamp;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Who wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// A signal came.
    Signals,
    /// A service's pipe has something.
    Pipes,
    /// The log's reader takes more.
    Sink,
    /// A client wants to connect to the socket of this place in the list.
    Listener(u64),
    /// A client sent something, or takes more.
    Client(u64),
    /// A probe's connection or output moved.
    Probe(u64),
    /// The wall clock was set.
    Clock,
    /// Something came to the socket of this number, whose service starts on
    /// demand.
    Demand(u64),
    /// A service said something at its socket.
    Notice(u32),
    /// A service wrote to the descriptor of its `ready`.
    Announcement(u32),
    /// The other end of a stored descriptor hung up.
    Stored(u64),
}

const KINDS: u32 = 56;

impl Token {
    fn encode(self) -> u64 {
        let (kind, id) = match self {
            Self::Signals => (0, 0),
            Self::Pipes => (1, 0),
            Self::Sink => (2, 0),
            Self::Listener(id) => (3, id),
            Self::Client(id) => (4, id),
            Self::Probe(id) => (5, id),
            Self::Clock => (6, 0),
            Self::Demand(id) => (7, id),
            Self::Notice(id) => (8, u64::from(id)),
            Self::Announcement(id) => (9, u64::from(id)),
            Self::Stored(id) => (10, id),
        };
        (kind << KINDS) | (id & ((1 << KINDS) - 1))
    }

    fn decode(data: u64) -> Option<Self> {
        let id = data & ((1 << KINDS) - 1);
        Some(match data >> KINDS {
            0 => Self::Signals,
            1 => Self::Pipes,
            2 => Self::Sink,
            3 => Self::Listener(id),
            4 => Self::Client(id),
            5 => Self::Probe(id),
            6 => Self::Clock,
            7 => Self::Demand(id),
            8 => Self::Notice(u32::try_from(id).ok()?),
            9 => Self::Announcement(u32::try_from(id).ok()?),
            10 => Self::Stored(id),
            _ => return None,
        })
    }
}

/// Something that is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) flags: EpollFlags,
}

/// An epoll.
pub(crate) struct Poll {
    epoll: Epoll,
}

/// Handled in one turn of the loop; the kernel keeps the order fair.
const BATCH: usize = 64;

impl Poll {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        })
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: Token, flags: EpollFlags) -> Result<(), Errno> {
        self.epoll.add(fd, EpollEvent::new(flags, token.encode()))
    }

    /// Changes what a descriptor that was added is watched for.
    pub(crate) fn change(&self, fd: impl AsFd, token: Token, flags: EpollFlags) {
        let mut event = EpollEvent::new(flags, token.encode());
        // It was added with the same kind of event, so this can't fail.
        let _ = self.epoll.modify(fd, &mut event);
    }

    /// To be called before the descriptor is closed: a copy of it may live on.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _ = self.epoll.delete(fd);
    }

    /// Waits until something is ready, or until `until`.
    pub(crate) fn wait(
        &self,
        now: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<Vec<Ready>, Errno> {
        let timeout = match until {
            None => EpollTimeout::NONE,
            Some(at) => {
                let span = i32::try_from(at.since(now).0).unwrap_or(i32::MAX);
                EpollTimeout::try_from(span).unwrap_or(EpollTimeout::ZERO)
            }
        };
        let mut events = [EpollEvent::empty(); BATCH];
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            count => count?,
        };
        let ready = |event: &EpollEvent| {
            Some(Ready {
                token: Token::decode(event.data())?,
                flags: event.events(),
            })
        };
        Ok(events.iter().take(count).filter_map(ready).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Signals,
            Token::Pipes,
            Token::Sink,
            Token::Listener(3),
            Token::Client(u64::from(u32::MAX) + 7),
            Token::Probe(9),
            Token::Demand(10),
            Token::Notice(u32::MAX),
            Token::Announcement(2),
            Token::Stored(7),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
