//! Every decision of holdall's init.
//!
//! **Invariant:** this crate never reads a clock, starts a process, opens a
//! descriptor or touches the environment. It is told [`Event`]s and the time,
//! and answers with [`Action`]s.
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
pub mod event;
pub mod time;

pub use action::{Action, Note, Refusal};
pub use event::{Command, Event};
pub use time::Timestamp;

use holdall_protocol::Manifest;
use holdall_protocol::control::{HealthKind, Status};

/// A service by its place in [`Manifest::services`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// The state machine of the whole box.
///
/// Feed it with [`handle`](Self::handle) and
/// [`handle_timeout`](Self::handle_timeout); after each, drain
/// [`poll_action`](Self::poll_action) and arm one timer at
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug, Clone)]
pub struct Supervisor {}

/// What is beside the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// There is a foreground command: the box ends with it.
    pub foreground: bool,
    /// Start it only once the box is ready.
    pub after_ready: bool,
    /// Seed of the jitter in backoff.
    pub seed: u64,
}

impl Supervisor {
    /// A box that is not booted yet.
    #[must_use]
    pub fn new(manifest: &Manifest, options: Options) -> Self {
        let _ = (manifest, options);
        Self {}
    }

    /// Takes in one event.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        let _ = (now, event);
    }

    /// Lets every timer fire that is due at `now`.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The state of everything.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let _ = now;
        Status { ready: false, has_been_ready: false, stopping: false, services: Vec::new() }
    }

    /// Whether the box is healthy in the sense of `kind`; if not, why.
    ///
    /// # Errors
    /// One line for people.
    pub fn health(&self, kind: HealthKind) -> Result<(), String> {
        let _ = kind;
        Ok(())
    }
}
