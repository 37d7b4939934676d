//! `/init VERB`: talking to the init that runs.

pub(crate) mod connection;

use std::io::{Write, stdout};
use std::path::Path;

use holdall_protocol::control::{HealthKind, Request, Response, ServiceStatus};
use holdall_protocol::event::EventRecord;
use holdall_protocol::frame::FrameError;
use holdall_protocol::log::LogRecord;
use holdall_protocol::{Moment, ServiceName};
use serde::Serialize;

use crate::args::{Since, Verb};
use crate::log::form::{about, prefixed};
use crate::log::prefix::{prefix_of, width};
use crate::notes;
use connection::{ClientError, Connection, unexpected};

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
        Verb::Events {
            services,
            last,
            follow,
        } => events(&mut init, services, last, follow, &mut out)?,
        Verb::Start(services) => init.done(&Request::Start { services })?,
        Verb::Stop(services) => init.done(&Request::Stop { services })?,
        Verb::Restart(services) => init.done(&Request::Restart { services })?,
        Verb::Signal(signal, services) => init.done(&Request::Signal { services, signal })?,
        Verb::Reload { services, dry_run } => {
            let of_the_file = services.is_empty();
            let request = Request::Reload { services, dry_run };
            if of_the_file {
                changes(&mut init, &request, &mut out)?;
            } else {
                init.done(&request)?;
            }
        }
        Verb::Scale(counts) => {
            for (service, instances) in counts {
                let request = Request::Scale { service, instances };
                changes(&mut init, &request, &mut out)?;
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

/// Sends a request that changes the services; shows what it changed.
fn changes(
    init: &mut Connection,
    request: &Request,
    out: &mut Output<impl Write>,
) -> Result<(), ClientError> {
    let answer = init.ask(request)?;
    let Response::Changes { changes } = &answer else {
        return Err(unexpected(&answer));
    };
    out.say(&answer, || match changes.as_slice() {
        [] => vec!["nothing changes".to_owned()],
        changes => changes.to_vec(),
    })
}

/// Lines of a service's log, and events, that `why` shows.
const LAST_WORDS: u32 = 10;

/// All that `why` says, as JSON.
#[derive(Serialize)]
struct Why {
    #[serde(flatten)]
    service: ServiceStatus,
    events: Vec<EventRecord>,
    log: Vec<LogRecord>,
}

/// Why a service is as it is: its state, how it came to it, and its last words.
fn why(
    init: &mut Connection,
    name: &ServiceName,
    out: &mut Output<impl Write>,
) -> Result<(), ClientError> {
    let found = init.status()?.services.into_iter();
    let Some(service) = found.into_iter().find(|found| found.name == *name) else {
        let message = format!("no service is named `{name}`");
        return Err(ClientError::Refused(message));
    };
    let services = || vec![name.clone()];
    let (mut events, mut log) = (Vec::new(), Vec::new());
    let newest = Request::Events {
        services: services(),
        last: Some(LAST_WORDS),
        follow: false,
    };
    stream(init, &newest, |answer| {
        if let Response::Event(event) = answer {
            events.push(event);
        }
        Ok(())
    })?;
    let newest = Request::Logs {
        services: services(),
        tail: Some(LAST_WORDS),
        since: None,
        follow: false,
    };
    stream(init, &newest, |answer| {
        if let Response::Log(record) = answer {
            log.push(record);
        }
        Ok(())
    })?;
    let why = Why {
        service,
        events,
        log,
    };
    let width = width(&services());
    out.say(&why, || {
        let mut lines = notes::why(&why.service);
        lines.push("how it came to that:".to_owned());
        lines.extend(why.events.iter().map(|event| format!("  {event}")));
        lines.push("its newest lines:".to_owned());
        let text = |record| {
            String::from_utf8_lossy(&line(width, false, record))
                .trim_end()
                .to_owned()
        };
        lines.extend(why.log.iter().map(text));
        lines
    })
}

/// Asks for what comes piece by piece, and takes each.
fn stream(
    init: &mut Connection,
    request: &Request,
    mut take: impl FnMut(Response) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    init.be_patient()?;
    init.send(request)?;
    loop {
        match init.answer()? {
            Response::Done => return Ok(()),
            piece if !piece.is_last() => take(piece)?,
            other => return Err(unexpected(&other)),
        }
    }
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
    stream(init, &request, |answer| {
        match answer {
            Response::Log(record) if out.json => out.say(&record, Vec::new)?,
            Response::Log(record) => out.out.write_all(&line(width, timestamps, &record))?,
            other => return Err(unexpected(&other)),
        }
        Ok(out.out.flush()?)
    })
}

/// Changes of states as they come.
fn events(
    init: &mut Connection,
    services: Vec<ServiceName>,
    last: Option<u32>,
    follow: bool,
    out: &mut Output<impl Write>,
) -> Result<(), ClientError> {
    let request = Request::Events {
        services,
        last,
        follow,
    };
    stream(init, &request, |answer| {
        match &answer {
            Response::Event(event) => out.say(event, || vec![event.to_string()])?,
            Response::Missed { events } => {
                let words = format!("{events} events are gone: they were not read in time");
                out.say(&Missed { missed: *events }, || vec![words])?;
            }
            other => return Err(unexpected(other)),
        }
        Ok(out.out.flush()?)
    })
}

/// What stands in a stream of events where some are missing.
#[derive(Serialize)]
struct Missed {
    missed: u64,
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
