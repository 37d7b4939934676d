//! Command lines that can't be understood, and what would have been right.

use holdall_protocol::name::NameError;
use holdall_protocol::signal::SignalError;

/// Why a command line can't be understood. All end with code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("{0:?} is not a verb\nhelp: to run a command beside the services: /init -- {0} …")]
    UnknownVerb(String),
    #[error(
        "{word:?} is not expected after `run`\nhelp: a command follows `--`: /init run -- {word} …"
    )]
    CommandWithoutDashes { word: String },
    #[error("unknown option {option} for `{verb}`\nhelp: /init {verb} --help shows its options")]
    UnknownOption { option: String, verb: &'static str },
    #[error("unknown option {0}\nhelp: /init --help shows all")]
    UnknownGlobalOption(String),
    #[error("{0} needs a value")]
    MissingValue(&'static str),
    #[error("{0} takes no value")]
    UnexpectedValue(String),
    #[error("`{verb}` takes no {word:?}")]
    UnexpectedWord { verb: &'static str, word: String },
    #[error("`{verb}` needs {what}")]
    MissingWord {
        verb: &'static str,
        what: &'static str,
    },
    #[error("{option} can't be {value:?}: write {wanted}")]
    BadValue {
        option: &'static str,
        value: String,
        wanted: &'static str,
    },
    #[error("{name:?} is no service: {source}")]
    BadName { name: String, source: NameError },
    #[error(transparent)]
    BadSignal(#[from] SignalError),
}
