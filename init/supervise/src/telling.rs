//! A change of a service's state in a few words, for who follows them.

use holdall_protocol::control::{Exit, State as Reported};

use crate::instance::{Input, Instance};
use crate::wellness::first_line;
use crate::{ServiceId, Timestamp};

/// One service came from one state into another, as clients see states.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Changed {
    /// Which.
    pub service: ServiceId,
    /// Its state before.
    pub from: Reported,
    /// Its state now.
    pub to: Reported,
    /// Why, for people: lower case, no period. None where the states say it.
    pub reason: Option<String>,
    /// How its main process ended, where it did.
    pub exit: Option<Exit>,
    /// The kernel had killed some of it for want of memory by then.
    pub out_of_memory: bool,
}

/// What made a service change its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A client, the boot or a new manifest wants it up.
    Wanted,
    /// It is to end.
    Halted,
    /// Its main process ended.
    Exited,
    /// It could not be started.
    NotSpawned,
    /// A probe answered.
    Probed,
    /// It said something of itself.
    Said,
    /// A time came.
    Time,
    /// Somebody connected.
    Demanded,
    /// What it waited for has come about.
    Awaited,
}

impl From<&Input> for Cause {
    fn from(input: &Input) -> Self {
        match input {
            Input::Up | Input::Anew | Input::Now => Self::Wanted,
            Input::Down | Input::Halt { .. } | Input::Kill => Self::Halted,
            Input::Exited { .. } => Self::Exited,
            Input::SpawnFailed { .. } => Self::NotSpawned,
            Input::Probed { .. } => Self::Probed,
            Input::Notified { .. } => Self::Said,
            Input::Timer | Input::Clock { .. } => Self::Time,
            Input::Demand => Self::Demanded,
            Input::Go | Input::Spawned { .. } | Input::Cleared | Input::StopCommand { .. } => {
                Self::Awaited
            }
        }
    }
}

impl Instance {
    /// What is told of its having come from the state `from`.
    pub(crate) fn told(&self, now: Timestamp, from: Reported, cause: Cause) -> Changed {
        let to = self.state.reported();
        let rests = from == Reported::Stopping && to != Reported::Stopping;
        let ended = rests || matches!(cause, Cause::Exited | Cause::NotSpawned);
        Changed {
            service: self.id,
            from,
            to,
            reason: self.reason(now, from, cause),
            exit: self.last_exit.filter(|_| ended),
            out_of_memory: ended && self.out_of_memory,
        }
    }

    fn reason(&self, now: Timestamp, from: Reported, cause: Cause) -> Option<String> {
        let said = |text: &str| Some(text.to_owned());
        match (self.state.reported(), cause) {
            (_, Cause::NotSpawned) | (Reported::Unhealthy, _) => self
                .message
                .as_deref()
                .map(|words| first_line(words).to_owned()),
            (Reported::Waiting, Cause::Wanted) => said("asked for"),
            (Reported::Waiting, Cause::Time) if from == Reported::Scheduled => {
                said("its time has come")
            }
            (Reported::Waiting, Cause::Time) => said("its wait is over"),
            (Reported::Waiting, Cause::Demanded) => said("somebody connects"),
            (Reported::Waiting, _) if from == Reported::Stopping => said("it is started anew"),
            (Reported::Ready, _) if from == Reported::Unhealthy => said("it is healthy again"),
            (Reported::Stopping, Cause::Exited) => said("its main process ended"),
            (Reported::Stopping, Cause::Said) if self.state.ends_itself() => {
                said("it says that it ends")
            }
            (Reported::Stopping, Cause::Probed | Cause::Said | Cause::Time) => {
                let words = self.message.as_deref().map(first_line);
                Some(format!(
                    "unhealthy: {}",
                    words.unwrap_or("its probe failed")
                ))
            }
            (Reported::Stopping, _) if self.anew => said("it is started anew"),
            (Reported::Stopping, _) => said("asked to stop"),
            (Reported::Backoff, _) => {
                let wait = self.state.starts_at().map(|at| at.since(now));
                let failures = self.restarts.failures();
                wait.map(|wait| match failures {
                    // None are counted where it is never given up.
                    0 => format!("next start in {wait}"),
                    failures => format!("failure {failures}, next start in {wait}"),
                })
            }
            (Reported::Fatal, _) => {
                let failures = self.restarts.failures().max(1);
                Some(format!("given up after {failures} failures"))
            }
            (Reported::Scheduled, _) => match self.state.starts_at() {
                Some(due) => Some(format!("due in {}", due.since(now))),
                None => said("it is never due"),
            },
            (
                Reported::Stopped
                | Reported::Waiting
                | Reported::Starting
                | Reported::Ready
                | Reported::Listening
                | Reported::Exited,
                _,
            ) => None,
        }
    }
}
