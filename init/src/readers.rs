//! Clients that read the log.

use holdall_protocol::ServiceName;
use holdall_protocol::control::{ErrorKind, Response};
use holdall_protocol::log::{LogRecord, Stream};

use crate::control::client::{Reading, State};
use crate::log::ring::{Origin, Ring};
use crate::pid1::Pid1;

/// Bytes of log that wait for one reader; it gets more when it has taken them.
const READ_AHEAD: usize = 32 * 1024;

/// Which lines a reader wants, of those of the services that it names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// At most so many of those that are there.
    pub(crate) tail: Option<u32>,
    /// Only those of this time and later, in microseconds since 1970.
    pub(crate) since: Option<u64>,
    /// And every new one.
    pub(crate) follow: bool,
}

impl Reading {
    /// Whether these are lines of its services.
    fn is_of(&self, origin: &Origin) -> bool {
        let of_these = |service| self.services.contains(&service);
        self.services.is_empty() || origin.service.is_some_and(of_these)
    }

    fn wants(&self, origin: &Origin) -> bool {
        self.is_of(origin) && self.since.is_none_or(|since| origin.time >= since)
    }

    /// How many lines of its services are gone before it got them.
    fn missed(&self, ring: &Ring) -> u64 {
        if !ring.is_gone(self.next) {
            return 0;
        }
        let held = ring.held(self.next, |origin| self.is_of(origin));
        let pushed = ring.pushed(&self.services);
        pushed.saturating_sub(held + self.passed)
    }
}

impl Pid1 {
    /// Answers a client with the log.
    pub(crate) fn logs(&mut self, id: u64, names: &[ServiceName], part: Part) {
        let services = match self.ids(names) {
            Ok(services) => services,
            Err(message) => return self.refuse(id, ErrorKind::UnknownService, message),
        };
        let ring = self.log.ring();
        let mut reading = Reading {
            next: 0,
            end: (!part.follow).then(|| ring.end()),
            services,
            since: part.since,
            passed: 0,
        };
        let count = part
            .tail
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        reading.next = ring.tail(count.unwrap_or(usize::MAX), |origin| reading.wants(origin));
        let held = ring.held(reading.next, |origin| reading.is_of(origin));
        reading.passed = ring.pushed(&reading.services) - held;
        if let Some(client) = self.control.get_mut(id) {
            client.state = State::Reading(reading);
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
        let missed = reading.missed(ring);
        if missed > 0 {
            reading.passed += missed;
            client.respond(&Response::Log(missed_lines(missed)), None);
        }
        let end = reading.end.unwrap_or_else(|| ring.end()).min(ring.end());
        let (mut next, mut passed) = (end, 0);
        for line in ring.lines(reading.next, |origin| reading.is_of(origin)) {
            if line.number >= end || client.waiting() >= READ_AHEAD {
                next = line.number.min(end);
                break;
            }
            passed += 1;
            if reading.wants(&line.origin) {
                for record in in_frames(self.log.record(&line)) {
                    client.respond(&Response::Log(record), None);
                }
            }
        }
        reading.next = next;
        reading.passed += passed;
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
}

fn missed_lines(count: u64) -> LogRecord {
    let text = match count {
        1 => "1 line is gone: it was not read in time".to_owned(),
        _ => format!("{count} lines are gone: they were not read in time"),
    };
    LogRecord {
        time: crate::clock::wall_micros(),
        service: None,
        stream: Stream::Init,
        text,
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
