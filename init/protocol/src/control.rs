//! Messages on init's control socket (`control.sock`).
//!
//! Both sides send a [`Hello`] first. Then the client sends a [`Request`] and
//! reads [`Response`]s until one that [`Response::is_last`]; then it may send
//! the next. Every malformed input is answered with [`Response::Error`] and
//! the connection is closed.
//!
//! Descriptors travel by SCM_RIGHTS with the first byte of their frame.

use serde::{Deserialize, Serialize};

use crate::event::EventRecord;
use crate::log::LogRecord;
use crate::{ServiceName, Signal};

mod status;

pub use status::{Counts, Exit, HealthState, ServiceStatus, State, Status};

/// The name, in LISTEN_FDNAMES, of the listening socket that the runtime hands
/// to init. Whoever holds its path on the host may do everything.
pub const CONTROL_FD_NAME: &str = "holdall-control";

/// The name, in LISTEN_FDNAMES, of the FIFO (opened read and write, so that no
/// reader's death breaks it) into which init writes [`LogRecord`]s, one JSON a
/// line. With it, nothing of the services goes to init's own stdout.
pub const LOG_FD_NAME: &str = "holdall-log";

/// The name, in LISTEN_FDNAMES, of a cgroup that the runtime hands to init to
/// divide among the services: that of version 2, or that of version 1 which has
/// this controller. Each is the root of a detached mount, so that nothing above
/// it can be reached.
#[must_use]
pub fn cgroup_fd_name(controller: Option<&str>) -> String {
    match controller {
        Some(controller) => format!("{CGROUP_FD_NAME}-{controller}"),
        None => CGROUP_FD_NAME.to_owned(),
    }
}

/// What the names of handed cgroups begin with.
pub const CGROUP_FD_NAME: &str = "holdall-cgroup";

/// The label of an image with the controllers (`cpu`, `memory`, `pids`) that the
/// `limits` of its services need, separated by commas.
pub const LIMITS_LABEL: &str = "io.holdall.limits";

/// The socket's file name below the run directory.
pub const SOCKET_NAME: &str = "control.sock";

/// What each side says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`] of the speaker.
    pub version: u32,
    /// The program and its release, for people.
    pub program: String,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The state of the box and its services: [`Response::Status`].
    Status,
    /// The rest of a status, from [`Status::more`] on: [`Response::Status`]
    /// with the services from there.
    MoreStatus {
        /// Where it goes on.
        from: u32,
    },
    /// What happened to services: [`Response::Event`] each, then
    /// [`Response::Done`] unless `follow`.
    Events {
        /// Of these; of all where empty.
        services: Vec<ServiceName>,
        /// First this many of the newest that are still known; none of them
        /// where it isn't said.
        last: Option<u32>,
        /// Then every new one, until the client hangs up.
        follow: bool,
    },
    /// Bring services up (all where the list is empty), with what they depend
    /// on; [`Response::Done`] once they are ready (or, for a oneshot, done).
    Start {
        /// Which.
        services: Vec<ServiceName>,
    },
    /// Take services down, dependants first; [`Response::Done`] once no
    /// process of them is left.
    Stop {
        /// Which; all where empty.
        services: Vec<ServiceName>,
    },
    /// Stop and start again just these; dependants stay up.
    Restart {
        /// Which; all where empty.
        services: Vec<ServiceName>,
    },
    /// Read the file of services again, and change what is not as it was:
    /// [`Response::Changes`]. With services: make these read their own files
    /// again, by their `reload`, or restart them: [`Response::Done`].
    Reload {
        /// Which; the file of services where empty.
        #[serde(default)]
        services: Vec<ServiceName>,
        /// Only say what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Set how many instances of a service there are: [`Response::Changes`].
    Scale {
        /// Which.
        service: ServiceName,
        /// How many.
        instances: u32,
    },
    /// Send a signal to the main process of each.
    Signal {
        /// Which.
        services: Vec<ServiceName>,
        /// What.
        signal: Signal,
    },
    /// Is the box healthy? [`Response::Health`].
    Health {
        /// In which sense.
        kind: HealthKind,
    },
    /// The newest lines of the log: [`Response::Log`] each, then
    /// [`Response::Done`] unless `follow`.
    Logs {
        /// Of these services; of all and of init where empty.
        services: Vec<ServiceName>,
        /// At most this many lines.
        tail: Option<u32>,
        /// Only lines from this time on, in microseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
        /// Then every new line, until the client hangs up.
        follow: bool,
    },
    /// Run a program in the box, as a child of init. Without `tty` the frame
    /// carries three descriptors: the program's stdin, stdout and stderr
    /// (pipes: a client never sends its own). Answered by
    /// [`Response::Started`], then [`Response::Exited`].
    Exec(Exec),
    /// Signal the program of the [`Request::Exec`] that is under way on this
    /// very connection (its whole group). Not answered.
    ExecSignal {
        /// What.
        signal: Signal,
    },
    /// Versions: [`Response::Version`].
    Version,
}

/// A program to run in the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments; the program is looked up in PATH.
    pub argv: Vec<String>,
    /// `NAME=value`, added to init's own environment.
    #[serde(default)]
    pub env: Vec<String>,
    /// The working directory; init's own where none.
    #[serde(default)]
    pub dir: Option<String>,
    /// `user[:group]` by name or number; init's own where none.
    #[serde(default)]
    pub user: Option<String>,
    /// Open a terminal of the box's own devpts for it; its master comes back
    /// with [`Response::Started`].
    #[serde(default)]
    pub tty: Option<WindowSize>,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

/// The three questions an engine asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthKind {
    /// Have all essential services been ready once?
    Started,
    /// Are all essential services ready now?
    Ready,
    /// Does init answer, and is no essential service given up, or hung where
    /// init was told to leave it alone?
    Live,
    /// `Ready` until the first time ready, `Live` after.
    Auto,
}

/// What init answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "re", rename_all = "snake_case")]
pub enum Response {
    /// It is done.
    Done,
    /// It can't be done; the request changed nothing beyond what the text
    /// says.
    Error {
        /// For programs.
        kind: ErrorKind,
        /// For people: lower case, no period.
        message: String,
    },
    /// See [`Request::Status`].
    Status(Status),
    /// See [`Request::Health`].
    Health {
        /// The answer.
        healthy: bool,
        /// Why not, one line.
        reason: String,
    },
    /// See [`Request::Reload`] and [`Request::Scale`].
    Changes {
        /// What changes, one line a service, for people; nothing where empty.
        changes: Vec<String>,
    },
    /// See [`Request::Logs`].
    Log(LogRecord),
    /// See [`Request::Events`].
    Event(EventRecord),
    /// The reader of events was too slow: so many were forgotten before it
    /// took them.
    Missed {
        /// How many, of all services.
        events: u64,
    },
    /// The program of an exec runs. With a terminal, the frame carries its
    /// master.
    Started {
        /// Its process, in the box's numbering.
        pid: u32,
    },
    /// The program of an exec is gone, and its descriptors are closed by init.
    Exited {
        /// Its exit code, or 128 + signal.
        code: u8,
    },
    /// See [`Request::Version`].
    Version {
        /// The release.
        release: String,
        /// [`crate::PROTOCOL_VERSION`].
        protocol: u32,
    },
}

impl Response {
    /// Whether the request that this answers is finished with it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        match self {
            Self::Log(_) | Self::Event(_) | Self::Missed { .. } | Self::Started { .. } => false,
            Self::Done
            | Self::Error { .. }
            | Self::Status(_)
            | Self::Changes { .. }
            | Self::Health { .. }
            | Self::Exited { .. }
            | Self::Version { .. } => true,
        }
    }
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The message can't be understood.
    Malformed,
    /// No service of that name.
    UnknownService,
    /// The peer may not ask that.
    Denied,
    /// The service failed, or was given up, before it came to the state that
    /// was asked for.
    Failed,
    /// The box is stopping.
    ShuttingDown,
    /// The program isn't there (exec): exit code 127.
    NotFound,
    /// The program can't be executed (exec): exit code 126.
    NotExecutable,
    /// Init has no descriptors, memory or processes left for it.
    Exhausted,
}
