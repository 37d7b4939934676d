//! One connection to the init that runs: hellos, questions, answers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use holdall_protocol::PROTOCOL_VERSION;
use holdall_protocol::control::{Hello, Request, Response, Status};
use holdall_protocol::frame::{self, Decoder, FrameError};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::boot;

/// Why init could not be asked. All end a verb with code 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(
        "no init answers here (looked in {looked})\nhelp: `/init` starts one; `--run-dir DIR` looks elsewhere"
    )]
    NotRunning { looked: String },
    #[error("cannot talk to init")]
    Connection(#[source] Errno),
    #[error("init does not answer")]
    Hangs,
    #[error("init hung up")]
    HungUp,
    #[error("cannot understand init")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Refused(String),
    #[error("init answered something else: {0}")]
    Unexpected(String),
    #[error("cannot write")]
    Output(#[from] io::Error),
}

impl ClientError {
    /// Who read our output has had enough, as `head` has: no error to speak of.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// An init that doesn't answer a question in as many seconds hangs.
const ANSWER_S: i64 = 10;

/// A connection after the hellos.
pub(crate) struct Connection {
    fd: OwnedFd,
    decoder: Decoder,
    /// Answers that are due. One that came too late is not taken for that of
    /// the next question.
    owed: usize,
}

impl Connection {
    /// To the init whose socket lies in a run directory.
    pub(crate) fn open(run_dir: Option<&Path>) -> Result<Self, ClientError> {
        let fd = boot::connect(run_dir).ok_or_else(|| {
            let looked = boot::run_dirs(run_dir);
            let looked: Vec<_> = looked.iter().map(|dir| dir.display().to_string()).collect();
            ClientError::NotRunning {
                looked: looked.join(", "),
            }
        })?;
        Self::over(fd, TimeVal::seconds(ANSWER_S))
    }

    /// Over a socket, with an answer each in this time.
    pub(crate) fn over(fd: OwnedFd, within: TimeVal) -> Result<Self, ClientError> {
        setsockopt(&fd, sockopt::ReceiveTimeout, &within).map_err(ClientError::Connection)?;
        let mut connection = Self {
            fd,
            decoder: Decoder::default(),
            owed: 0,
        };
        let program = concat!("holdall-init ", env!("CARGO_PKG_VERSION")).to_owned();
        connection.send(&Hello {
            version: PROTOCOL_VERSION,
            program,
        })?;
        connection.receive::<Hello>()?;
        Ok(connection)
    }

    pub(crate) fn send<T: Serialize>(&mut self, message: &T) -> Result<(), ClientError> {
        let bytes = frame::encode(message)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match unistd::write(&self.fd, rest) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or(&[]),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(ClientError::Connection(errno)),
            }
        }
        Ok(())
    }

    fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(message) = self.decoder.next()? {
                return Ok(message);
            }
            match unistd::read(self.fd.as_fd(), &mut buffer) {
                Ok(0) => return Err(ClientError::HungUp),
                Ok(read) => self.decoder.push(buffer.get(..read).unwrap_or(&[])),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(ClientError::Hangs),
                Err(errno) => return Err(ClientError::Connection(errno)),
            }
        }
    }

    /// Waits for answers as long as they take: they may be the end of work.
    pub(crate) fn be_patient(&self) -> Result<(), ClientError> {
        setsockopt(&self.fd, sockopt::ReceiveTimeout, &TimeVal::seconds(0))
            .map_err(ClientError::Connection)
    }

    /// Sends a request and gives back its first answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.send(request)?;
        self.owed += 1;
        loop {
            let response = self.receive()?;
            self.owed -= 1;
            if self.owed == 0 {
                return refused(response);
            }
        }
    }

    /// The next of several answers.
    pub(crate) fn answer(&mut self) -> Result<Response, ClientError> {
        refused(self.receive()?)
    }

    pub(crate) fn done(&mut self, request: &Request) -> Result<(), ClientError> {
        self.be_patient()?;
        match self.ask(request)? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The whole status, page by page.
    pub(crate) fn status(&mut self) -> Result<Status, ClientError> {
        let mut status = self.page(&Request::Status)?;
        while let Some(from) = status.more {
            status.append(self.page(&Request::MoreStatus { from })?);
        }
        Ok(status)
    }

    fn page(&mut self, request: &Request) -> Result<Status, ClientError> {
        match self.ask(request)? {
            Response::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn refused(response: Response) -> Result<Response, ClientError> {
    match response {
        Response::Error { message, .. } => Err(ClientError::Refused(message)),
        response => Ok(response),
    }
}

pub(crate) fn unexpected(response: &Response) -> ClientError {
    ClientError::Unexpected(serde_json::to_string(response).unwrap_or_default())
}
