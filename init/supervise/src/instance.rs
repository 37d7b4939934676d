//! One service as it is now, and what can happen to it.

use std::collections::VecDeque;

use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{
    Backoff, ExitCodes, GiveUp, Kind, LISTENER, OnUnhealthy, Restart, Schedule as At, Service,
    Start,
};
use holdall_protocol::{Millis, Signal};

use crate::job::{Calendar, Times};
use crate::notice::Notice;
use crate::probing::Schedule;
use crate::restart::Restarts;
use crate::state::{Stage, State};
use crate::wellness::Readiness;
use crate::{Action, Note, Question, ServiceId, Timestamp};

/// What can happen to a service.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Up,
    Down,
    Anew,
    Go,
    Halt {
        timeout: Millis,
    },
    Kill,
    Timer,
    Spawned {
        pid: u32,
    },
    SpawnFailed {
        reason: String,
        code: u8,
    },
    Exited {
        exit: Exit,
        oom_kills: u64,
    },
    Cleared,
    Probed {
        outcome: Result<(), String>,
    },
    /// It is to run, whatever its schedule says and though nobody connects.
    Now,
    /// A connection or a datagram waits for it.
    Demand,
    /// The wall clock was set; before, it was so.
    Clock {
        before: Calendar,
    },
    /// The answer to `StopCommand`.
    StopCommand {
        outcome: Result<(), String>,
    },
    /// It said something of itself.
    Notified {
        notice: Notice,
    },
}

/// What the manifest says of it, as far as decisions need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) kind: Kind,
    /// Of a job and of nothing else.
    pub(crate) schedule: Option<At>,
    pub(crate) start: Start,
    pub(crate) essential: bool,
    /// It is init's own: the box is none of it.
    pub(crate) aside: bool,
    pub(crate) stop_signal: Signal,
    pub(crate) stop_timeout: Millis,
    /// There is a command for it, in place of the signal.
    pub(crate) stop_command: bool,
    /// It can be told to read its files again.
    pub(crate) reloads: bool,
    pub(crate) restart: Restart,
    pub(crate) success: ExitCodes,
    /// In place of the next two.
    pub(crate) start_retries: Option<u32>,
    pub(crate) backoff: Backoff,
    pub(crate) give_up: GiveUp,
    pub(crate) on_unhealthy: OnUnhealthy,
    pub(crate) probes: Option<Schedule>,
    pub(crate) readiness: Readiness,
    /// It has failed if it is not ready by then.
    pub(crate) ready_within: Option<Millis>,
    pub(crate) watchdog: Option<Millis>,
}

impl From<&Service> for Policy {
    fn from(service: &Service) -> Self {
        let daemon = service.kind == Kind::Daemon;
        let health = service.health.as_deref().filter(|_| daemon);
        let ready = service.ready.as_deref().filter(|_| daemon);
        Self {
            kind: service.kind,
            schedule: service.schedule,
            start: service.start,
            essential: service.essential,
            aside: service.name.as_str() == LISTENER,
            stop_signal: service.stop.signal,
            stop_timeout: service.stop.timeout,
            stop_command: service.stop.command.is_some(),
            reloads: service.reload.is_some(),
            restart: service.restart,
            success: service.success,
            start_retries: service.start_retries,
            backoff: service.backoff,
            give_up: service.give_up,
            on_unhealthy: service.on_unhealthy,
            probes: health.map(Schedule::from),
            readiness: Readiness::from(service),
            ready_within: ready.and_then(|ready| ready.timeout),
            watchdog: service.watchdog.filter(|_| daemon),
        }
    }
}

impl Policy {
    /// Whether it is ready as soon as its process is there.
    pub(crate) fn ready_at_birth(&self) -> bool {
        self.kind == Kind::Daemon && self.readiness == Readiness::Running
    }

    /// When it is ready if it was spawned now and lives so long.
    pub(crate) fn ready_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.readiness {
            Readiness::Lived(span) => Some(now + span),
            Readiness::Running
            | Readiness::Healthy
            | Readiness::Notified
            | Readiness::Announced
            | Readiness::Asked => None,
        }
    }
}

/// One service as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: ServiceId,
    pub(crate) policy: Policy,
    pub(crate) state: State,
    /// It is meant to be up.
    pub(crate) wanted: bool,
    /// Its process is to end and another to follow.
    pub(crate) anew: bool,
    /// When it came to the state that is reported.
    pub(crate) entered: Timestamp,
    /// Times it was started, or an attempt was made.
    pub(crate) starts: u32,
    pub(crate) last_exit: Option<Exit>,
    /// The kernel had killed some of it for want of memory by then.
    pub(crate) out_of_memory: bool,
    /// Processes of it that were killed so, ever.
    pub(crate) oom_kills: u64,
    /// The words of its newest failed probe or failed start; from the second
    /// line on what the probe printed.
    pub(crate) message: Option<String>,
    /// What it says of itself.
    pub(crate) words: Option<String>,
    pub(crate) restarts: Restarts,
    /// When it is due, of a job.
    pub(crate) times: Times,
    /// It is no longer in the manifest: it goes, and is not told of once it is
    /// gone.
    pub(crate) retired: bool,
}

/// The time, and where actions go.
pub(crate) struct Turn<'t> {
    pub(crate) now: Timestamp,
    pub(crate) calendar: Calendar,
    pub(crate) actions: &'t mut VecDeque<Action>,
}

impl Turn<'_> {
    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.act(Action::Note(note));
    }
}

impl Instance {
    /// A service that is down.
    pub(crate) fn new(id: ServiceId, service: &Service, seed: u64) -> Self {
        // Services of one box must not draw the same jitter.
        let seed = seed ^ u64::from(id.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            id,
            policy: Policy::from(service),
            state: State::Stopped,
            wanted: false,
            anew: false,
            entered: Timestamp::default(),
            starts: 0,
            last_exit: None,
            out_of_memory: false,
            oom_kills: 0,
            message: None,
            words: None,
            restarts: Restarts::new(seed),
            times: Times::default(),
            retired: false,
        }
    }

    /// Whether it has a process that is to end.
    pub(crate) fn leaving(&self) -> bool {
        self.state.occupied() && self.ends()
    }

    /// How often it was started again.
    pub(crate) fn restarted(&self) -> u32 {
        self.starts.saturating_sub(1)
    }

    /// Whether it is on its way up, or is up, without anybody's help.
    pub(crate) fn coming(&self) -> bool {
        self.wanted && self.state.ended().is_none()
    }

    /// Whether a service that exited so is a oneshot that is done.
    pub(crate) fn done(&self, exit: Exit) -> bool {
        self.policy.kind != Kind::Daemon && self.policy.success.has(exit)
    }

    /// Whether the boot brings it up, be it only to wait for a connection.
    pub(crate) fn boots(&self) -> bool {
        self.policy.start != Start::Manual && !self.retired
    }

    /// Whether it is started by the first connection.
    pub(crate) fn on_demand(&self) -> bool {
        self.policy.start == Start::OnDemand
    }

    /// Whether its sockets take connections that it will answer: it waits for
    /// the first, or is on its way up for it. Who needs it can connect.
    pub(crate) fn on_call(&self) -> bool {
        let coming = match &self.state {
            State::Listening | State::Waiting | State::Spawning => true,
            State::Live(live) => live.stage == Stage::Starting,
            State::Stopped
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Unreaped { .. }
            | State::Clearing { .. }
            | State::Backoff { .. }
            | State::Scheduled { .. }
            | State::Exited { .. }
            | State::Fatal { .. } => false,
        };
        coming && self.on_demand() && self.wanted && !self.anew
    }

    /// Takes over what the manifest says now, as far as a process that runs can
    /// go on with it.
    pub(crate) fn adopt(&mut self, service: &Service) {
        self.policy = Policy::from(service);
        if let State::Live(live) = &mut self.state
            && let (Some(probing), Some(schedule)) = (&mut live.probing, self.policy.probes)
            && probing.question() == Question::Health
        {
            probing.adopt(schedule);
        }
    }

    /// Whether the process it has (as the caller knows) is to end.
    pub(crate) fn ends(&self) -> bool {
        !self.wanted || self.anew
    }
}
