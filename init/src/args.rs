//! Arguments, parsed by hand: PID 1 carries no argument library.
//!
//! A verb says what to do; what follows `--` is always a command. Options
//! stand before or after the verb.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use holdall_protocol::control::HealthKind;
use holdall_protocol::{ServiceName, Signal};

use crate::usage::UsageError;

/// Where the services are described unless `--config` says otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/holdall.toml";

/// The checked command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--run-dir`.
    pub(crate) run_dir: Option<PathBuf>,
    /// `--profile`.
    pub(crate) profile: Option<String>,
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
    },
    /// Show the services.
    Ps {
        /// As one JSON document.
        json: bool,
    },
    /// Show the log.
    Logs {
        /// Of these; everything where empty.
        services: Vec<ServiceName>,
        /// Only the newest lines.
        tail: Option<u32>,
        /// And every new one.
        follow: bool,
    },
    /// Bring services up.
    Start(Vec<ServiceName>),
    /// Take services down.
    Stop(Vec<ServiceName>),
    /// Down and up.
    Restart(Vec<ServiceName>),
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
pub(crate) const VERBS: [&str; 10] = [
    "run", "ps", "logs", "start", "stop", "restart", "signal", "health", "check", "version",
];

/// What has been read so far.
#[derive(Default)]
struct Raw {
    config: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    profile: Option<String>,
    verb: Option<&'static str>,
    words: Vec<String>,
    command: Option<Vec<OsString>>,
    help: bool,
    after_ready: bool,
    json: bool,
    follow: bool,
    tail: Option<u32>,
    kind: Option<HealthKind>,
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
            option(&mut raw, &argument, &text, &mut arguments)?;
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
    check(raw)
}

/// Reads one option, with its value where it has one.
fn option(
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
        ("--config", _) => raw.config = Some(value("--config")?.into()),
        ("--run-dir", _) => raw.run_dir = Some(value("--run-dir")?.into()),
        ("--profile", _) => {
            raw.profile = Some(value("--profile")?.to_string_lossy().into_owned());
        }
        ("--format", Some("ps")) => {
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
            let count = value("--tail")?.to_string_lossy().into_owned();
            let wanted = "a number of lines";
            let bad = |value| UsageError::BadValue {
                option: "--tail",
                value,
                wanted,
            };
            raw.tail = Some(count.parse().map_err(|_| bad(count))?);
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

/// An option without a value.
fn flag(raw: &mut Raw, name: &str, verb: Option<&'static str>) -> Result<(), UsageError> {
    match (name, verb) {
        ("-h" | "--help", _) => raw.help = true,
        ("-V" | "--version", None) => raw.verb = Some("version"),
        ("--after-ready", None | Some("run")) => raw.after_ready = true,
        ("-f" | "--follow", Some("logs")) => raw.follow = true,
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

/// Turns what was read into what may be done.
fn check(raw: Raw) -> Result<Invocation, UsageError> {
    let Raw {
        config,
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
            run_dir,
            profile,
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
            Verb::Ps { json: raw.json }
        }
        "logs" => Verb::Logs {
            services: names(words)?,
            tail: raw.tail,
            follow: raw.follow,
        },
        "start" => Verb::Start(names(words)?),
        "stop" => Verb::Stop(names(words)?),
        "restart" => Verb::Restart(names(words)?),
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
            none(words.get(1..).unwrap_or(&[]))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Invocation, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn verb(line: &str) -> Verb {
        words(line).expect("well-formed").verb
    }

    #[test]
    fn nothing_at_all_runs_the_services() {
        assert_eq!(
            verb(""),
            Verb::Run {
                command: vec![],
                after_ready: false
            }
        );
        assert_eq!(
            verb("run --"),
            Verb::Run {
                command: vec![],
                after_ready: false
            }
        );
    }

    #[test]
    fn what_follows_the_dashes_is_a_command_whatever_it_looks_like() {
        let command = vec!["sh".into(), "-c".into(), "--config".into()];
        let run = Verb::Run {
            command,
            after_ready: false,
        };
        assert_eq!(verb("run -- sh -c --config"), run);
        assert_eq!(verb("-- sh -c --config"), run);
        let ps = Verb::Run {
            command: vec!["ps".into(), "aux".into()],
            after_ready: true,
        };
        assert_eq!(verb("run --after-ready -- ps aux"), ps);
    }

    #[test]
    fn a_command_without_dashes_is_told_where_they_go() {
        let error = words("redis-server").expect_err("no verb").to_string();
        assert!(error.contains("/init -- redis-server"), "{error}");
        let error = words("run redis-server")
            .expect_err("no dashes")
            .to_string();
        assert!(error.contains("/init run -- redis-server"), "{error}");
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb() {
        for line in ["--run-dir /r ps", "ps --run-dir /r", "ps --run-dir=/r"] {
            assert_eq!(
                words(line).expect(line).run_dir,
                Some(PathBuf::from("/r")),
                "{line}"
            );
        }
    }

    #[test]
    fn each_verb_takes_its_own_words_and_no_others() {
        let web: ServiceName = "web".parse().expect("a name");
        assert_eq!(
            verb("logs -f -n 20 web"),
            Verb::Logs {
                services: vec![web.clone()],
                tail: Some(20),
                follow: true
            }
        );
        assert_eq!(verb("signal HUP web"), Verb::Signal(Signal::HUP, vec![web]));
        assert_eq!(verb("health --live"), Verb::Health(HealthKind::Live));
        assert_eq!(verb("ps --help"), Verb::Help(Some("ps")));
        for bad in [
            "ps web",
            "signal HUP",
            "signal",
            "signal NOPE web",
            "health --json",
            "logs -n",
            "logs -n x",
            "check a b",
            "start WEB",
            "ps --follow",
            "--nope",
            "version -- sh",
            "ps --format yaml",
            "logs --follow=1",
        ] {
            assert!(words(bad).is_err(), "{bad:?}");
        }
    }
}
