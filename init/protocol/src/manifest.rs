//! The service manifest: the checked form of `[init]`, `[service.*]` and
//! `[profile.*]` of a holdall.toml.
//!
//! The builder and the init read it by this one parser, so that an image which
//! init can't start can't be built. A capability has one file here, with its
//! types, its reader and its writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Millis, ServiceName};

mod check;
mod expand;
mod files;
mod graph;
mod health;
mod life;
mod limits;
mod listener;
mod logging;
mod parse;
mod policy;
mod ports;
mod probe;
mod process;
mod profile;
mod ready;
mod schedule;
mod service;
mod unbuilt;
mod values;
mod write;

pub use files::{EnvFile, Template};
pub use health::Health;
pub use limits::{Bounds, Limits, Resource};
pub use listener::{LISTENER, LISTENER_SOCKET, Listener};
pub use logging::{BoxLog, LogFile, LogFormat, Logging, WhenFull};
pub use parse::Reader;
pub use policy::{Backoff, ExitCodes, GiveUp, OnUnhealthy, Reload, Restart, Start, Stop};
pub use ports::{Expose, Listen, ListenAddress, Protocol};
pub use probe::{HttpProbe, HttpTarget, Probe};
pub use profile::UnknownProfile;
pub use ready::{Dialect, Ready};
pub use schedule::{Schedule, ScheduleError};

/// A set of services, checked: every dependency exists and there is no cycle,
/// listen names and ports don't clash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// `name`: what the image is called.
    pub name: Option<String>,
    /// `[init]`.
    pub init: InitSettings,
    /// `[service.NAME]`, in the order of the file. Shared by what is made of this
    /// manifest: an init with a thousand services holds each of them once.
    pub services: Vec<Arc<Service>>,
    /// `[profile.NAME]`.
    pub profiles: BTreeMap<String, Profile>,
}

/// `[init]`: what is global.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitSettings {
    /// The whole of an ordered stop ends within this; 9 s unless said, inside
    /// docker's 10.
    pub stop_timeout: Millis,
    /// `keep_running`: the box goes on when every service has ended.
    pub keep_running: bool,
    /// `log`.
    pub log: BoxLog,
    /// `listener`: where health, metrics and the status page are served.
    pub listener: Option<Listener>,
}

impl Default for InitSettings {
    fn default() -> Self {
        Self {
            stop_timeout: Millis::from_secs(9),
            keep_running: false,
            log: BoxLog::default(),
            listener: None,
        }
    }
}

/// `[profile.NAME]`: values laid over those of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// Environment for every service.
    pub env: BTreeMap<String, String>,
    /// `service.NAME` below the profile.
    pub services: BTreeMap<ServiceName, Overlay>,
}

/// What a profile says of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The service with everything that the profile changes, but for `env`.
    pub service: Service,
    /// `env`, laid over that of the profile.
    pub env: BTreeMap<String, String>,
}

/// `[service.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// `type`.
    pub kind: Kind,
    /// `schedule`, of a job and of nothing else.
    pub schedule: Option<Schedule>,
    /// `command`, split as a shell splits words. Never empty.
    pub command: Vec<String>,
    /// `user`: a name or number in the image.
    pub user: Option<String>,
    /// `group`: a name or number in the image; the user's own where none.
    pub group: Option<String>,
    /// `groups`: supplementary groups beside those of the user.
    pub groups: Vec<String>,
    /// `umask`, 022 unless said.
    pub umask: u32,
    /// `dir`: the working directory, `/` unless said.
    pub dir: String,
    /// `env`.
    pub env: BTreeMap<String, String>,
    /// `env_file`: below `env`, the later over the earlier.
    pub env_files: Vec<EnvFile>,
    /// `templates`: made before each start.
    pub templates: Vec<Template>,
    /// `limits`.
    pub limits: Limits,
    /// `log`.
    pub log: Logging,
    /// `depends_on`.
    pub depends_on: Vec<Dependency>,
    /// `listen`: sockets that init opens and hands over.
    pub listen: Vec<Listen>,
    /// `handoff`: it gets the host's own listening sockets too.
    pub handoff: bool,
    /// `expose`: ports that the service binds itself.
    pub expose: Vec<Expose>,
    /// `volumes`: absolute paths.
    pub volumes: Vec<String>,
    /// `start`.
    pub start: Start,
    /// `order`: services of a lower one are started before those of a higher
    /// one, without waiting for them, and in an ordered stop are told to stop
    /// when those are gone.
    pub order: i32,
    /// `ready`.
    pub ready: Option<Box<Ready>>,
    /// `health`.
    pub health: Option<Box<Health>>,
    /// `watchdog`: it says WATCHDOG=1 (sd_notify) at least so often.
    pub watchdog: Option<Millis>,
    /// `restart`.
    pub restart: Restart,
    /// `success`: exit codes that say that all is well.
    pub success: ExitCodes,
    /// `start_retries`: in place of `backoff` and `give_up`.
    pub start_retries: Option<u32>,
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
    /// `reload`; a restart where none.
    pub reload: Option<Reload>,
    /// `instances`: so many of it, named `NAME@1` and so on. Where none, it is
    /// one, and can't be scaled.
    pub instances: Option<u32>,
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
    /// Runs to its end at each time of its schedule.
    Job,
}

/// One entry of `depends_on`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// It is ready (a oneshot: done; a job: waits for its time).
    Ready,
    /// It has ended with 0 (a job: the newest time).
    Done,
}
