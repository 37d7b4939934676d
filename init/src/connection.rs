//! The connection of a probe: made, asked over, and read from.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use holdall_protocol::manifest::{HttpProbe, HttpTarget};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect,
    getsockopt, send, socket, sockopt,
};
use nix::unistd;

use crate::http::{self, Answer};
use crate::poll::{Poll, Token};
use crate::probe::Outcome;
use crate::spawn::words;

/// One that is being made or used.
pub(crate) struct Connection {
    fd: OwnedFd,
    /// None where being accepted is all that is wanted.
    talk: Option<Talk>,
}

/// A request that is being sent, or an answer that is being read.
struct Talk {
    request: Vec<u8>,
    answer: Vec<u8>,
    good: (u16, u16),
}

impl Connection {
    /// Begins to connect, and wants no more than that.
    pub(crate) fn to(address: SocketAddr) -> Result<Self, Errno> {
        let fd = tcp(address)?;
        Ok(Self { fd, talk: None })
    }

    /// Begins to connect for a request.
    pub(crate) fn ask(probe: &HttpProbe) -> Result<Self, Errno> {
        let fd = match &probe.to {
            HttpTarget::Tcp(address) => tcp(*address)?,
            HttpTarget::Unix(path) => unix(path)?,
        };
        let talk = Talk {
            request: http::request(probe),
            answer: Vec::new(),
            good: probe.status,
        };
        let talk = Some(talk);
        Ok(Self { fd, talk })
    }

    /// Something moved. What it has come to, if it has.
    pub(crate) fn moved(&mut self, poll: &Poll, number: u64) -> Option<Outcome> {
        let Some(talk) = &mut self.talk else {
            return Some(connected(&self.fd).map_err(words));
        };
        if talk.request.is_empty() {
            return talk.read(&self.fd);
        }
        let sent = connected(&self.fd)
            .and_then(|()| send(self.fd.as_raw_fd(), &talk.request, MsgFlags::MSG_NOSIGNAL));
        match sent {
            Ok(sent) => drop(talk.request.drain(..sent)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Some(Err(words(errno))),
        }
        if talk.request.is_empty() {
            poll.change(&self.fd, Token::Probe(number), EpollFlags::EPOLLIN);
        }
        None
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Talk {
    /// Reads what is there; none while more is to come.
    fn read(&mut self, fd: &OwnedFd) -> Option<Outcome> {
        let mut buffer = [0; 512];
        match unistd::read(fd, &mut buffer) {
            Ok(0) => Some(Err("closed the connection without an answer".to_owned())),
            Ok(read) => {
                self.answer
                    .extend_from_slice(buffer.get(..read).unwrap_or(&[]));
                match http::answer(&self.answer, self.good) {
                    Answer::Partial => None,
                    Answer::Healthy => Some(Ok(())),
                    Answer::Unhealthy(reason) => Some(Err(reason)),
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Err(errno) => Some(Err(words(errno))),
        }
    }
}

fn tcp(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    begin(family, &SockaddrStorage::from(address))
}

/// A full backlog is an error at once (EAGAIN): who is asked does not come to
/// take connections.
fn unix(path: &str) -> Result<OwnedFd, Errno> {
    begin(AddressFamily::Unix, &UnixAddr::new(path)?)
}

fn begin(family: AddressFamily, address: &impl SockaddrLike) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    match connect(fd.as_raw_fd(), address) {
        Err(Errno::EINPROGRESS) | Ok(()) => Ok(fd),
        Err(errno) => Err(errno),
    }
}

fn connected(connection: &OwnedFd) -> Result<(), Errno> {
    match getsockopt(connection, sockopt::SocketError)? {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}
