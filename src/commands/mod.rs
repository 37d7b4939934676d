//! One verb a file, thin: arguments to a call of a library, its answer to
//! text.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod fsck;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod ps;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod save;
pub(crate) mod start;
pub(crate) mod stop;

/// What a verb ends with: its exit code, or why it failed.
pub(crate) type Outcome = Result<u8, crate::report::Failure>;
