//! Raw words to checked arguments. Options of the runtime and of the verb may
//! stand before or after the verb, as callers of runc write them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Every option: long name, short name, whether it takes a value.
const OPTIONS: [(&str, Option<char>, bool); 34] = [
    ("root", None, true),
    ("log", None, true),
    ("log-format", None, true),
    ("debug", None, false),
    ("systemd-cgroup", None, false),
    ("rootless", None, true),
    ("criu", None, true),
    ("help", Some('h'), false),
    ("version", Some('v'), false),
    ("bundle", Some('b'), true),
    ("console-socket", None, true),
    ("pid-file", None, true),
    ("no-pivot", None, false),
    ("no-new-keyring", None, false),
    ("preserve-fds", None, true),
    ("detach", Some('d'), false),
    ("keep", None, false),
    ("all", Some('a'), false),
    ("force", Some('f'), false),
    ("format", None, true),
    ("quiet", Some('q'), false),
    ("tty", Some('t'), false),
    ("process", Some('p'), true),
    ("env", Some('e'), true),
    ("user", Some('u'), true),
    ("additional-gids", Some('g'), true),
    ("cwd", Some('w'), true),
    ("cap", Some('c'), true),
    ("no-new-privs", None, false),
    // Ours: how the library calls the runtime.
    ("rootfs-fd", None, true),
    ("report-fd", None, true),
    ("config-fd", None, true),
    ("start-fd", None, true),
    ("transient", None, false),
];

/// What the verb is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Start,
    State,
    Kill,
    Delete,
    Run,
    Exec,
    Ps,
    List,
    Features,
    Spec,
    Help,
    Version,
}

/// Why the words can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("cannot use option {0}: there is none by that name")]
    Unknown(String),
    #[error("cannot use option {0} without a value")]
    NoValue(String),
    #[error("cannot use option --{option} with {value:?}")]
    Value { option: &'static str, value: String },
    #[error("cannot use {0:?}: there is no such command")]
    NoVerb(String),
    #[error("cannot {0}: it is not built into this runtime yet")]
    NotBuilt(String),
    #[error("cannot go on without a command")]
    Nothing,
    #[error("cannot {verb} without {what}")]
    Missing {
        verb: &'static str,
        what: &'static str,
    },
    #[error("cannot use {0:?}: it is one argument too many")]
    TooMany(String),
    #[error("cannot use --systemd-cgroup: cgroups are made directly here")]
    Systemd,
}

/// Checked words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) verb: Verb,
    options: BTreeMap<&'static str, Vec<OsString>>,
    /// What is no option: id, signal, command.
    pub(crate) words: Vec<OsString>,
}

impl Arguments {
    /// Sorts words out.
    pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut words = words.peekable();
        let mut options: BTreeMap<&'static str, Vec<OsString>> = BTreeMap::new();
        let mut verb = None;
        let mut rest = Vec::new();
        while let Some(word) = words.next() {
            // The words after exec's id are somebody else's command line.
            let theirs = verb == Some(Verb::Exec) && !rest.is_empty();
            let text = word.to_string_lossy().into_owned();
            if theirs || text == "--" {
                rest.extend(if theirs { Some(word) } else { None });
                rest.extend(words.by_ref());
                break;
            }
            if !text.starts_with('-') || text == "-" {
                match verb {
                    None => verb = Some(verb_of(&text)?),
                    Some(_) => rest.push(word),
                }
                continue;
            }
            let (name, mut value) = match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(OsString::from(value))),
                None => (text.clone(), None),
            };
            let (long, takes) = option_of(&name)?;
            if takes && value.is_none() {
                value = Some(words.next().ok_or(UsageError::NoValue(name))?);
            }
            options
                .entry(long)
                .or_default()
                .push(value.unwrap_or_default());
        }
        let verb = match verb {
            _ if options.contains_key("help") => Verb::Help,
            None if options.contains_key("version") => Verb::Version,
            None => return Err(UsageError::Nothing),
            Some(verb) => verb,
        };
        if options.contains_key("no-pivot") {
            return Err(UsageError::NotBuilt("use --no-pivot".to_owned()));
        }
        if options.contains_key("systemd-cgroup") {
            return Err(UsageError::Systemd);
        }
        Ok(Self {
            verb,
            options,
            words: rest,
        })
    }

    /// Whether an option is there.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options
            .get(option)
            .and_then(|values| values.last())
            .is_some_and(|v| v != "false")
    }

    /// An option's last value.
    pub(crate) fn value(&self, option: &str) -> Option<&OsStr> {
        self.options.get(option)?.last().map(OsString::as_os_str)
    }

    /// All values of an option.
    pub(crate) fn values(&self, option: &str) -> impl Iterator<Item = &OsString> {
        self.options.get(option).into_iter().flatten()
    }

    /// A path.
    pub(crate) fn path(&self, option: &str) -> Option<PathBuf> {
        self.value(option).map(PathBuf::from)
    }

    /// A small number, such as a descriptor's.
    pub(crate) fn number(&self, option: &'static str) -> Result<Option<i32>, UsageError> {
        let Some(value) = self.value(option) else {
            return Ok(None);
        };
        let text = value.to_string_lossy();
        let invalid = || UsageError::Value {
            option,
            value: text.clone().into_owned(),
        };
        match text.parse::<u16>() {
            Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Some(i32::from(number)))
            }
            Ok(_) | Err(_) => Err(invalid()),
        }
    }

    /// The container's id, which comes first.
    pub(crate) fn id(&self, verb: &'static str) -> Result<String, UsageError> {
        self.words
            .first()
            .and_then(|word| word.to_str())
            .map(str::to_owned)
            .ok_or(UsageError::Missing {
                verb,
                what: "a container id",
            })
    }

    /// Refuses words after the first `limit`.
    pub(crate) fn at_most(&self, limit: usize) -> Result<(), UsageError> {
        self.words.get(limit).map_or(Ok(()), |word| {
            Err(UsageError::TooMany(word.to_string_lossy().into_owned()))
        })
    }
}

fn verb_of(word: &str) -> Result<Verb, UsageError> {
    Ok(match word {
        "create" => Verb::Create,
        "start" => Verb::Start,
        "state" => Verb::State,
        "kill" => Verb::Kill,
        "delete" => Verb::Delete,
        "run" => Verb::Run,
        "exec" => Verb::Exec,
        "ps" => Verb::Ps,
        "list" => Verb::List,
        "features" => Verb::Features,
        "spec" => Verb::Spec,
        "help" => Verb::Help,
        "version" => Verb::Version,
        "pause" | "resume" | "update" | "events" | "checkpoint" | "restore" => {
            return Err(UsageError::NotBuilt(word.to_owned()));
        }
        other => return Err(UsageError::NoVerb(other.to_owned())),
    })
}

fn option_of(word: &str) -> Result<(&'static str, bool), UsageError> {
    let unknown = || UsageError::Unknown(word.to_owned());
    let found = OPTIONS
        .iter()
        .find(|(long, short, _)| match word.strip_prefix("--") {
            Some(name) => name == *long,
            // runc's flags take one dash before a long name too.
            None => word.strip_prefix('-').is_some_and(|name| {
                name == *long || short.is_some_and(|short| name == short.to_string())
            }),
        });
    found
        .map(|(long, _, takes)| (*long, *takes))
        .ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, UsageError> {
        Arguments::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_stand_before_or_after_the_verb() {
        let one = parse(&["--root", "/r", "run", "-b", "/b", "x"]).unwrap();
        let other = parse(&["run", "x", "--bundle=/b", "--root=/r"]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.path("root"), Some(PathBuf::from("/r")));
        assert_eq!(one.id("run").unwrap(), "x");
    }

    #[test]
    fn what_follows_exec_s_id_is_the_command() {
        let arguments = parse(&["exec", "-t", "x", "ls", "-l", "--", "--root"]).unwrap();
        assert!(arguments.has("tty"));
        assert_eq!(arguments.words, ["x", "ls", "-l", "--", "--root"]);
    }

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        for bad in ["+1", "-1", " 1", "1x", "", "99999999999"] {
            let arguments = parse(&["run", "--preserve-fds", bad, "x"]).unwrap();
            assert!(arguments.number("preserve-fds").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_can_t_be_used_is_named() {
        let text = |words: &[&str]| parse(words).unwrap_err().to_string();
        assert_eq!(
            text(&["fly"]),
            "cannot use \"fly\": there is no such command"
        );
        assert_eq!(
            text(&["pause", "x"]),
            "cannot pause: it is not built into this runtime yet"
        );
        assert_eq!(
            text(&["run", "--wings"]),
            "cannot use option --wings: there is none by that name"
        );
        assert_eq!(text(&[]), "cannot go on without a command");
    }
}
