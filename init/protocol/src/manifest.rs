//! The service manifest: the checked form of `[init]`, `[service.*]` and
//! `[profile.*]` of a holdall.toml.
//!
//! The builder and the init read it by this one parser, so that an image which
//! init can't start can't be built.

use std::collections::BTreeMap;

use crate::{Millis, ServiceName, Signal};

mod check;
mod graph;
mod health;
mod parse;
mod policy;
mod ports;
mod profile;
mod service;
mod values;
mod write;

pub use parse::Reader;
pub use profile::UnknownProfile;

/// A set of services, checked: every dependency exists and there is no cycle,
/// listen names and ports don't clash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// `name`: what the image is called.
    pub name: Option<String>,
    /// `[init]`.
    pub init: InitSettings,
    /// `[service.NAME]`, in the order of the file.
    pub services: Vec<Service>,
    /// `[profile.NAME]`.
    pub profiles: BTreeMap<String, Profile>,
}

/// `[init]`: what is global.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitSettings {
    /// The whole of an ordered stop ends within this; 9 s unless said, inside
    /// docker's 10.
    pub stop_timeout: Millis,
}

impl Default for InitSettings {
    fn default() -> Self {
        Self {
            stop_timeout: Millis::from_secs(9),
        }
    }
}

/// `[profile.NAME]`: values laid over those of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// Environment for every service.
    pub env: BTreeMap<String, String>,
    /// `service.NAME.env` below the profile: for one service.
    pub service_env: BTreeMap<ServiceName, BTreeMap<String, String>>,
}

/// `[service.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// `type`.
    pub kind: Kind,
    /// `command`, split as a shell splits words. Never empty.
    pub command: Vec<String>,
    /// `user`: a name or number in the image.
    pub user: Option<String>,
    /// `group`: a name or number in the image; the user's own where none.
    pub group: Option<String>,
    /// `umask`, 022 unless said.
    pub umask: u32,
    /// `dir`: the working directory, `/` unless said.
    pub dir: String,
    /// `env`.
    pub env: BTreeMap<String, String>,
    /// `depends_on`.
    pub depends_on: Vec<Dependency>,
    /// `listen`: sockets that init opens and hands over.
    pub listen: Vec<Listen>,
    /// `expose`: ports that the service binds itself.
    pub expose: Vec<Expose>,
    /// `volumes`: absolute paths.
    pub volumes: Vec<String>,
    /// `health`.
    pub health: Option<Health>,
    /// `restart`.
    pub restart: Restart,
    /// `backoff`.
    pub backoff: Backoff,
    /// `give_up`.
    pub give_up: GiveUp,
    /// `essential`: when it is given up, the box stops.
    pub essential: bool,
    /// `on_unhealthy`.
    pub on_unhealthy: OnUnhealthy,
    /// `stop`.
    pub stop: Stop,
    /// `profiles`: present only under these; always where empty.
    pub profiles: Vec<String>,
}

/// `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Runs until it is stopped.
    Daemon,
    /// Runs to its end once; done when it exits 0.
    Oneshot,
}

/// One entry of `depends_on`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// On whom.
    pub service: ServiceName,
    /// What must be true of it first.
    pub condition: Condition,
}

/// What a dependant waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Its process was spawned.
    Started,
    /// It is ready (a oneshot: done).
    Ready,
    /// It has ended with 0.
    Done,
}

/// A socket that init opens once, holds, and hands over at every start
/// (LISTEN_FDS, LISTEN_FDNAMES): `"http=8000"`, `"http=127.0.0.1:8000"`,
/// `"api=/run/api.sock"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listen {
    /// Its name in LISTEN_FDNAMES.
    pub name: String,
    /// Where.
    pub address: ListenAddress,
}

/// Where a socket listens, inside the box.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP on a port of every address, IPv6 and IPv4 (one dual-stack socket,
    /// or IPv4 where the kernel has no IPv6).
    Port(u16),
    /// TCP on one address.
    Tcp(std::net::SocketAddr),
    /// A unix stream socket at an absolute path.
    Unix(String),
}

/// A port that a service binds itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Expose {
    /// Which.
    pub port: u16,
    /// Over what.
    pub protocol: Protocol,
}

/// The transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// `health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How to ask.
    pub probe: Probe,
    /// Between two probes; 10 s unless said. Before the first success a
    /// service is asked more often, so that it is found ready soon.
    pub interval: Millis,
    /// A probe that takes longer has failed; 3 s unless said.
    pub timeout: Millis,
    /// Failures in a row until it is unhealthy; 3 unless said.
    pub retries: u32,
    /// Failures in this time after the start don't count; 0 unless said.
    pub start_period: Millis,
}

/// How to ask a service for its health.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A command, split into words: healthy when it exits 0. It runs with the
    /// service's user, directory and environment.
    Exec(Vec<String>),
    /// A connection that is accepted.
    Tcp(std::net::SocketAddr),
    /// A GET that is answered with 200 to 399.
    Http {
        /// Where to connect.
        address: std::net::SocketAddr,
        /// The Host header.
        host: String,
        /// Path and query.
        path: String,
    },
}

/// `restart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Restart {
    /// However it ends. The default for a daemon.
    Always,
    /// Unless it exits 0. The default for a oneshot.
    OnFailure,
    /// Not at all.
    Never,
}

/// `backoff = { initial = "1s", max = "30s" }`: the wait before a restart
/// doubles from `initial` to `max`, with jitter, and is back at the start
/// after 60 s ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// The first wait, 1 s unless said.
    pub initial: Millis,
    /// The longest wait, 30 s unless said.
    pub max: Millis,
}

/// `give_up = { failures = 5, within = "60s" }`. `failures = 0` never gives
/// up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GiveUp {
    /// How many failures.
    pub failures: u32,
    /// In what time.
    pub within: Millis,
}

/// `on_unhealthy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnUnhealthy {
    /// Stop it and start it again.
    Restart,
    /// Only say so.
    Ignore,
}

/// `stop = { signal = "TERM", timeout = "5s" }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stop {
    /// Sent first; TERM unless said.
    pub signal: Signal,
    /// KILL follows after it; 5 s unless said.
    pub timeout: Millis,
}
