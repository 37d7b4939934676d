//! When a service is started, restarted, stopped and reloaded.

use super::values::{positive, words};
use super::write::{list, quoted};
use crate::control::Exit;
use crate::decode::{Problems, Table, Value};
use crate::{Millis, Signal};

/// `start`: what brings it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// The boot of the box.
    Boot,
    /// The first connection to one of its sockets.
    OnDemand,
    /// A client, or a service that depends on it.
    Manual,
}

impl Start {
    /// Each with its word.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("boot", Self::Boot),
        ("on-demand", Self::OnDemand),
        ("manual", Self::Manual),
    ];
}

/// `restart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Restart {
    /// However it ends. The default for a daemon.
    Always,
    /// Unless it exits 0. The default for a oneshot.
    OnFailure,
    /// Not at all. The default for a job: the schedule starts it again.
    Never,
}

impl Restart {
    /// Each with its word.
    pub(super) const WORDS: [(&'static str, Self); 3] = [
        ("always", Self::Always),
        ("on-failure", Self::OnFailure),
        ("never", Self::Never),
    ];
}

/// `success = [0, 2]`: the exit codes that say that all is well. A signal never
/// does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExitCodes([u64; 4]);

impl Default for ExitCodes {
    fn default() -> Self {
        [0].into_iter().collect()
    }
}

impl FromIterator<u8> for ExitCodes {
    fn from_iter<T: IntoIterator<Item = u8>>(codes: T) -> Self {
        let mut set = Self([0; 4]);
        for code in codes {
            if let Some(word) = set.0.get_mut(usize::from(code / 64)) {
                *word |= 1 << (code % 64);
            }
        }
        set
    }
}

impl ExitCodes {
    /// Whether a process that ended so says that all is well.
    #[must_use]
    pub fn has(self, exit: Exit) -> bool {
        let Exit::Code(code) = exit else { return false };
        let word = self.0.get(usize::from(code / 64)).copied();
        word.is_some_and(|word| word >> (code % 64) & 1 == 1)
    }

    /// Each, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |code| self.has(Exit::Code(*code)))
    }
}

/// Reads `success`.
pub(super) fn exit_codes(value: &Value<'_>, problems: &mut Problems) -> Option<ExitCodes> {
    let Some(elements) = value.as_array() else {
        value.wrong_type("an array of exit codes such as [0, 2]", problems);
        return None;
    };
    let codes = elements
        .iter()
        .filter_map(|code| code.integer(0..=u8::MAX, problems));
    Some(codes.collect())
}

/// As TOML.
pub(super) fn write_exit_codes(codes: ExitCodes) -> String {
    let codes: Vec<String> = codes.iter().map(|code| code.to_string()).collect();
    format!("[{}]", codes.join(", "))
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

impl OnUnhealthy {
    /// Each with its word.
    pub(super) const WORDS: [(&'static str, Self); 2] =
        [("restart", Self::Restart), ("ignore", Self::Ignore)];
}

/// `stop = { signal = "TERM", timeout = "5s", command = "…", group = true }`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stop {
    /// Sent first; TERM unless said. With a command, only where that fails.
    pub signal: Signal,
    /// KILL follows after it; 5 s unless said.
    pub timeout: Millis,
    /// Run in place of the signal, split into words, with MAINPID in its
    /// environment.
    pub command: Option<Vec<String>>,
    /// Its signals go to its whole process group; only to its main process
    /// otherwise.
    pub group: bool,
}

/// `reload`: what makes a service read its files again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reload {
    /// A signal to its main process.
    Signal(Signal),
    /// A command, split into words, with MAINPID in its environment.
    Command(Vec<String>),
}

/// The word of a value among `words`.
pub(super) fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> String {
    let found = words.iter().find(|(_, known)| known == value);
    quoted(found.map_or("", |(word, _)| word))
}

/// Reads `backoff`.
pub(super) fn backoff(mut table: Table<'_>, default: Backoff, problems: &mut Problems) -> Backoff {
    let initial = table
        .take("initial")
        .and_then(|value| value.duration(problems));
    let max = table.take("max");
    let max_span = max.as_ref().map(Value::span);
    let max = max.and_then(|value| value.duration(problems));
    let initial = initial.unwrap_or(default.initial);
    // Where only a longer first wait is said, it is the longest one too.
    let read = Backoff {
        initial,
        max: max.unwrap_or(default.max.max(initial)),
    };
    if let Some(span) = max_span
        && read.max < read.initial
    {
        let Backoff { initial, max } = read;
        problems.add(
            span,
            format!("the longest wait, {max}, is below the first, {initial}"),
        );
    }
    table.finish(&[], problems);
    read
}

/// Reads `give_up`.
pub(super) fn give_up(mut table: Table<'_>, default: GiveUp, problems: &mut Problems) -> GiveUp {
    let failures = table
        .take("failures")
        .and_then(|value| value.integer(0..=1000, problems));
    let within = table
        .take("within")
        .and_then(|value| positive(&value, problems));
    table.finish(&[], problems);
    GiveUp {
        failures: failures.unwrap_or(default.failures),
        within: within.unwrap_or(default.within),
    }
}

/// Reads `stop`.
pub(super) fn stop(mut table: Table<'_>, default: &Stop, problems: &mut Problems) -> Stop {
    let signal = table
        .take("signal")
        .and_then(|value| value.parsed(problems));
    let timeout = table
        .take("timeout")
        .and_then(|value| value.duration(problems));
    let command = table
        .take("command")
        .and_then(|value| words(&value, problems));
    let group = table.take("group");
    let group = group.and_then(|value| value.boolean(problems));
    table.finish(&[], problems);
    Stop {
        signal: signal.unwrap_or(default.signal),
        timeout: timeout.unwrap_or(default.timeout),
        command: command.or_else(|| default.command.clone()),
        group: group.unwrap_or(default.group),
    }
}

/// As TOML; `group` only where it is not as in `usual`.
pub(super) fn write_stop(stop: &Stop, usual: &Stop) -> String {
    let Stop {
        signal,
        timeout,
        command,
        group,
    } = stop;
    let command = command
        .as_ref()
        .map(|words| format!(", command = {}", list(words)));
    let command = command.unwrap_or_default();
    let group = if *group == usual.group {
        String::new()
    } else {
        format!(", group = {group}")
    };
    format!("{{ signal = \"{signal}\", timeout = \"{timeout}\"{command}{group} }}")
}

/// Reads `reload = "HUP"` or `{ signal | command = … }`.
pub(super) fn reload(value: &Value<'_>, problems: &mut Problems) -> Option<Reload> {
    if value.as_str().is_some() {
        return value.parsed(problems).map(Reload::Signal);
    }
    let Some(mut table) = value.as_table() else {
        value.wrong_type("a signal or a table", problems);
        return None;
    };
    let signal = table.take("signal");
    let command = table.take("command");
    table.finish(&[], problems);
    match (signal, command) {
        (Some(signal), None) => signal.parsed(problems).map(Reload::Signal),
        (None, Some(command)) => words(&command, problems).map(Reload::Command),
        (Some(_), Some(command)) => {
            problems.add(
                command.key_span(),
                "`reload` has both `signal` and `command`",
            );
            None
        }
        (None, None) => {
            let help = "write \"HUP\", or { command = \"nginx -s reload\" }";
            problems.add_help(value.span(), "`reload` does not say how", help);
            None
        }
    }
}

/// As TOML.
pub(super) fn write_reload(reload: &Reload) -> String {
    match reload {
        Reload::Signal(signal) => quoted(signal),
        Reload::Command(command) => format!("{{ command = {} }}", list(command)),
    }
}
