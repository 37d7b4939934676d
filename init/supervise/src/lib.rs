//! Every decision of holdall's init.
//!
//! **Invariant:** this crate never reads a clock, starts a process, opens a
//! descriptor or touches the environment. It is told [`Event`]s and the time,
//! and answers with [`Action`]s.
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
pub mod change;
pub mod event;
pub mod notice;
pub mod pattern;
pub mod time;

mod boot;
mod clearing;
mod command;
mod ending;
mod fingerprint;
mod foreground;
mod graph;
mod instance;
mod job;
mod life;
mod probing;
mod reconfigure;
mod relation;
mod report;
mod requests;
mod restart;
mod resting;
mod service;
mod shutdown;
mod state;
mod supervisor;
mod telling;
mod timers;
mod watchdog;
mod wellness;

pub use action::{Action, Because, Note, Question, Refusal};
pub use change::Change;
pub use event::{Command, Event};
pub use notice::Notice;
pub use pattern::Pattern;
pub use reconfigure::IsStopping;
pub use supervisor::Supervisor;
pub use telling::Changed;
pub use time::Timestamp;

/// A service by its place in [`Manifest::services`](holdall_protocol::Manifest::services).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

impl ServiceId {
    /// The place.
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

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
