//! What begins with a dash.

use std::ffi::{OsStr, OsString};

use holdall_protocol::control::HealthKind;

use super::{Raw, Since};
use crate::signals::Forwarding;
use crate::usage::UsageError;

/// Verbs that print something but errors.
const HAS_OUTPUT: [&str; 9] = [
    "ps", "why", "logs", "events", "reload", "scale", "health", "check", "version",
];

/// The last of the real-time signals.
const HIGHEST_SIGNAL: u8 = 64;

/// Reads one option, with its value where it has one.
pub(super) fn read(
    raw: &mut Raw,
    argument: &OsStr,
    text: &str,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<(), UsageError> {
    let (name, inline) = match text.split_once('=') {
        Some((name, _)) if name.starts_with("--") => (name, tail_of(argument, name.len() + 1)),
        Some(_) | None => (text, None),
    };
    let has_inline = inline.is_some();
    let mut value = |option: &'static str| {
        inline
            .clone()
            .or_else(|| rest.next())
            .ok_or(UsageError::MissingValue(option))
    };
    match (name, raw.verb) {
        ("--config", _) => {
            raw.config = Some(value("--config")?.into());
            raw.supervisord = false;
        }
        ("--supervisord", None | Some("run" | "check")) => {
            raw.config = Some(value("--supervisord")?.into());
            raw.supervisord = true;
        }
        ("--run-dir", _) => raw.run_dir = Some(value("--run-dir")?.into()),
        ("--profile", _) => {
            raw.profile = Some(value("--profile")?.to_string_lossy().into_owned());
        }
        ("--format", Some(verb)) if HAS_OUTPUT.contains(&verb) => {
            let format = value("--format")?;
            raw.json = match format.to_str() {
                Some("json") => true,
                Some("table") => false,
                Some(_) | None => {
                    let value = format.to_string_lossy().into_owned();
                    let wanted = "table or json";
                    return Err(UsageError::BadValue {
                        option: "--format",
                        value,
                        wanted,
                    });
                }
            };
        }
        ("-n" | "--tail", Some("logs")) => {
            raw.tail = Some(number("--tail", "a number of lines", value("--tail")?)?);
        }
        ("-n" | "--last", Some("events")) => {
            raw.last = Some(number("--last", "a number of events", value("--last")?)?);
        }
        ("--since", Some("logs")) => {
            let since = value("--since")?.to_string_lossy().into_owned();
            let ago = since.parse().map(Since::Ago);
            let at = || since.parse().map(Since::At);
            let wanted = "how long ago (10m), or a time (2026-11-22T21:00:00Z)";
            let bad = |_| UsageError::BadValue {
                option: "--since",
                value: since.clone(),
                wanted,
            };
            raw.since = Some(ago.or_else(|_| at()).map_err(bad)?);
        }
        ("--rewrite", None | Some("run")) => {
            let text = value("--rewrite")?.to_string_lossy().into_owned();
            let Some((from, to)) = Forwarding::rewrite(&text, HIGHEST_SIGNAL) else {
                let wanted = "two signals, such as 15:3 (0: send nothing)";
                return Err(UsageError::BadValue {
                    option: "--rewrite",
                    value: text,
                    wanted,
                });
            };
            raw.forwarding.add(from, to);
        }
        (_, verb) => {
            flag(raw, name, verb)?;
            if has_inline {
                return Err(UsageError::UnexpectedValue(name.to_owned()));
            }
        }
    }
    Ok(())
}

fn number(option: &'static str, wanted: &'static str, value: OsString) -> Result<u32, UsageError> {
    let value = value.to_string_lossy().into_owned();
    let number = value.parse();
    number.map_err(|_| UsageError::BadValue {
        option,
        value,
        wanted,
    })
}

/// An option without a value.
fn flag(raw: &mut Raw, name: &str, verb: Option<&'static str>) -> Result<(), UsageError> {
    match (name, verb) {
        ("-h" | "--help", _) => raw.help = true,
        ("-V" | "--version", None) => raw.verb = Some("version"),
        ("--after-ready", None | Some("run")) => raw.after_ready = true,
        ("--single-child", None | Some("run")) => raw.single_child = true,
        ("-f" | "--follow", Some("logs" | "events")) => raw.follow = true,
        ("-t" | "--timestamps", Some("logs")) => raw.timestamps = true,
        ("--dry-run", Some("reload")) => raw.dry_run = true,
        ("--started", Some("health")) => raw.kind = Some(HealthKind::Started),
        ("--ready", Some("health")) => raw.kind = Some(HealthKind::Ready),
        ("--live", Some("health")) => raw.kind = Some(HealthKind::Live),
        (_, Some(verb)) => {
            return Err(UsageError::UnknownOption {
                option: name.to_owned(),
                verb,
            });
        }
        (_, None) => return Err(UsageError::UnknownGlobalOption(name.to_owned())),
    }
    Ok(())
}

/// The bytes of `argument` from `at` on.
fn tail_of(argument: &OsStr, at: usize) -> Option<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    argument
        .as_bytes()
        .get(at..)
        .map(|tail| OsString::from_vec(tail.to_vec()))
}
