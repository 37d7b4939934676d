//! The one table of timers: at most one a service.

use std::collections::BTreeSet;

use crate::{ServiceId, Timestamp};

/// When each service wants to hear of the time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Timestamp, ServiceId)>,
    armed: Vec<Option<Timestamp>>,
}

impl Timers {
    /// No timer for any of `count` services.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            queue: BTreeSet::new(),
            armed: vec![None; count],
        }
    }

    /// Makes room for more services.
    pub(crate) fn grow(&mut self, count: usize) {
        self.armed.resize(count.max(self.armed.len()), None);
    }

    /// Replaces a service's timer.
    pub(crate) fn set(&mut self, id: ServiceId, at: Option<Timestamp>) {
        let Some(armed) = self.armed.get_mut(id.index()) else {
            return;
        };
        if *armed == at {
            return;
        }
        if let Some(old) = armed.take() {
            self.queue.remove(&(old, id));
        }
        *armed = at;
        self.queue.extend(at.map(|at| (at, id)));
    }

    /// A service's.
    pub(crate) fn of(&self, id: ServiceId) -> Option<Timestamp> {
        self.armed.get(id.index()).copied().flatten()
    }

    /// The earliest.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes out every timer that is due.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<ServiceId> {
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.queue.first().filter(|(at, _)| *at <= now) {
            self.queue.remove(&(at, id));
            if let Some(armed) = self.armed.get_mut(id.index()) {
                *armed = None;
            }
            due.push(id);
        }
        due
    }
}
