//! The client of init's control socket, as the host speaks to it.
//!
//! The socket listens on the host: init inherited it, and nobody opens a path
//! inside a box to reach it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall_protocol::control::{
    ErrorKind, Exec, HealthKind, Hello, Request, Response, SOCKET_NAME, Status,
};
use holdall_protocol::frame::{self, Decoder, FrameError};
use holdall_protocol::{PROTOCOL_VERSION, ServiceName, Signal};
use nix::errno::Errno;

use crate::sys;

mod events;

pub use events::{EventQuery, Happened};

/// An answer that needs no work of init takes this long at most; after it,
/// init hangs.
const ANSWER: Duration = Duration::from_secs(10);

/// Why init couldn't be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens there.
    #[error("cannot reach the init at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The connection broke.
    #[error("cannot talk to the init")]
    Talk(#[source] io::Error),
    /// It closed the connection before its answer.
    #[error("cannot get an answer: the init closed the connection")]
    Closed,
    /// It takes too long.
    #[error("cannot get an answer: the init hangs")]
    Hangs,
    /// One of the two sent nonsense.
    #[error("cannot understand the init")]
    Frame(#[from] FrameError),
    /// It answered something else than what was asked.
    #[error("cannot understand the init: it answered something else")]
    Unexpected,
    /// Its own words.
    #[error("{message}")]
    Refused {
        /// For programs.
        kind: ErrorKind,
        /// For people.
        message: String,
    },
}

/// A connection to one init.
#[derive(Debug)]
pub struct ControlClient {
    stream: UnixStream,
    decoder: Decoder,
    received: VecDeque<OwnedFd>,
    peer: Hello,
}

impl ControlClient {
    /// Connects to the socket in this directory and greets.
    ///
    /// # Errors
    /// Where nobody listens or answers.
    pub fn connect(directory: &Path) -> Result<Self, ControlError> {
        let path = directory.join(SOCKET_NAME);
        let connect = |cause| ControlError::Connect {
            path: path.clone(),
            cause,
        };
        // A socket's address has room for 108 bytes, a path doesn't know that.
        let dir = File::open(directory).map_err(connect)?;
        let short = format!("/proc/self/fd/{}/{SOCKET_NAME}", dir.as_fd().as_raw_fd());
        let stream = UnixStream::connect(short).map_err(connect)?;
        stream
            .set_read_timeout(Some(ANSWER))
            .map_err(ControlError::Talk)?;
        stream
            .set_write_timeout(Some(ANSWER))
            .map_err(ControlError::Talk)?;
        let unknown = Hello {
            version: 0,
            program: String::new(),
        };
        let mut client = Self {
            stream,
            decoder: Decoder::default(),
            received: VecDeque::new(),
            peer: unknown,
        };
        let program = concat!("holdall ", env!("CARGO_PKG_VERSION")).to_owned();
        client.send(
            &frame::encode(&Hello {
                version: PROTOCOL_VERSION,
                program,
            })?,
            &[],
        )?;
        client.peer = client.receive()?;
        Ok(client)
    }

    /// How the init introduced itself.
    #[must_use]
    pub fn peer(&self) -> &Hello {
        &self.peer
    }

    /// The box and its services.
    ///
    /// # Errors
    /// Where init doesn't answer.
    pub fn status(&mut self) -> Result<Status, ControlError> {
        let mut status = self.page(&Request::Status)?;
        while let Some(from) = status.more {
            status.append(self.page(&Request::MoreStatus { from })?);
        }
        Ok(status)
    }

    fn page(&mut self, request: &Request) -> Result<Status, ControlError> {
        match self.ask(request)? {
            Response::Status(status) => Ok(status),
            other => Err(unexpected(other)),
        }
    }

    /// Brings services up (all where none is named) and waits until they are.
    ///
    /// # Errors
    /// Where init refuses, or one fails.
    pub fn start(&mut self, services: &[ServiceName]) -> Result<(), ControlError> {
        self.patiently(&Request::Start {
            services: services.to_vec(),
        })
    }

    /// Takes services down (all where none is named) and waits until they are.
    ///
    /// # Errors
    /// Where init refuses.
    pub fn stop(&mut self, services: &[ServiceName]) -> Result<(), ControlError> {
        self.patiently(&Request::Stop {
            services: services.to_vec(),
        })
    }

    /// Stops services and starts them again; their dependants stay up.
    ///
    /// # Errors
    /// Where init refuses, or one fails.
    pub fn restart(&mut self, services: &[ServiceName]) -> Result<(), ControlError> {
        self.patiently(&Request::Restart {
            services: services.to_vec(),
        })
    }

    /// Signals the main process of each service.
    ///
    /// # Errors
    /// Where init refuses.
    pub fn signal(&mut self, services: &[ServiceName], signal: Signal) -> Result<(), ControlError> {
        let services = services.to_vec();
        done(self.ask(&Request::Signal { services, signal })?)
    }

    /// Whether the box is healthy, and if not, why.
    ///
    /// # Errors
    /// Where init doesn't answer.
    pub fn health(&mut self, kind: HealthKind) -> Result<Result<(), String>, ControlError> {
        match self.ask(&Request::Health { kind })? {
            Response::Health { healthy: true, .. } => Ok(Ok(())),
            Response::Health {
                healthy: false,
                reason,
            } => Ok(Err(reason)),
            other => Err(unexpected(other)),
        }
    }

    /// The init's release and protocol.
    ///
    /// # Errors
    /// Where init doesn't answer.
    pub fn version(&mut self) -> Result<(String, u32), ControlError> {
        match self.ask(&Request::Version)? {
            Response::Version { release, protocol } => Ok((release, protocol)),
            other => Err(unexpected(other)),
        }
    }

    /// Runs a program. Without a terminal `stdio` becomes its standard input,
    /// output and error; with one, its master comes back.
    ///
    /// # Errors
    /// Where init refuses, or the program can't be executed.
    pub(crate) fn exec(
        mut self,
        exec: Exec,
        stdio: &[BorrowedFd<'_>],
    ) -> Result<Executing, ControlError> {
        let tty = exec.tty.is_some();
        self.send(&frame::encode(&Request::Exec(exec))?, stdio)?;
        match self.receive()? {
            Response::Started { .. } => {}
            other => return Err(unexpected(other)),
        }
        let master = if tty {
            Some(self.received.pop_front().ok_or(ControlError::Unexpected)?)
        } else {
            None
        };
        self.stream
            .set_nonblocking(true)
            .map_err(ControlError::Talk)?;
        Ok(Executing {
            client: self,
            master,
        })
    }

    /// Asks for what may take as long as services take.
    fn patiently(&mut self, request: &Request) -> Result<(), ControlError> {
        self.send(&frame::encode(request)?, &[])?;
        self.stream
            .set_read_timeout(None)
            .map_err(ControlError::Talk)?;
        let answer = self.receive();
        self.stream
            .set_read_timeout(Some(ANSWER))
            .map_err(ControlError::Talk)?;
        done(answer?)
    }

    fn ask(&mut self, request: &Request) -> Result<Response, ControlError> {
        self.send(&frame::encode(request)?, &[])?;
        self.receive()
    }

    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ControlError> {
        let mut sent = 0;
        let mut fds = fds;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match sys::send_with_fds(self.stream.as_fd(), rest, fds) {
                // The descriptors go with the first byte.
                Ok(count) => (sent, fds) = (sent + count, &[]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(ControlError::Hangs),
                Err(errno) => return Err(ControlError::Talk(errno.into())),
            }
        }
        Ok(())
    }

    fn receive<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, ControlError> {
        loop {
            if let Some(message) = self.decoder.next()? {
                return Ok(message);
            }
            if !self.fill()? {
                return Err(ControlError::Hangs);
            }
        }
    }

    /// Reads once; `false` when there is nothing to read now.
    fn fill(&mut self) -> Result<bool, ControlError> {
        let mut buffer = [0; 4096];
        loop {
            match sys::receive_with_fds(self.stream.as_fd(), &mut buffer) {
                Ok((0, _)) => return Err(ControlError::Closed),
                Ok((count, fds)) => {
                    self.received.extend(fds);
                    self.decoder.push(buffer.get(..count).unwrap_or_default());
                    return Ok(true);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(false),
                Err(errno) => return Err(ControlError::Talk(errno.into())),
            }
        }
    }
}

/// A program of [`ControlClient::exec`] under way. Poll it, and read its end
/// with [`Executing::poll_exit`].
#[derive(Debug)]
pub(crate) struct Executing {
    client: ControlClient,
    /// The master of its terminal.
    pub(crate) master: Option<OwnedFd>,
}

impl AsFd for Executing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.stream.as_fd()
    }
}

impl Executing {
    /// Its exit code, once it has ended.
    pub(crate) fn poll_exit(&mut self) -> Result<Option<u8>, ControlError> {
        loop {
            if let Some(response) = self.client.decoder.next()? {
                return match response {
                    Response::Exited { code } => Ok(Some(code)),
                    other => Err(unexpected(other)),
                };
            }
            if !self.client.fill()? {
                return Ok(None);
            }
        }
    }

    /// Signals its process group.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), ControlError> {
        self.client
            .send(&frame::encode(&Request::ExecSignal { signal })?, &[])
    }
}

fn done(response: Response) -> Result<(), ControlError> {
    match response {
        Response::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// An answer that isn't the expected one: most often a refusal.
fn unexpected(response: Response) -> ControlError {
    match response {
        Response::Error { kind, message } => ControlError::Refused { kind, message },
        Response::Done
        | Response::Status(_)
        | Response::Changes { .. }
        | Response::Health { .. }
        | Response::Log(_)
        | Response::Event(_)
        | Response::Missed { .. }
        | Response::Started { .. }
        | Response::Exited { .. }
        | Response::Version { .. } => ControlError::Unexpected,
    }
}

#[cfg(test)]
mod tests;
