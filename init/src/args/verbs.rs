//! From the words of a verb to what may be done.

use std::path::PathBuf;

use holdall_protocol::ServiceName;
use holdall_protocol::control::HealthKind;
use holdall_protocol::name::MAX_INSTANCES;

use super::{Invocation, Raw, Verb};
use crate::usage::UsageError;

/// Turns what was read into what may be done.
pub(super) fn check(raw: Raw) -> Result<Invocation, UsageError> {
    let Raw {
        config,
        supervisord,
        run_dir,
        profile,
        words,
        command,
        ..
    } = raw;
    let name = raw.verb.unwrap_or("run");
    let done = |verb| {
        Ok(Invocation {
            config,
            supervisord,
            run_dir,
            profile,
            json: raw.json,
            verb,
        })
    };
    if raw.help {
        return done(Verb::Help(raw.verb));
    }
    if let (Some(command), true) = (&command, name != "run") {
        let word = command
            .first()
            .map_or("--".into(), |w| w.to_string_lossy().into_owned());
        return Err(UsageError::UnexpectedWord { verb: name, word });
    }
    let none = |words: &[String]| match words.first() {
        Some(word) => Err(UsageError::UnexpectedWord {
            verb: name,
            word: word.clone(),
        }),
        None => Ok(()),
    };
    let verb = match name {
        "ps" => {
            none(&words)?;
            Verb::Ps
        }
        "logs" => Verb::Logs {
            services: names(words)?,
            tail: raw.tail,
            since: raw.since,
            timestamps: raw.timestamps,
            follow: raw.follow,
        },
        // Without an end unless it is told which it shall show.
        "events" => Verb::Events {
            services: names(words)?,
            last: raw.last,
            follow: raw.follow || raw.last.is_none(),
        },
        "start" => Verb::Start(names(words)?),
        "stop" => Verb::Stop(names(words)?),
        "restart" => Verb::Restart(names(words)?),
        "reload" => reload(names(words)?, raw.dry_run)?,
        "scale" => Verb::Scale(counts(words)?),
        "why" => {
            none(words.get(1..).unwrap_or(&[]))?;
            let missing = UsageError::MissingWord {
                verb: "why",
                what: "a service",
            };
            Verb::Why(names(words)?.pop().ok_or(missing)?)
        }
        "signal" => {
            let mut words = words.into_iter();
            let missing = |what| UsageError::MissingWord {
                verb: "signal",
                what,
            };
            let signal = words
                .next()
                .ok_or_else(|| missing("a signal and a service"))?
                .parse()?;
            let services = names(words.collect())?;
            if services.is_empty() {
                return Err(missing("the services to send it to"));
            }
            Verb::Signal(signal, services)
        }
        "health" => {
            none(&words)?;
            Verb::Health(raw.kind.unwrap_or(HealthKind::Auto))
        }
        "check" => {
            // A supervisord.conf was named by its option.
            let taken = usize::from(!supervisord);
            none(words.get(taken..).unwrap_or(&[]))?;
            Verb::Check(words.first().map(PathBuf::from))
        }
        "version" => {
            none(&words)?;
            Verb::Version
        }
        _ => {
            if let Some(word) = words.first() {
                return Err(UsageError::CommandWithoutDashes { word: word.clone() });
            }
            Verb::Run {
                command: command.unwrap_or_default(),
                after_ready: raw.after_ready,
                forwarding: raw.forwarding,
                single_child: raw.single_child,
            }
        }
    };
    done(verb)
}

fn names(words: Vec<String>) -> Result<Vec<ServiceName>, UsageError> {
    let name = |word: String| {
        word.parse().map_err(|source| UsageError::BadName {
            name: word.clone(),
            source,
        })
    };
    words.into_iter().map(name).collect()
}

fn reload(services: Vec<ServiceName>, dry_run: bool) -> Result<Verb, UsageError> {
    match services.first() {
        // What a service would make of its own files, nobody can say.
        Some(service) if dry_run => Err(UsageError::UnexpectedWord {
            verb: "reload --dry-run",
            word: service.to_string(),
        }),
        Some(_) | None => Ok(Verb::Reload { services, dry_run }),
    }
}

/// `SERVICE=NUMBER`, each.
fn counts(words: Vec<String>) -> Result<Vec<(ServiceName, u32)>, UsageError> {
    let count = |word: String| {
        let bad = || UsageError::BadValue {
            option: "scale",
            value: word.clone(),
            wanted: "SERVICE=NUMBER, such as web=3",
        };
        let (name, number) = word.split_once('=').ok_or_else(bad)?;
        let number = number.parse::<u32>().ok();
        let number = number.filter(|number| *number <= MAX_INSTANCES);
        let name = names(vec![name.to_owned()])?.pop();
        name.zip(number).ok_or_else(bad)
    };
    let counts: Result<Vec<_>, UsageError> = words.into_iter().map(count).collect();
    let counts = counts?;
    if counts.is_empty() {
        return Err(UsageError::MissingWord {
            verb: "scale",
            what: "a service and a number, such as web=3",
        });
    }
    Ok(counts)
}
