//! The watchdog of a process: it is to say that it is alive, again and again.

use holdall_protocol::Millis;

use crate::Timestamp;

/// How it stands. It does nothing before the process is ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Watchdog {
    /// How often it is to be heard; zero: never.
    every: Millis,
    /// The process is ready.
    begun: bool,
    /// When it must have been heard.
    due: Option<Timestamp>,
    /// It was not heard in time, and has not been heard since.
    missed: bool,
}

impl Watchdog {
    /// For a process that was just spawned.
    pub(crate) fn new(every: Option<Millis>) -> Self {
        Self {
            every: every.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The process is ready: it counts from now on.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.begun = true;
        self.hear(now);
    }

    /// The process was heard.
    pub(crate) fn hear(&mut self, now: Timestamp) {
        self.missed = false;
        let counts = self.begun && self.every > Millis::ZERO;
        self.due = counts.then(|| now + self.every);
    }

    /// The process will be heard so often from now on.
    pub(crate) fn change(&mut self, now: Timestamp, every: Millis) {
        self.every = every;
        self.hear(now);
    }

    /// Whether it was not heard in time, which is told once.
    pub(crate) fn bites(&mut self, now: Timestamp) -> bool {
        let bites = self.due.is_some_and(|due| due <= now);
        if bites {
            self.bite();
        }
        bites
    }

    /// As if it had not been heard in time.
    pub(crate) fn bite(&mut self) {
        (self.due, self.missed) = (None, true);
    }

    /// How often it is to be heard.
    pub(crate) fn every(&self) -> Millis {
        self.every
    }

    /// When it wants to know the time.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Whether it has bitten, and was not heard since.
    pub(crate) fn missed(&self) -> bool {
        self.missed
    }

    /// Whether anything comes of it.
    pub(crate) fn watches(&self) -> bool {
        self.missed || self.due.is_some()
    }
}
