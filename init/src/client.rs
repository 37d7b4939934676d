//! `/init VERB`: talking to the init that runs.

use std::io::{self, Write, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use holdall_protocol::control::{HealthKind, Hello, Request, Response, Status};
use holdall_protocol::frame::{self, Decoder, FrameError};
use holdall_protocol::log::LogRecord;
use holdall_protocol::{Moment, PROTOCOL_VERSION, ServiceName};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::{Since, Verb};
use crate::boot;
use crate::log::form::{about, prefixed};
use crate::log::prefix::{prefix_of, width};
use crate::notes;

/// Why a verb failed. All end with code 1.
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
struct Connection {
    fd: OwnedFd,
    decoder: Decoder,
}

impl Connection {
    fn open(run_dir: Option<&Path>) -> Result<Self, ClientError> {
        let fd = boot::connect(run_dir).ok_or_else(|| {
            let looked = boot::run_dirs(run_dir);
            let looked: Vec<_> = looked.iter().map(|dir| dir.display().to_string()).collect();
            ClientError::NotRunning {
                looked: looked.join(", "),
            }
        })?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_S))
            .map_err(ClientError::Connection)?;
        let mut connection = Self {
            fd,
            decoder: Decoder::default(),
        };
        let program = concat!("holdall-init ", env!("CARGO_PKG_VERSION")).to_owned();
        connection.send(&Hello {
            version: PROTOCOL_VERSION,
            program,
        })?;
        connection.receive::<Hello>()?;
        Ok(connection)
    }

    fn send<T: Serialize>(&mut self, message: &T) -> Result<(), ClientError> {
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
    fn be_patient(&self) -> Result<(), ClientError> {
        setsockopt(&self.fd, sockopt::ReceiveTimeout, &TimeVal::seconds(0))
            .map_err(ClientError::Connection)
    }

    /// Sends a request and gives back its first answer.
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.send(request)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Response, ClientError> {
        match self.receive()? {
            Response::Error { message, .. } => Err(ClientError::Refused(message)),
            response => Ok(response),
        }
    }

    fn done(&mut self, request: &Request) -> Result<(), ClientError> {
        self.be_patient()?;
        match self.ask(request)? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends a request that changes the services; shows what it changed.
    fn changes(
        &mut self,
        request: &Request,
        out: &mut Output<impl Write>,
    ) -> Result<(), ClientError> {
        let answer = self.ask(request)?;
        let Response::Changes { changes } = &answer else {
            return Err(unexpected(&answer));
        };
        out.say(&answer, || match changes.as_slice() {
            [] => vec!["nothing changes".to_owned()],
            changes => changes.to_vec(),
        })
    }

    fn status(&mut self) -> Result<Status, ClientError> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(response: &Response) -> ClientError {
    ClientError::Unexpected(serde_json::to_string(response).unwrap_or_default())
}

/// Does a verb; the exit code.
pub(crate) fn run(run_dir: Option<&Path>, json: bool, verb: Verb) -> Result<u8, ClientError> {
    let mut init = Connection::open(run_dir)?;
    let mut out = Output {
        out: stdout().lock(),
        json,
    };
    match verb {
        Verb::Ps => {
            let status = init.status()?;
            out.say(&status, || notes::table(&status))?;
        }
        Verb::Why(service) => why(&mut init, &service, &mut out)?,
        Verb::Logs {
            services,
            tail,
            since,
            timestamps,
            follow,
        } => {
            let request = Request::Logs {
                services,
                tail,
                since: since.map(micros),
                follow,
            };
            logs(&mut init, request, timestamps, &mut out)?;
        }
        Verb::Start(services) => init.done(&Request::Start { services })?,
        Verb::Stop(services) => init.done(&Request::Stop { services })?,
        Verb::Restart(services) => init.done(&Request::Restart { services })?,
        Verb::Signal(signal, services) => init.done(&Request::Signal { services, signal })?,
        Verb::Reload { services, dry_run } => {
            let of_the_file = services.is_empty();
            let request = Request::Reload { services, dry_run };
            if of_the_file {
                init.changes(&request, &mut out)?;
            } else {
                init.done(&request)?;
            }
        }
        Verb::Scale(counts) => {
            for (service, instances) in counts {
                init.changes(&Request::Scale { service, instances }, &mut out)?;
            }
        }
        Verb::Health(kind) => return health(&mut init, kind, &mut out),
        Verb::Version => match init.ask(&Request::Version)? {
            Response::Version { release, protocol } => {
                let version = Response::Version {
                    release: release.clone(),
                    protocol,
                };
                out.say(&version, || {
                    vec![format!("init of the box: {release} (protocol {protocol})")]
                })?;
            }
            other => return Err(unexpected(&other)),
        },
        Verb::Run { .. } | Verb::Check(_) | Verb::Help(_) => {}
    }
    Ok(0)
}

/// Where answers go, and in which form.
struct Output<W> {
    out: W,
    json: bool,
}

impl<W: Write> Output<W> {
    /// One answer: as JSON, or as lines for people.
    fn say(
        &mut self,
        answer: &impl Serialize,
        lines: impl FnOnce() -> Vec<String>,
    ) -> Result<(), ClientError> {
        if self.json {
            serde_json::to_writer(&mut self.out, answer).map_err(FrameError::Malformed)?;
            writeln!(self.out)?;
        } else {
            for line in lines() {
                writeln!(self.out, "{line}")?;
            }
        }
        Ok(())
    }
}

fn health(
    init: &mut Connection,
    kind: HealthKind,
    out: &mut Output<impl Write>,
) -> Result<u8, ClientError> {
    let answer = init.ask(&Request::Health { kind })?;
    let Response::Health { healthy, reason } = &answer else {
        return Err(unexpected(&answer));
    };
    let words = if *healthy { "healthy" } else { reason.as_str() };
    out.say(&answer, || vec![words.to_owned()])?;
    Ok(u8::from(!healthy))
}

/// Lines of a service's log that `why` shows.
const LAST_WORDS: u32 = 10;

/// Why a service is as it is: its state, and its last words.
fn why(
    init: &mut Connection,
    service: &ServiceName,
    out: &mut Output<impl Write>,
) -> Result<(), ClientError> {
    let status = init.status()?;
    let found = status
        .services
        .into_iter()
        .find(|found| found.name == *service);
    let Some(found) = found else {
        let message = format!("no service is named `{service}`");
        return Err(ClientError::Refused(message));
    };
    out.say(&found, || notes::why(&found))?;
    if out.json {
        return Ok(());
    }
    writeln!(out.out, "its newest lines:")?;
    let request = Request::Logs {
        services: vec![service.clone()],
        tail: Some(LAST_WORDS),
        since: None,
        follow: false,
    };
    logs(init, request, false, out)
}

/// From when on, in microseconds since 1970.
fn micros(since: Since) -> u64 {
    match since {
        Since::At(Moment(micros)) => micros,
        Since::Ago(span) => {
            let now = crate::clock::wall_micros();
            now.saturating_sub(span.0.saturating_mul(1000))
        }
    }
}

fn logs(
    init: &mut Connection,
    request: Request,
    timestamps: bool,
    out: &mut Output<impl Write>,
) -> Result<(), ClientError> {
    let names: Vec<ServiceName> = match &request {
        Request::Logs { services, .. } if !services.is_empty() => services.clone(),
        _ => {
            let services = init.status()?.services.into_iter();
            services.map(|service| service.name).collect()
        }
    };
    let width = width(&names);
    init.be_patient()?;
    init.send(&request)?;
    loop {
        match init.answer()? {
            Response::Log(record) if out.json => {
                serde_json::to_writer(&mut out.out, &record).map_err(FrameError::Malformed)?;
                writeln!(out.out)?;
            }
            Response::Log(record) => out.out.write_all(&line(width, timestamps, &record))?,
            Response::Done => return Ok(()),
            other => return Err(unexpected(&other)),
        }
        out.out.flush()?;
    }
}

fn line(width: usize, timestamps: bool, record: &LogRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(width + record.text.len() + 8);
    let LogRecord {
        time,
        service,
        stream,
        text,
        partial,
    } = record;
    if timestamps {
        out.extend_from_slice(format!("{} ", Moment(*time)).as_bytes());
    }
    let prefix = prefix_of(width, service.as_ref(), *stream);
    let about = about(service.as_ref(), *stream);
    prefixed(&mut out, &prefix, about, *partial, text.as_bytes());
    out
}
