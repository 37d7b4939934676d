//! What happens to services, for who follows it: a ring of the newest changes,
//! and its readers, each of which gets as much as it takes.

use std::collections::VecDeque;

use holdall_protocol::Moment;
use holdall_protocol::control::{ErrorKind, Exit, Response, State as Reported};
use holdall_protocol::event::EventRecord;
use holdall_protocol::{ServiceName, control};
use holdall_supervise::{Changed, ServiceId};

use crate::control::client::State;
use crate::pid1::Pid1;

/// Events kept: the boot of some hundred services. Each is some 60 bytes, and
/// its reason.
const MAX_EVENTS: usize = 2048;

/// The longest reason that is kept, in bytes; a status has the whole.
const MAX_REASON: usize = 200;

/// Bytes that wait for one reader; it gets more when it has taken them.
const READ_AHEAD: usize = 8 * 1024;

/// Readers that are fed in one turn of the loop, so that hundreds of them delay
/// nobody; the others have their turn in the next.
const FED_AT_ONCE: usize = 32;

struct Kept {
    /// Microseconds since 1970.
    time: u64,
    service: ServiceId,
    from: Reported,
    to: Reported,
    reason: Option<Box<str>>,
    exit: Option<Exit>,
    out_of_memory: bool,
}

/// The newest events. Each has a number, which only grows.
#[derive(Default)]
pub(crate) struct Events {
    kept: VecDeque<Kept>,
    /// The number of the first that is kept.
    first: u64,
    /// The reader that was fed last: the next goes first.
    fed: u64,
}

impl Events {
    fn push(&mut self, time: u64, changed: Changed) {
        if self.kept.len() >= MAX_EVENTS {
            self.kept.pop_front();
            self.first += 1;
        }
        let Changed {
            service,
            from,
            to,
            reason,
            exit,
            out_of_memory,
        } = changed;
        let reason = reason.map(|mut reason| {
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
            reason.into_boxed_str()
        });
        self.kept.push_back(Kept {
            time,
            service,
            from,
            to,
            reason,
            exit,
            out_of_memory,
        });
    }

    /// The number that the next one will have.
    fn end(&self) -> u64 {
        self.first + u64::try_from(self.kept.len()).unwrap_or(0)
    }

    fn get(&self, number: u64) -> Option<&Kept> {
        let at = number.checked_sub(self.first)?;
        self.kept.get(usize::try_from(at).ok()?)
    }

    /// Where to begin so that `count` for which `wanted` holds are left.
    fn tail(&self, count: u32, wanted: impl Fn(ServiceId) -> bool) -> u64 {
        let (mut left, mut number) = (count, self.end());
        for kept in self.kept.iter().rev() {
            if left == 0 {
                break;
            }
            number -= 1;
            left -= u32::from(wanted(kept.service));
        }
        number
    }
}

/// A reader of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watching {
    /// The number of its next event.
    next: u64,
    /// Up to this one; for ever where none.
    end: Option<u64>,
    /// Those of these; all where empty.
    services: Vec<ServiceId>,
}

impl Watching {
    fn wants(&self, service: ServiceId) -> bool {
        self.services.is_empty() || self.services.contains(&service)
    }
}

impl Pid1 {
    /// A service has changed its state.
    pub(crate) fn changed(&mut self, changed: Changed) {
        self.events.push(crate::clock::wall_micros(), changed);
    }

    /// Answers a client that wants events.
    pub(crate) fn watch(
        &mut self,
        id: u64,
        names: &[ServiceName],
        last: Option<u32>,
        follow: bool,
    ) {
        let services = match self.supervisor.named(names) {
            Ok(services) => services,
            Err(message) => {
                let kind = ErrorKind::UnknownService;
                let refusal = Response::Error { kind, message };
                return self.answer(id, &refusal, None);
            }
        };
        let end = self.events.end();
        let mut watching = Watching {
            next: end,
            end: (!follow).then_some(end),
            services,
        };
        let wants = |service| watching.wants(service);
        watching.next = self.events.tail(last.unwrap_or(0), wants);
        if let Some(client) = self.control.get_mut(id) {
            client.state = State::Watching(watching);
        }
        self.feed_events_to(id);
    }

    /// New events to those that follow them, a few readers at a time.
    pub(crate) fn feed_events(&mut self) {
        for id in self.hungry(FED_AT_ONCE) {
            self.events.fed = id;
            self.feed_events_to(id);
        }
    }

    /// Whether a reader is left for the next turn.
    pub(crate) fn has_hungry(&self) -> bool {
        !self.hungry(1).is_empty()
    }

    /// Readers that have taken everything and for whom there is more, the one
    /// after the last that was fed first.
    fn hungry(&self, most: usize) -> Vec<u64> {
        let end = self.events.end();
        let is_hungry = |state: &State| match state {
            State::Watching(watching) => watching.next < end,
            _ => false,
        };
        self.control.idle_after(self.events.fed, most, is_hungry)
    }

    fn feed_events_to(&mut self, id: u64) {
        let Some(client) = self.control.get_mut(id) else {
            return;
        };
        let State::Watching(mut watching) = client.state.clone() else {
            return;
        };
        let missed = self.events.first.saturating_sub(watching.next);
        if missed > 0 {
            watching.next = self.events.first;
            client.respond(&Response::Missed { events: missed }, None);
        }
        let end = watching.end.unwrap_or(u64::MAX).min(self.events.end());
        while watching.next < end && client.waiting() < READ_AHEAD {
            let kept = self.events.get(watching.next);
            if let Some(kept) = kept.filter(|kept| watching.wants(kept.service)) {
                let name = self.supervisor.service(kept.service).map(|s| &s.name);
                if let Some(name) = name {
                    let event = record(watching.next, kept, name);
                    client.respond(&Response::Event(event), None);
                }
            }
            watching.next += 1;
        }
        if watching.end.is_some_and(|end| watching.next >= end) {
            client.respond(&control::Response::Done, None);
        } else {
            client.state = State::Watching(watching);
        }
        if client.waiting() > 0 {
            let gone = self.control.settle(&self.poll, id, self.now);
            self.client_gone(gone);
        }
    }
}

fn record(number: u64, kept: &Kept, name: &ServiceName) -> EventRecord {
    EventRecord {
        number,
        time: Moment(kept.time),
        service: name.clone(),
        instance: name.number(),
        from: kept.from,
        to: kept.to,
        reason: kept.reason.as_deref().map(str::to_owned),
        exit: kept.exit,
        out_of_memory: kept.out_of_memory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(service: u32, reason: &str) -> Changed {
        Changed {
            service: ServiceId(service),
            from: Reported::Waiting,
            to: Reported::Starting,
            reason: Some(reason.to_owned()),
            exit: None,
            out_of_memory: false,
        }
    }

    #[test]
    fn the_newest_are_kept_under_their_numbers_with_bounded_reasons() {
        let mut events = Events::default();
        for number in 0..5000 {
            events.push(number, changed(1, &"ä".repeat(1000)));
        }
        assert_eq!(events.end(), 5000);
        assert_eq!(events.kept.len(), MAX_EVENTS);
        assert_eq!(events.get(4999).map(|kept| kept.time), Some(4999));
        assert!(events.get(100).is_none() && events.get(5000).is_none());
        let longest = events.kept.iter().filter_map(|kept| kept.reason.as_ref());
        assert!(longest.map(|reason| reason.len()).max() <= Some(MAX_REASON));
    }

    #[test]
    fn a_tail_counts_only_the_events_that_are_wanted() {
        let mut events = Events::default();
        for number in 0..10 {
            events.push(number.into(), changed(number % 2, "x"));
        }
        assert_eq!(events.tail(2, |service| service.0 == 0), 6);
        assert_eq!(events.tail(100, |_| true), 0);
        assert_eq!(events.tail(0, |_| true), 10);
    }
}
