//! What services see of each other.

use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{Condition, Kind};

use crate::instance::Instance;
use crate::state::{Ended, Stage, State};

/// What others see of a service, kept so that a change is told only to those
/// whom it concerns: the work of a boot is linear in the dependencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) outward: Outward,
    /// Dependencies that are not as they must be for a start.
    pub(crate) unmet: usize,
    /// Dependants that are leaving, and have to be gone before it.
    pub(crate) before: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outward {
    pub(crate) started: bool,
    pub(crate) ready: bool,
    pub(crate) done: bool,
    pub(crate) leaving: bool,
    pub(crate) occupied: bool,
    /// It is essential and not as the box's readiness wants it.
    pub(crate) holds_up: bool,
    /// Nothing happens with it any more unless a client asks.
    pub(crate) idle: bool,
}

impl Outward {
    /// As a service looks now.
    pub(crate) fn of(instance: &Instance) -> Self {
        let leaving = instance.leaving();
        let stage = instance.state.live().map(|live| live.stage);
        let exit = match instance.state.ended() {
            Some(Ended::Itself(exit)) => Some(exit),
            Some(Ended::GivenUp(_)) | None => None,
        };
        let scheduled = matches!(instance.state, State::Scheduled { .. });
        let given_up = matches!(instance.state, State::Fatal { .. });
        let done = match instance.policy.kind {
            Kind::Daemon | Kind::Oneshot => exit.is_some_and(Exit::success),
            Kind::Job => scheduled && instance.last_exit.is_some_and(Exit::success),
        };
        let ready = match instance.policy.kind {
            Kind::Daemon => matches!(stage, Some(Stage::Ready { .. })) || instance.on_call(),
            Kind::Oneshot => done,
            // It does what it should: it runs, or waits for its time.
            Kind::Job => instance.wanted && !given_up,
        };
        let ended = exit.is_some() || given_up || matches!(instance.state, State::Waiting);
        let meant = !instance.retired && (instance.wanted || instance.boots());
        Self {
            started: !leaving
                && (stage.is_some() || exit.is_some() || scheduled || instance.on_call()),
            ready: !leaving && ready,
            done: !leaving && done,
            leaving,
            occupied: instance.state.occupied(),
            holds_up: instance.policy.essential && meant && !ready,
            idle: instance.retired || instance.policy.aside || (instance.wanted && ended),
        }
    }

    /// Whether it is as a dependant wants it.
    pub(crate) fn meets(self, condition: Condition) -> bool {
        match condition {
            Condition::Started => self.started,
            Condition::Ready => self.ready,
            Condition::Done => self.done,
        }
    }
}

/// How many services are so.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) occupied: usize,
    pub(crate) holds_up: usize,
    pub(crate) idle: usize,
}

/// Keeps a count of things that are so.
pub(crate) fn count(tally: &mut usize, was: bool, is: bool) {
    match (was, is) {
        (false, true) => *tally += 1,
        (true, false) => *tally = tally.saturating_sub(1),
        (false, false) | (true, true) => {}
    }
}
