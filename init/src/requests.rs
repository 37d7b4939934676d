//! What clients ask, answered.

use std::os::fd::OwnedFd;

use holdall_protocol::control::{ErrorKind, Exec, Request, Response};
use holdall_protocol::log::{LogRecord, Stream};
use holdall_protocol::{PROTOCOL_VERSION, ServiceName, Signal};
use holdall_supervise::{Command, Event, ServiceId};

use crate::control::client::{Authority, Reading, State};
use crate::kill::signal_group;
use crate::lineage::Marks;
use crate::pid1::{Pid1, Role};
use crate::{exec, sys};

/// Bytes of log that wait for one reader; it gets more when it has taken them.
const READ_AHEAD: usize = 32 * 1024;

impl Pid1 {
    /// Answers whoever has sent a whole request, each in its turn.
    pub(crate) fn requests(&mut self) {
        for id in self.control.unfinished() {
            let mut turn = 0;
            while let Some(request) = self.control.next_request(id, turn) {
                turn += 1;
                self.request(id, request);
            }
            let gone = self.control.settle(&self.poll, id, self.now);
            self.client_gone(gone);
        }
    }

    /// Sends an answer on its way.
    pub(crate) fn answer(&mut self, id: u64, response: &Response, descriptor: Option<OwnedFd>) {
        self.control.respond(id, response, descriptor);
        let gone = self.control.settle(&self.poll, id, self.now);
        self.client_gone(gone);
    }

    /// A client hung up. What it asked for goes on.
    pub(crate) fn client_gone(&mut self, state: Option<State>) {
        if let Some(State::Waiting(request)) = state {
            self.event(Event::Abandoned { request });
        }
    }

    fn refuse(&mut self, id: u64, kind: ErrorKind, message: impl Into<String>) {
        self.answer(
            id,
            &Response::Error {
                kind,
                message: message.into(),
            },
            None,
        );
    }

    fn request(&mut self, id: u64, request: Request) {
        let Some(client) = self.control.get_mut(id) else {
            return;
        };
        let descriptors = std::mem::take(&mut client.descriptors);
        let may = client.authority;
        let waits_for_program = matches!(client.state, State::Exec(_));
        let reads = matches!(
            request,
            Request::Status | Request::Health { .. } | Request::Version
        );
        if may == Authority::Read && !reads {
            let message = "only root and the user that init runs as may ask that";
            return self.refuse(id, ErrorKind::Denied, message);
        }
        if waits_for_program && !matches!(request, Request::ExecSignal { .. }) {
            let client = self.control.get_mut(id);
            let message = "the program of this connection still runs";
            client
                .into_iter()
                .for_each(|client| client.refuse(ErrorKind::Malformed, message));
            return;
        }
        match request {
            Request::Status => {
                let status = self.supervisor.status(self.now);
                self.answer(id, &Response::Status(status), None);
            }
            Request::Health { kind } => {
                let health = self.supervisor.health(kind);
                let healthy = health.is_ok();
                let reason = health.err().unwrap_or_default();
                self.answer(id, &Response::Health { healthy, reason }, None);
            }
            Request::Version => {
                let release = env!("CARGO_PKG_VERSION").to_owned();
                let version = Response::Version {
                    release,
                    protocol: PROTOCOL_VERSION,
                };
                self.answer(id, &version, None);
            }
            Request::Start { services } => self.command(id, Command::Start, services),
            Request::Stop { services } => self.command(id, Command::Stop, services),
            Request::Restart { services } => self.command(id, Command::Restart, services),
            Request::Reload { services, dry_run } if services.is_empty() => {
                let outcome = self.reload(dry_run);
                self.answer_changes(id, outcome);
            }
            Request::Reload { services, .. } => self.command(id, Command::Reload, services),
            Request::Scale { service, instances } => {
                let outcome = self.scale(&service, instances);
                self.answer_changes(id, outcome);
            }
            Request::Signal { services, signal } => self.signal(id, &services, signal),
            Request::Logs {
                services,
                tail,
                follow,
            } => self.logs(id, &services, tail, follow),
            Request::Exec(exec) => self.exec(id, &exec, &descriptors),
            Request::ExecSignal { signal } => self.exec_signal(id, signal),
        }
    }

    fn command(&mut self, id: u64, command: Command, services: Vec<ServiceName>) {
        let request = self.number();
        if let Some(client) = self.control.get_mut(id) {
            client.state = State::Waiting(request);
        }
        self.event(Event::Command {
            request,
            command,
            services,
        });
    }

    /// The services of these names, or the answer that one isn't there.
    fn ids(&self, names: &[ServiceName]) -> Result<Vec<ServiceId>, String> {
        self.supervisor.named(names)
    }

    fn signal(&mut self, id: u64, names: &[ServiceName], signal: Signal) {
        let services = match self.ids(names) {
            Ok(services) => services,
            Err(message) => return self.refuse(id, ErrorKind::UnknownService, message),
        };
        let runs = |service: &&ServiceId| {
            let instance = self.instances.get(service.index());
            instance.is_some_and(|instance| instance.pid.is_some())
        };
        if let Some(down) = services.iter().find(|service| !runs(service)) {
            let name = self
                .service(*down)
                .map_or("?", |service| service.name.as_str());
            let message = format!("{name} does not run, and nothing was sent");
            return self.refuse(id, ErrorKind::Failed, message);
        }
        for service in services {
            if let Some(pid) = self.instance(service).and_then(|instance| instance.pid) {
                // It is not reaped, so the number is its own.
                let _ = sys::kill(pid, signal);
            }
        }
        self.answer(id, &Response::Done, None);
    }

    fn logs(&mut self, id: u64, names: &[ServiceName], tail: Option<u32>, follow: bool) {
        let services = match self.ids(names) {
            Ok(services) => services,
            Err(message) => return self.refuse(id, ErrorKind::UnknownService, message),
        };
        let ring = self.log.ring();
        let wanted = |service: Option<ServiceId>| {
            services.is_empty() || service.is_some_and(|service| services.contains(&service))
        };
        let next = match tail.and_then(|count| usize::try_from(count).ok()) {
            Some(count) => ring.tail(count, |origin| wanted(origin.service)),
            None => ring.first(),
        };
        let end = (!follow).then(|| ring.end());
        if let Some(client) = self.control.get_mut(id) {
            client.state = State::Reading(Reading {
                next,
                end,
                services,
            });
        }
        self.feed(id);
    }

    /// New lines to those that read the log.
    pub(crate) fn feed_readers(&mut self) {
        for id in self.control.readers() {
            self.feed(id);
        }
    }

    fn feed(&mut self, id: u64) {
        let Some(client) = self.control.get_mut(id) else {
            return;
        };
        let State::Reading(mut reading) = client.state.clone() else {
            return;
        };
        let ring = self.log.ring();
        let missed = ring.first().saturating_sub(reading.next);
        if missed > 0 {
            reading.next = ring.first();
            client.respond(&Response::Log(missed_lines(missed)), None);
        }
        let end = reading.end.unwrap_or_else(|| ring.end()).min(ring.end());
        while reading.next < end && client.waiting() < READ_AHEAD {
            let service = ring.origin(reading.next).and_then(|origin| origin.service);
            let all = reading.services.is_empty();
            if all || service.is_some_and(|service| reading.services.contains(&service)) {
                for record in self
                    .log
                    .record(reading.next)
                    .into_iter()
                    .flat_map(in_frames)
                {
                    client.respond(&Response::Log(record), None);
                }
            }
            reading.next += 1;
        }
        if reading.end.is_some_and(|end| reading.next >= end) {
            client.respond(&Response::Done, None);
        } else {
            client.state = State::Reading(reading);
        }
        if client.waiting() > 0 {
            let gone = self.control.settle(&self.poll, id, self.now);
            self.client_gone(gone);
        }
    }

    fn exec(&mut self, id: u64, request: &Exec, descriptors: &[OwnedFd]) {
        if self.farewell.is_some() || self.supervisor.status(self.now).stopping {
            return self.refuse(id, ErrorKind::ShuttingDown, "the box is stopping");
        }
        let mark = self.marks.as_mut().map(Marks::next);
        match exec::start(request, descriptors, &self.child_env, mark) {
            Ok(running) => {
                let number = self.number();
                let (pid, terminal) = (running.child.pid, running.master.is_some());
                self.children.insert(pid, Role::Exec { number, terminal });
                if let Some(client) = self.control.get_mut(id) {
                    client.state = State::Exec(number);
                }
                let started = Response::Started {
                    pid: pid.unsigned_abs(),
                };
                self.answer(id, &started, running.master);
            }
            Err(error) => self.refuse(id, exec::kind(&error), error.to_string()),
        }
    }

    fn exec_signal(&mut self, id: u64, signal: Signal) {
        let state = self.control.get(id).map(|client| client.state.clone());
        // After its end this is late, not wrong.
        let Some(State::Exec(number)) = state else {
            return;
        };
        let running = self
            .children
            .iter()
            .find(|(_, role)| matches!(role, Role::Exec { number: found, .. } if *found == number));
        if let Some((pid, _)) = running {
            signal_group(*pid, signal);
        }
    }
}

fn missed_lines(count: u64) -> LogRecord {
    LogRecord {
        time: crate::clock::wall_micros(),
        service: None,
        stream: Stream::Init,
        text: format!("{count} lines are gone: they were not read in time"),
        partial: false,
    }
}

/// A record in as many pieces as it needs for each to fit a frame, even if all
/// of it is escapes.
fn in_frames(record: LogRecord) -> Vec<LogRecord> {
    use holdall_protocol::frame::MAX_BODY;
    // One byte of text is six of JSON at worst; the rest of it is short.
    let limit = (MAX_BODY - 1024) / 6;
    if record.text.len() <= limit {
        return vec![record];
    }
    let (mut pieces, mut rest) = (Vec::new(), record.text.as_str());
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(limit));
        let partial = record.partial || !tail.is_empty();
        pieces.push(LogRecord {
            text: piece.to_owned(),
            partial,
            ..record.clone()
        });
        rest = tail;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_protocol::frame::encode;

    #[test]
    fn every_line_fits_its_frames_whatever_is_in_it() {
        let text = "\u{1}\u{fffd}".repeat(12_000);
        let record = LogRecord {
            text: text.clone(),
            ..missed_lines(1)
        };
        let pieces = in_frames(record);
        let whole: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(whole, text);
        assert_eq!(pieces.last().map(|piece| piece.partial), Some(false));
        for piece in pieces {
            assert!(encode(&Response::Log(piece)).is_ok());
        }
    }
}
