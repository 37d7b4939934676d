//! The states of a service. What happens in each is in [`crate::service`].

use holdall_protocol::Millis;
use holdall_protocol::control::{Exit, HealthState, State as Reported};

use crate::probing::Probing;
use crate::watchdog::Watchdog;
use crate::{Question, Timestamp};

/// Where a service is. Each variant carries what only that state has.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// Down, and no process is left.
    Stopped,
    /// Up as soon as what it depends on is.
    Waiting,
    /// Its process is being made; the answer is not here yet.
    Spawning,
    /// Its process lives, and nothing has begun to end it: starting, ready or
    /// unhealthy.
    Live(Live),
    /// Its process was told to end, and is killed when it does not in time.
    Stopping {
        main: Main,
        kill_at: Timestamp,
        why: Why,
    },
    /// All its processes are being killed; neither the end of the main one nor
    /// that of all is told yet.
    Killing { main: Main, why: Why },
    /// No process is left, but how the main one ended is not told yet.
    Unreaped { main: Main, why: Why },
    /// The main process is gone, those it left behind are being killed.
    Clearing { next: Next },
    /// Is started again at a known time.
    Backoff { until: Timestamp },
    /// A job that waits for its time; none where that never comes.
    Scheduled { due: Option<Timestamp> },
    /// Started at the first connection to one of its sockets.
    Listening,
    /// Ended by itself for good (a oneshot: done).
    Exited { exit: Exit },
    /// Given up.
    Fatal { exit: Exit },
}

/// An end after which nothing comes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Itself(Exit),
    GivenUp(Exit),
}

impl Ended {
    /// As an exit code of the box: what was given up is never well.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Itself(exit) => exit.code(),
            Self::GivenUp(exit) => exit.code().max(1),
        }
    }
}

/// A main process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Main {
    pub(crate) pid: u32,
    pub(crate) spawned: Timestamp,
}

/// A main process that nobody has told to end.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) main: Main,
    pub(crate) stage: Stage,
    /// None where nothing is asked, or not yet.
    pub(crate) probing: Option<Probing>,
    /// It is starting, and is ready then.
    pub(crate) ready_at: Option<Timestamp>,
    /// When it must be ready; none once it is, and where it may take as long
    /// as it likes.
    pub(crate) ready_by: Option<Timestamp>,
    pub(crate) watchdog: Watchdog,
    /// It says that it reads its files again.
    pub(crate) reloading: bool,
}

/// How far a live process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not ready yet (a oneshot: not done).
    Starting,
    /// Ready.
    Ready { at: Timestamp },
    /// Its probes fail, or its watchdog was not heard. It was ready for so long
    /// before, if it was.
    Unhealthy { ready: Option<Millis> },
}

impl Stage {
    /// How long it has been ready; none if it never was.
    pub(crate) fn ready_for(self, now: Timestamp) -> Option<Millis> {
        match self {
            Self::Starting => None,
            Self::Ready { at } => Some(now.since(at)),
            Self::Unhealthy { ready } => ready,
        }
    }
}

/// Why a process is made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// A client or the shutdown wants it.
    Asked,
    /// Its probes fail, its watchdog was not heard, or it was not ready in
    /// time; it was ready for so long before, if it was.
    Unhealthy { ready: Option<Millis> },
    /// It said that it ends by itself; it was ready for so long before,
    /// if it was.
    Itself { ready: Option<Millis> },
}

/// Where a service goes once no process of it is left, if it is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It was asked to end: from the beginning.
    Anew,
    Backoff {
        until: Timestamp,
    },
    /// A job, for its next time.
    Scheduled,
    Exited {
        exit: Exit,
    },
    Fatal {
        exit: Exit,
    },
}

impl State {
    /// How it ended for good: by itself, or given up.
    pub(crate) fn ended(&self) -> Option<Ended> {
        match self {
            Self::Exited { exit } => Some(Ended::Itself(*exit)),
            Self::Fatal { exit } => Some(Ended::GivenUp(*exit)),
            Self::Stopped
            | Self::Waiting
            | Self::Spawning
            | Self::Live(_)
            | Self::Stopping { .. }
            | Self::Killing { .. }
            | Self::Unreaped { .. }
            | Self::Clearing { .. }
            | Self::Backoff { .. }
            | Self::Scheduled { .. }
            | Self::Listening => None,
        }
    }

    /// When it is started again, where that is known.
    pub(crate) fn starts_at(&self) -> Option<Timestamp> {
        match self {
            Self::Backoff { until } => Some(*until),
            Self::Scheduled { due } => *due,
            Self::Stopped
            | Self::Waiting
            | Self::Spawning
            | Self::Live(_)
            | Self::Stopping { .. }
            | Self::Killing { .. }
            | Self::Unreaped { .. }
            | Self::Clearing { .. }
            | Self::Listening
            | Self::Exited { .. }
            | Self::Fatal { .. } => None,
        }
    }

    /// Its main process, as far as it is known and not yet reaped.
    pub(crate) fn main(&self) -> Option<Main> {
        match self {
            Self::Live(live) => Some(live.main),
            Self::Stopping { main, .. }
            | Self::Killing { main, .. }
            | Self::Unreaped { main, .. } => Some(*main),
            Self::Stopped
            | Self::Waiting
            | Self::Spawning
            | Self::Clearing { .. }
            | Self::Backoff { .. }
            | Self::Scheduled { .. }
            | Self::Listening
            | Self::Exited { .. }
            | Self::Fatal { .. } => None,
        }
    }

    /// Whether a process of it exists or may exist.
    pub(crate) fn occupied(&self) -> bool {
        matches!(self, Self::Spawning | Self::Clearing { .. }) || self.main().is_some()
    }

    /// Whether it said that it ends by itself.
    pub(crate) fn ends_itself(&self) -> bool {
        let itself = |why: &Why| matches!(why, Why::Itself { .. });
        matches!(self, Self::Stopping { why, .. } if itself(why))
    }

    /// Whether nothing of it is left, and nothing starts it again by itself.
    pub(crate) fn rests(&self) -> bool {
        matches!(self, Self::Stopped) || self.ended().is_some()
    }

    /// Whether it runs and nothing has begun to end it.
    pub(crate) fn live(&self) -> Option<&Live> {
        match self {
            Self::Live(live) => Some(live),
            Self::Stopped
            | Self::Waiting
            | Self::Spawning
            | Self::Stopping { .. }
            | Self::Killing { .. }
            | Self::Unreaped { .. }
            | Self::Clearing { .. }
            | Self::Backoff { .. }
            | Self::Scheduled { .. }
            | Self::Listening
            | Self::Exited { .. }
            | Self::Fatal { .. } => None,
        }
    }

    /// When it wants to hear of the time.
    pub(crate) fn timer(&self) -> Option<Timestamp> {
        match self {
            Self::Live(live) => {
                let asks = live.probing.as_ref().and_then(Probing::next);
                let times = [asks, live.ready_at, live.ready_by, live.watchdog.due()];
                times.into_iter().flatten().min()
            }
            Self::Stopping { kill_at, .. } => Some(*kill_at),
            Self::Backoff { .. } | Self::Scheduled { .. } => self.starts_at(),
            Self::Stopped
            | Self::Waiting
            | Self::Spawning
            | Self::Killing { .. }
            | Self::Unreaped { .. }
            | Self::Clearing { .. }
            | Self::Listening
            | Self::Exited { .. }
            | Self::Fatal { .. } => None,
        }
    }

    /// What clients are told.
    pub(crate) fn reported(&self) -> Reported {
        match self {
            Self::Stopped => Reported::Stopped,
            Self::Waiting => Reported::Waiting,
            Self::Spawning => Reported::Starting,
            Self::Live(live) => match live.stage {
                Stage::Starting => Reported::Starting,
                Stage::Ready { .. } => Reported::Ready,
                Stage::Unhealthy { .. } => Reported::Unhealthy,
            },
            Self::Stopping { .. }
            | Self::Killing { .. }
            | Self::Unreaped { .. }
            | Self::Clearing { .. } => Reported::Stopping,
            Self::Backoff { .. } => Reported::Backoff,
            Self::Scheduled { .. } => Reported::Scheduled,
            Self::Listening => Reported::Listening,
            Self::Exited { .. } => Reported::Exited,
            Self::Fatal { .. } => Reported::Fatal,
        }
    }

    /// What its probes say, and its watchdog.
    pub(crate) fn health(&self) -> Option<HealthState> {
        let live = self.live()?;
        if live.watchdog.missed() {
            return Some(HealthState::Unhealthy);
        }
        match &live.probing {
            Some(probing) if probing.question() == Question::Health => probing.health(),
            Some(_) | None => live.watchdog.watches().then_some(HealthState::Healthy),
        }
    }
}

/// The state's name as clients see it, for a message.
pub(crate) fn word(state: Reported) -> &'static str {
    match state {
        Reported::Stopped => "stopped",
        Reported::Waiting => "waiting for what it depends on",
        Reported::Starting => "starting",
        Reported::Ready => "ready",
        Reported::Unhealthy => "unhealthy",
        Reported::Stopping => "stopping",
        Reported::Backoff => "waiting to be started again",
        Reported::Scheduled => "waiting for its time",
        Reported::Listening => "waiting for a connection",
        Reported::Exited => "exited",
        Reported::Fatal => "given up",
    }
}
