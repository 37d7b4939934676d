//! What clients wait for.

use std::collections::{BTreeMap, BTreeSet};

use crate::ServiceId;

/// What a client wants of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Ready (a oneshot: done).
    Up,
    /// No process left.
    Down,
    /// Told to read its files again.
    Told,
}

/// The requests that are not answered yet, by a serial number of our own: the
/// shell's numbers are unique only among honest shells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    next: u64,
    open: BTreeMap<u64, Request>,
    watched: BTreeSet<(ServiceId, u64)>,
}

#[derive(Debug, Clone)]
struct Request {
    number: u64,
    goal: Goal,
    missing: BTreeSet<ServiceId>,
}

impl Requests {
    /// Opens a request that is met once `services` all are.
    pub(crate) fn open(&mut self, number: u64, goal: Goal, services: &[ServiceId]) -> u64 {
        let serial = self.next;
        self.next += 1;
        self.watched.extend(services.iter().map(|id| (*id, serial)));
        let missing = services.iter().copied().collect();
        self.open.insert(
            serial,
            Request {
                number,
                goal,
                missing,
            },
        );
        serial
    }

    /// Whether nobody waits for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Who waits for a service, and for what.
    pub(crate) fn watching(&self, id: ServiceId) -> Vec<(u64, Goal)> {
        let watchers = self
            .watched
            .range((id, 0)..=(id, u64::MAX))
            .map(|(_, serial)| *serial);
        watchers
            .filter_map(|serial| Some((serial, self.open.get(&serial)?.goal)))
            .collect()
    }

    /// One service is as a request wants it. If that was the last of them, the
    /// request is closed: its number.
    pub(crate) fn met(&mut self, serial: u64, id: ServiceId) -> Option<u64> {
        let request = self.open.get_mut(&serial)?;
        request.missing.remove(&id);
        self.watched.remove(&(id, serial));
        self.close_if_met(serial)
    }

    /// Closes a request that has nothing left to wait for: its number.
    pub(crate) fn close_if_met(&mut self, serial: u64) -> Option<u64> {
        let met = self
            .open
            .get(&serial)
            .is_some_and(|request| request.missing.is_empty());
        if met { self.close(serial) } else { None }
    }

    /// Closes a request: its number.
    pub(crate) fn close(&mut self, serial: u64) -> Option<u64> {
        let request = self.open.remove(&serial)?;
        for id in request.missing {
            self.watched.remove(&(id, serial));
        }
        Some(request.number)
    }

    /// Closes every request of a goal: their numbers.
    pub(crate) fn close_all(&mut self, goal: Goal) -> Vec<u64> {
        let open = self.open.iter().filter(|(_, request)| request.goal == goal);
        let serials: Vec<u64> = open.map(|(serial, _)| *serial).collect();
        serials
            .into_iter()
            .filter_map(|serial| self.close(serial))
            .collect()
    }

    /// Forgets a request whose client is gone.
    pub(crate) fn abandon(&mut self, number: u64) {
        let open = self
            .open
            .iter()
            .filter(|(_, request)| request.number == number);
        let serials: Vec<u64> = open.map(|(serial, _)| *serial).collect();
        for serial in serials {
            self.close(serial);
        }
    }
}
