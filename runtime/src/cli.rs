//! The command line of `holdall-runtime`: runc's verbs and flags.

use std::process::ExitCode;

mod arguments;
mod exec;
mod features;
mod journal;
mod show;
mod signal;
mod verbs;
use arguments::Arguments;

/// Runs one verb.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => return journal::usage(&error),
    };
    journal::begin(&arguments);
    ExitCode::from(verbs::run(arguments))
}
