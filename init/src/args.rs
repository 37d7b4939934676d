//! Arguments, parsed by hand: PID 1 carries no argument library.
//!
//! A verb says what to do; what follows `--` is always a command. Options
//! stand before or after the verb.

use std::ffi::OsString;
use std::path::PathBuf;

use holdall_protocol::control::HealthKind;
use holdall_protocol::{Millis, Moment, ServiceName, Signal};

use crate::signals::Forwarding;
use crate::usage::UsageError;

mod options;
#[cfg(test)]
mod tests;
mod verbs;

/// Where the services are described unless `--config` says otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/holdall.toml";

/// The checked command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// `--config`, or `--supervisord`.
    pub(crate) config: Option<PathBuf>,
    /// The file is a supervisord.conf.
    pub(crate) supervisord: bool,
    /// `--run-dir`.
    pub(crate) run_dir: Option<PathBuf>,
    /// `--profile`.
    pub(crate) profile: Option<String>,
    /// `--format json`: one JSON document instead of a text for people.
    pub(crate) json: bool,
    /// What to do.
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Be the init.
    Run {
        /// The foreground command; none where empty.
        command: Vec<OsString>,
        /// Start it only once the box is ready.
        after_ready: bool,
        /// What signals become on their way to it.
        forwarding: Forwarding,
        /// They go to its main process alone.
        single_child: bool,
    },
    /// Show the services.
    Ps,
    /// Show the log.
    Logs {
        /// Of these; everything where empty.
        services: Vec<ServiceName>,
        /// Only the newest lines.
        tail: Option<u32>,
        /// Only lines from this time on.
        since: Option<Since>,
        /// With their times.
        timestamps: bool,
        /// And every new one.
        follow: bool,
    },
    /// Show how states change.
    Events {
        /// Of these; of all where empty.
        services: Vec<ServiceName>,
        /// The newest ones that are known first.
        last: Option<u32>,
        /// And every new one.
        follow: bool,
    },
    /// Bring services up.
    Start(Vec<ServiceName>),
    /// Take services down.
    Stop(Vec<ServiceName>),
    /// Down and up.
    Restart(Vec<ServiceName>),
    /// Read the file of services again; or make these read their own.
    Reload {
        /// Which.
        services: Vec<ServiceName>,
        /// Only say what would change.
        dry_run: bool,
    },
    /// Set the number of instances.
    Scale(Vec<(ServiceName, u32)>),
    /// Say why a service is as it is.
    Why(ServiceName),
    /// Send a signal.
    Signal(Signal, Vec<ServiceName>),
    /// Ask for the health.
    Health(HealthKind),
    /// Check a file of services.
    Check(Option<PathBuf>),
    /// Versions.
    Version,
    /// Print the help, of one verb or of all.
    Help(Option<&'static str>),
}

/// The verbs, as `--help` lists them.
pub(crate) const VERBS: [&str; 14] = [
    "run", "ps", "why", "logs", "events", "start", "stop", "restart", "reload", "scale", "signal",
    "health", "check", "version",
];

/// What has been read so far.
#[derive(Default)]
struct Raw {
    config: Option<PathBuf>,
    supervisord: bool,
    run_dir: Option<PathBuf>,
    profile: Option<String>,
    verb: Option<&'static str>,
    words: Vec<String>,
    command: Option<Vec<OsString>>,
    help: bool,
    after_ready: bool,
    forwarding: Forwarding,
    single_child: bool,
    json: bool,
    follow: bool,
    dry_run: bool,
    tail: Option<u32>,
    since: Option<Since>,
    timestamps: bool,
    last: Option<u32>,
    kind: Option<HealthKind>,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long ago.
    Ago(Millis),
    At(Moment),
}

/// Parses what follows the program's name.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Invocation, UsageError> {
    let mut raw = Raw::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            raw.command = Some(arguments.collect());
            break;
        }
        let text = argument.to_string_lossy().into_owned();
        if text.len() > 1 && text.starts_with('-') {
            options::read(&mut raw, &argument, &text, &mut arguments)?;
        } else if raw.verb.is_some() {
            raw.words.push(text);
        } else {
            let verb = VERBS.into_iter().find(|v| *v == text);
            let verb = if text == "help" {
                raw.help = true;
                continue;
            } else {
                verb
            };
            raw.verb = Some(verb.ok_or(UsageError::UnknownVerb(text))?);
        }
    }
    verbs::check(raw)
}
