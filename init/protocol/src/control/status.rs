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
mod tests {
    use super::*;
    use crate::control::Response;
    use crate::frame::encode;

    fn status(services: Vec<ServiceStatus>) -> Status {
        Status {
            ready: true,
            has_been_ready: true,
            stopping: false,
            services,
            more: None,
        }
    }

    fn service(number: usize, message: &str) -> ServiceStatus {
        ServiceStatus {
            name: format!("service-{number}").parse().expect("a name"),
            state: State::Waiting,
            health: Some(HealthState::Unhealthy),
            pid: Some(4_000_000),
            since: Millis(u64::from(u32::MAX)),
            restarts: u32::MAX,
            last_exit: Some(Exit::Code(255)),
            out_of_memory: true,
            next_start: Some(Millis(1)),
            message: Some(message.to_owned()),
            status: Some("\"".repeat(300)),
            waits_for: Vec::new(),
            log_dropped: 0,
            counts: Counts {
                oom_kills: u64::MAX,
                stdout_lines: u64::MAX,
                stdout_bytes: u64::MAX,
                stderr_lines: u64::MAX,
                stderr_bytes: u64::MAX,
                probes_good: u64::MAX,
                probes_failed: u64::MAX,
                probe_time: Millis(u64::MAX),
            },
        }
    }

    /// All pages put together, each of which fits a frame.
    fn through_frames(whole: &Status) -> Status {
        let mut read = whole.clone().page(0);
        let mut pages = 1;
        while let Some(from) = read.more {
            let page = whole.clone().page(from);
            encode(&Response::Status(page.clone())).expect("a page fits");
            read.append(page);
            pages += 1;
            assert!(pages < 1000, "no end of pages");
        }
        encode(&Response::Status(whole.clone().page(0))).expect("the first page fits");
        read
    }

    #[test]
    fn a_thousand_services_come_in_pages_and_are_all_there() {
        for message in ["", "connection refused", &"\u{1}".repeat(1024)] {
            let services = (0..1000).map(|number| service(number, message));
            let whole = status(services.collect());
            let read = through_frames(&whole);
            assert_eq!(read.services, whole.services);
            assert_eq!(read.more, None);
        }
    }

    #[test]
    fn an_exit_is_shown_as_a_shell_would_and_only_zero_is_well() {
        let (code, signal) = (Exit::Code(3), Exit::Signal(Signal::KILL));
        assert_eq!((code.code(), signal.code()), (3, 137));
        let words = [code.to_string(), signal.to_string()];
        assert_eq!(words, ["exit 3", "SIGKILL"]);
        assert!(Exit::Code(0).success());
        assert!(!code.success() && !signal.success());
    }

    #[test]
    fn few_services_are_one_page_as_they_always_were() {
        let whole = status(vec![service(1, "x")]);
        assert_eq!(whole.clone().page(0), whole);
        assert_eq!(whole.clone().page(7).services, []);
    }

    #[test]
    fn a_page_is_filled_to_its_last_byte() {
        let room = MAX_BODY - AROUND;
        let plain = service(1, "");
        // With the comma behind it.
        let least = serde_json::to_vec(&plain).expect("JSON").len() + 1;
        let of_length = |length: usize| service(1, &"x".repeat(length - least));
        let half = room / 2;
        for (second, services) in [(room - half, 2), (room - half + 1, 1)] {
            let whole = status(vec![of_length(half), of_length(second), plain.clone()]);
            let page = whole.page(0);
            assert_eq!(page.services.len(), services);
            assert_eq!(page.more, u32::try_from(services).ok());
        }
    }

    #[test]
    fn who_fits_a_page_waits_for_all_that_it_says() {
        let mut some = service(1, "");
        some.waits_for = vec!["a".parse().expect("a name"); FEW + 1];
        let length = some.length();
        some.message = Some("x".repeat(MAX_BODY - AROUND - length));
        let whole = status(vec![some.clone()]);
        assert_eq!(whole.clone().page(0), whole);
        some.message = Some("x".repeat(MAX_BODY - AROUND - length + 1));
        let cut = status(vec![some]).page(0);
        assert_eq!(cut.services[0].waits_for.len(), FEW);
    }

    #[test]
    fn zeros_do_not_travel() {
        let mut quiet = service(1, "");
        (quiet.out_of_memory, quiet.log_dropped) = (false, 0);
        quiet.counts = Counts::default();
        let json = serde_json::to_value(&quiet).expect("JSON");
        assert_eq!(json["counts"], serde_json::json!({}));
        for name in ["log_dropped", "out_of_memory", "waits_for"] {
            assert_eq!(json.get(name), None);
        }
        assert_eq!(
            serde_json::from_value::<ServiceStatus>(json).expect("it"),
            quiet
        );
    }

    #[test]
    fn one_that_waits_for_all_others_fits_too() {
        let mut last = service(1000, "");
        let name = |number: u32| format!("{}-{number}", "x".repeat(58));
        let names = (1000..2000).map(|number| name(number).parse().expect("a name"));
        last.waits_for = names.collect();
        let read = through_frames(&status(vec![service(0, ""), last]));
        assert_eq!(read.services.len(), 2);
        assert_eq!(read.services[1].waits_for.len(), FEW);
    }

    #[test]
    fn a_page_that_repeats_ends_the_reading() {
        let mut read = status(vec![service(1, "")]);
        let mut again = status(vec![service(1, "")]);
        again.more = Some(0);
        assert_eq!(read.append(again), None);
        assert_eq!(read.services.len(), 1);
    }
}
