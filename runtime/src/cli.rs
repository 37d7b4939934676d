//! The command line of `holdall-runtime`: runc's verbs and flags.

use std::process::ExitCode;

/// Runs one verb.
pub(crate) fn main() -> ExitCode {
    ExitCode::FAILURE
}
