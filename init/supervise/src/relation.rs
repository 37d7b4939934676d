//! What services see of each other.

use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{Condition, Kind};

use crate::ServiceId;
use crate::instance::Instance;
use crate::state::{Ended, Stage, State};
use crate::supervisor::{Phase, Supervisor};

/// What others see of a service, kept so that a change is told only to those
/// whom it concerns: the work of a boot is linear in the dependencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) outward: Outward,
    /// Dependencies that are not as they must be for a start.
    pub(crate) unmet: usize,
    /// Dependants that are leaving, and have to be gone before it.
    pub(crate) before: usize,
    /// Its `order`, or the highest of those it depends on where that is more.
    pub(crate) level: i32,
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
        let well = |exit: Exit| instance.policy.success.has(exit);
        let done = match instance.policy.kind {
            Kind::Daemon | Kind::Oneshot => exit.is_some_and(well),
            Kind::Job => scheduled && instance.last_exit.is_some_and(well),
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

impl Supervisor {
    /// Whether every essential service is ready.
    pub(crate) fn ready(&self) -> bool {
        matches!(self.phase, Phase::Running { .. }) && self.tally.holds_up == 0
    }

    /// Whether a service keeps the box from being ready.
    pub(crate) fn holds_up(&self, id: ServiceId) -> bool {
        self.relations
            .get(id.index())
            .is_some_and(|relation| relation.outward.holds_up)
    }

    /// Whether a service is as a dependant wants it.
    pub(crate) fn meets(&self, id: ServiceId, condition: Condition) -> bool {
        let relation = self.relations.get(id.index());
        relation.is_some_and(|relation| relation.outward.meets(condition))
    }

    /// Keeps count of the services of an `order` that have a process. Where the
    /// last of the highest is gone while the box stops, it is the turn of the
    /// next.
    pub(crate) fn count_level(&mut self, level: i32, was: bool, is: bool) {
        if was == is {
            return;
        }
        let occupied = self.levels.entry(level).or_default();
        count(occupied, was, is);
        if *occupied > 0 {
            return;
        }
        self.levels.remove(&level);
        if !matches!(self.phase, Phase::Stopping(_)) {
            return;
        }
        let next = self.levels.last_key_value().map(|(level, _)| *level);
        let ids = (0_u32..).map(ServiceId).zip(&self.relations);
        let turn =
            ids.filter(|(_, relation)| relation.outward.leaving && Some(relation.level) == next);
        self.stirred.extend(turn.map(|(id, _)| id));
    }

    /// Whether no service of a higher `order` has a process.
    pub(crate) fn is_foremost(&self, level: i32) -> bool {
        let highest = self.levels.last_key_value();
        highest.is_none_or(|(highest, _)| *highest <= level)
    }
}
