//! The state of a box and its services, and how it is divided into frames.

use serde::{Deserialize, Serialize};

use crate::frame::MAX_BODY;
use crate::{Millis, ServiceName, Signal};

/// The box as init sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Every essential service is ready.
    pub ready: bool,
    /// They have all been ready at least once since the boot.
    pub has_been_ready: bool,
    /// An ordered stop is under way.
    pub stopping: bool,
    /// One entry a service, in start order.
    pub services: Vec<ServiceStatus>,
    /// There are more than fit one frame: [`super::Request::MoreStatus`] from here.
    /// Each page is of its own moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<u32>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: ServiceName,
    /// What it does now.
    pub state: State,
    /// What its probe says; none without one or before its first answer.
    pub health: Option<HealthState>,
    /// Its main process, in the box's numbering.
    pub pid: Option<u32>,
    /// Since it entered [`Self::state`].
    pub since: Millis,
    /// How often it was started again after its first start.
    pub restarts: u32,
    /// How it ended last.
    pub last_exit: Option<Exit>,
    /// The kernel had killed it, or some process of it, for want of memory by
    /// then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub out_of_memory: bool,
    /// Until the next start, in [`State::Backoff`] and [`State::Scheduled`].
    pub next_start: Option<Millis>,
    /// The words of its newest failed probe or failed start, in one line; what
    /// the probe printed may follow in more.
    pub message: Option<String>,
    /// What it says of itself (`STATUS=` of sd_notify).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What it depends on and is not yet as it must be, in [`State::Waiting`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<ServiceName>,
    /// Lines of its log that did not arrive where they were to go, since the
    /// boot: nobody took them, or its file could not be written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_dropped: u64,
    /// What is counted of it.
    #[serde(default)]
    pub counts: Counts,
}

/// What is counted of a service, since the boot. Zeros do not travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Processes of it that the kernel killed for want of memory, counted when
    /// its main process has ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub oom_kills: u64,
    /// Lines that it wrote to its stdout.
    #[serde(skip_serializing_if = "is_zero")]
    pub stdout_lines: u64,
    /// And bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub stdout_bytes: u64,
    /// Lines that it wrote to its stderr.
    #[serde(skip_serializing_if = "is_zero")]
    pub stderr_lines: u64,
    /// And bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub stderr_bytes: u64,
    /// Probes of it that found it well.
    #[serde(skip_serializing_if = "is_zero")]
    pub probes_good: u64,
    /// Probes of it that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub probes_failed: u64,
    /// How long all of them took.
    #[serde(skip_serializing_if = "is_no_time")]
    pub probe_time: Millis,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_no_time(span: &Millis) -> bool {
    *span == Millis::ZERO
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The states of a service; [`crate::control`] carries what `supervise`
/// decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Down, and meant to be.
    Stopped,
    /// Waits for what it depends on.
    Waiting,
    /// Spawned, not ready yet.
    Starting,
    /// Up, and its dependants may start.
    Ready,
    /// Up, but its probe fails.
    Unhealthy,
    /// Being stopped.
    Stopping,
    /// Will be started again at a known time.
    Backoff,
    /// A job that waits for its time.
    Scheduled,
    /// Started at the first connection to one of its sockets.
    Listening,
    /// Ended by itself and stays so (a oneshot: done).
    Exited,
    /// Given up.
    Fatal,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 11] = [
        Self::Stopped,
        Self::Waiting,
        Self::Starting,
        Self::Ready,
        Self::Unhealthy,
        Self::Stopping,
        Self::Backoff,
        Self::Scheduled,
        Self::Listening,
        Self::Exited,
        Self::Fatal,
    ];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Scheduled => "scheduled",
            Self::Listening => "listening",
            Self::Exited => "exited",
            Self::Fatal => "fatal",
        }
    }
}

/// What a probe says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// Not yet sure (before the first success).
    Starting,
    /// The newest answer was good.
    Healthy,
    /// As many failures in a row as the manifest allows, or its watchdog was
    /// not heard.
    Unhealthy,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// It returned this code.
    Code(u8),
    /// This signal ended it.
    Signal(Signal),
}

impl Exit {
    /// The exit code that a shell would show: 128 + n for a signal.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.saturating_add(signal.number()),
        }
    }

    /// Whether the program says that all is well.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// With what the kernel did before, for people.
    #[must_use]
    pub fn with(self, out_of_memory: bool) -> impl std::fmt::Display {
        std::fmt::from_fn(move |f| {
            let why = if out_of_memory { ", out of memory" } else { "" };
            write!(f, "{self}{why}")
        })
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "SIG{signal}"),
        }
    }
}

/// Room in a frame for what is not a service: the tags and flags around them.
const AROUND: usize = 512;

/// Names that a service which would fill a frame alone is said to wait for.
const FEW: usize = 100;

impl Status {
    /// The services from `from` on, as many as fit one frame, and where the
    /// rest begins.
    #[must_use]
    pub fn page(mut self, from: u32) -> Self {
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        let all = std::mem::take(&mut self.services).into_iter();
        let (mut room, mut next) = (MAX_BODY - AROUND, from);
        self.more = None;
        for mut service in all.skip(start) {
            let mut length = service.length();
            if length > MAX_BODY - AROUND {
                service.waits_for.truncate(FEW);
                length = service.length();
            }
            if length > room {
                self.more = Some(next);
                break;
            }
            room -= length;
            next = next.saturating_add(1);
            self.services.push(service);
        }
        self
    }

    /// Takes a later page over; where the next begins.
    pub fn append(&mut self, page: Self) -> Option<u32> {
        let Self { services, more, .. } = page;
        // Between two pages a new manifest may have moved them.
        let known = |new: &ServiceStatus| self.services.iter().any(|old| old.name == new.name);
        let new: Vec<ServiceStatus> = services.into_iter().filter(|new| !known(new)).collect();
        // A page that tells nothing new would be followed by another for ever.
        self.more = more.filter(|_| !new.is_empty());
        self.services.extend(new);
        self.more
    }
}

impl ServiceStatus {
    /// How it ended last, for people: `exit 3`, `SIGKILL, out of memory`.
    #[must_use]
    pub fn last_end(&self) -> Option<String> {
        let exit = self.last_exit?;
        Some(exit.with(self.out_of_memory).to_string())
    }

    /// Bytes of its JSON, and a comma.
    fn length(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |json| json.len() + 1)
    }
}

#[cfg(test)]
mod tests;
