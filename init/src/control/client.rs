//! One connection: what it has sent, what it is still to get, and what it waits
//! for.

use std::os::fd::{AsFd, OwnedFd};

use holdall_protocol::control::{ErrorKind, Hello, Request, Response};
use holdall_protocol::frame::{self, Decoder, FrameError, HEADER, MAX_BODY};
use holdall_protocol::{Millis, PROTOCOL_VERSION};
use holdall_supervise::{ServiceId, Timestamp};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use serde::Serialize;

use super::wire;
use crate::events::Watching;

/// A client that has not said hello by then is cut off.
const HELLO_WITHIN: Millis = Millis(10_000);

/// A client that does not take its answer by then is cut off.
const TAKE_WITHIN: Millis = Millis(30_000);

/// Read at one go.
const CHUNK: usize = 16 * 1024;

/// What the peer may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authority {
    /// Everything.
    Full,
    /// Status, events, health and version.
    Read,
}

/// What the connection is about now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Its hello is due.
    Greeting,
    /// Its next request is welcome.
    Idle,
    /// The supervisor will answer the request of this number.
    Waiting(u64),
    /// It gets lines of the log.
    Reading(Reading),
    /// It gets events.
    Watching(Watching),
    /// It waits for the program of this number to end.
    Exec(u64),
    /// It gets what is still to be sent, and no more.
    Closing,
}

/// A reader of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The number of its next line.
    pub(crate) next: u64,
    /// Up to this one; for ever where none.
    pub(crate) end: Option<u64>,
    /// Lines of these; everything where empty.
    pub(crate) services: Vec<ServiceId>,
    /// Only lines of this time and later.
    pub(crate) since: Option<u64>,
    /// How many lines of these services lie behind it, ever.
    pub(crate) passed: u64,
}

/// One connection.
pub(crate) struct Client {
    pub(crate) fd: OwnedFd,
    pub(crate) authority: Authority,
    pub(crate) state: State,
    /// Descriptors that came and wait for the request that they belong to.
    pub(crate) descriptors: Vec<OwnedFd>,
    decoder: Decoder,
    out: Vec<u8>,
    /// A descriptor, and before which byte of `out` it goes.
    out_descriptor: Option<(usize, OwnedFd)>,
    /// When something last went in or out.
    pub(crate) active: Timestamp,
    /// What it is watched for.
    pub(crate) interest: EpollFlags,
    /// The version of the protocol that it speaks.
    pub(crate) version: u32,
    /// It is a child of init's own, and is not hung up on for others.
    pub(crate) kept: bool,
}

/// What a read has come to.
pub(crate) enum Input {
    /// It goes on.
    Open,
    /// The peer hung up.
    Closed,
}

impl Client {
    pub(crate) fn new(fd: OwnedFd, authority: Authority, now: Timestamp) -> Self {
        let mut client = Self {
            fd,
            authority,
            state: State::Greeting,
            descriptors: Vec::new(),
            decoder: Decoder::default(),
            out: Vec::new(),
            out_descriptor: None,
            active: now,
            interest: EpollFlags::empty(),
            version: 0,
            kept: false,
        };
        let program = concat!("holdall-init ", env!("CARGO_PKG_VERSION")).to_owned();
        client.push(&Hello {
            version: PROTOCOL_VERSION,
            program,
        });
        client
    }

    /// What it is to be watched for. A client whose answer is under way is not
    /// listened to: what it sends waits in its own socket.
    pub(crate) fn wanted(&self) -> EpollFlags {
        let mut wanted = EpollFlags::EPOLLRDHUP;
        if self.reads() {
            wanted |= EpollFlags::EPOLLIN;
        }
        if !self.out.is_empty() {
            wanted |= EpollFlags::EPOLLOUT;
        }
        wanted
    }

    pub(crate) fn hears(&self) -> bool {
        match self.state {
            State::Greeting | State::Exec(_) => true,
            State::Idle => self.out.is_empty(),
            State::Waiting(_) | State::Reading(_) | State::Watching(_) | State::Closing => false,
        }
    }

    /// Whether more of what it sends is taken: one that sends faster than it is
    /// answered is not kept in memory.
    fn reads(&self) -> bool {
        self.hears() && self.decoder.pending() < HEADER + MAX_BODY
    }

    /// Reads one piece.
    pub(crate) fn read(&mut self, now: Timestamp) -> Input {
        if !self.reads() {
            return Input::Open;
        }
        let mut buffer = [0; CHUNK];
        match wire::receive(self.fd.as_fd(), &mut buffer, &mut self.descriptors) {
            Ok(0) => return Input::Closed,
            Ok(read) => {
                self.active = now;
                self.decoder.push(buffer.get(..read).unwrap_or(&[]));
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => return Input::Closed,
        }
        if self.descriptors.len() > wire::MAX_DESCRIPTORS {
            self.descriptors.clear();
            self.refuse(ErrorKind::Malformed, "too many descriptors");
        }
        Input::Open
    }

    /// Its next request, if one is whole and welcome.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        if self.state == State::Greeting {
            match self.decoder.next::<Hello>() {
                Ok(Some(hello)) => (self.state, self.version) = (State::Idle, hello.version),
                Ok(None) => return None,
                Err(error) => {
                    self.malformed(&error);
                    return None;
                }
            }
        }
        if !self.hears() {
            return None;
        }
        match self.decoder.next::<Request>() {
            Ok(request) => request,
            Err(error) => {
                self.malformed(&error);
                None
            }
        }
    }

    fn malformed(&mut self, error: &FrameError) {
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(error) {
            text = format!("{text}: {cause}");
        }
        self.refuse(ErrorKind::Malformed, &text);
    }

    /// Answers with an error and hangs up.
    pub(crate) fn refuse(&mut self, kind: ErrorKind, message: &str) {
        self.push(&Response::Error {
            kind,
            message: message.to_owned(),
        });
        self.state = State::Closing;
    }

    /// Sends a message, and with its first byte a descriptor.
    pub(crate) fn respond(&mut self, response: &Response, descriptor: Option<OwnedFd>) {
        if let Some(descriptor) = descriptor {
            self.out_descriptor = Some((self.out.len(), descriptor));
        }
        if response.is_last() && self.state != State::Closing {
            self.state = State::Idle;
        }
        self.push(response);
    }

    fn push<T: Serialize>(&mut self, message: &T) {
        match frame::encode(message) {
            Ok(bytes) => self.out.extend_from_slice(&bytes),
            Err(error) => {
                let kind = ErrorKind::Exhausted;
                let message = Response::Error {
                    kind,
                    message: error.to_string(),
                };
                self.out.extend(frame::encode(&message).unwrap_or_default());
                self.state = State::Closing;
            }
        }
    }

    /// Bytes that it has not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Sends what it takes.
    pub(crate) fn write(&mut self, now: Timestamp) -> Input {
        while !self.out.is_empty() {
            let (end, descriptor) = match &self.out_descriptor {
                Some((0, descriptor)) => (self.out.len(), Some(descriptor)),
                Some((at, _)) => (*at, None),
                None => (self.out.len(), None),
            };
            let bytes = self.out.get(..end).unwrap_or(&[]);
            match wire::send(self.fd.as_fd(), bytes, descriptor) {
                Ok(sent) => {
                    self.active = now;
                    self.out.drain(..sent);
                    self.out_descriptor = match self.out_descriptor.take() {
                        Some((0, _)) | None => None,
                        Some((at, descriptor)) => Some((at.saturating_sub(sent), descriptor)),
                    };
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Input::Open,
                Err(_) => return Input::Closed,
            }
        }
        if self.state == State::Closing {
            Input::Closed
        } else {
            Input::Open
        }
    }

    /// When it has had enough time.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        if !self.out.is_empty() {
            return Some(self.active + TAKE_WITHIN);
        }
        (self.state == State::Greeting).then(|| self.active + HELLO_WITHIN)
    }
}
