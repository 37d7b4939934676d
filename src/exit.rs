//! The exit codes of `holdall`, docker's where docker has them.

/// All went well.
pub(crate) const OK: u8 = 0;
/// It could not be done.
pub(crate) const FAILURE: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// `run` and `exec`: holdall itself failed, so the code is not the program's.
pub(crate) const HOLDALL_FAILED: u8 = 125;
/// Ended by Ctrl-C or TERM before it was done: 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
