//! `ready`: how a service says that it is ready.

use super::probe::{self, Probe};
use super::values::positive;
use super::write::quoted;
use crate::Millis;
use crate::decode::{Problems, Value};

/// `ready`. Without it a service is ready at its first good `health`, and
/// without that too when it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ready {
    /// How it says so.
    pub by: Dialect,
    /// Not ready after so long, it has failed; never where none.
    pub timeout: Option<Millis>,
}

/// The ways to say that one is ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// sd_notify(3): READY=1 to the socket in NOTIFY_SOCKET.
    Notify,
    /// It has lived for so long.
    After(Millis),
    /// A line written to this descriptor, as s6 has it.
    Fd(u32),
    /// A line of its log that has this text in it, in which `*` stands for
    /// anything (and `\*` for a star).
    Log(String),
    /// Init asks.
    Asked(Probe),
}

/// The lowest and the highest descriptor of `fd`: below are the program's own
/// three, above nobody looks.
const DESCRIPTORS: std::ops::RangeInclusive<u32> = 3..=63;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;

const HELP: &str =
    "write \"notify\", { fd = 3 }, { log = \"text\" }, or a probe such as { tcp = 80 }";

/// Reads `ready = "notify"` or `{ notify | after | fd | log | exec | http | tcp | file
/// = …, timeout }`.
pub(super) fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Ready> {
    let by = match value.as_str() {
        Some("notify") => Some(Dialect::Notify),
        Some(text) => {
            let message = format!("`ready` can't be {text:?}");
            problems.add_help(value.span(), message, HELP);
            return None;
        }
        None => None,
    };
    if let Some(by) = by {
        return Some(Ready { by, timeout: None });
    }
    let Some(mut table) = value.as_table() else {
        value.wrong_type("\"notify\" or a table", problems);
        return None;
    };
    let asked = probe::take(
        &mut table,
        &["notify", "after", "fd", "log"],
        "ready",
        HELP,
        problems,
    );
    let by = asked.and_then(|asked| dialect(&asked, problems));
    let timeout = table.take("timeout");
    let timeout = timeout.and_then(|value| positive(&value, problems));
    table.finish(&[], problems);
    Some(Ready { by: by?, timeout })
}

fn dialect(asked: &Value<'_>, problems: &mut Problems) -> Option<Dialect> {
    match asked.key() {
        "notify" => {
            let on = asked.boolean(problems)?;
            if !on {
                problems.add(asked.span(), "`notify` is either true or not there");
            }
            on.then_some(Dialect::Notify)
        }
        "after" => positive(asked, problems).map(Dialect::After),
        "fd" => asked.integer(DESCRIPTORS, problems).map(Dialect::Fd),
        "log" => {
            let pattern = asked.string(problems)?;
            if pattern.is_empty() || pattern.len() > MAX_PATTERN || pattern.contains('\n') {
                let message = format!("`log` must be one line of 1 to {MAX_PATTERN} bytes");
                problems.add(asked.span(), message);
                return None;
            }
            Some(Dialect::Log(pattern.to_owned()))
        }
        _ => probe::read(asked, problems).map(Dialect::Asked),
    }
}

/// As TOML.
pub(super) fn write(ready: &Ready) -> String {
    let by = match &ready.by {
        Dialect::Notify if ready.timeout.is_none() => return quoted("notify"),
        Dialect::Notify => "notify = true".to_owned(),
        Dialect::After(span) => format!("after = \"{span}\""),
        Dialect::Fd(number) => format!("fd = {number}"),
        Dialect::Log(pattern) => format!("log = {}", quoted(pattern)),
        Dialect::Asked(probe) => probe::write(probe),
    };
    match ready.timeout {
        Some(timeout) => format!("{{ {by}, timeout = \"{timeout}\" }}"),
        None => format!("{{ {by} }}"),
    }
}
