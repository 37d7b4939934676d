//! Why a step of a plan failed.

use nix::errno::Errno;

use super::channel::ChannelError;
use super::hooks::HookError;
use super::privileges::PrivilegeError;
use super::{console, program};

/// Why one step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepFailure {
    #[error(transparent)]
    Errno(#[from] Errno),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{said}: {errno}")]
    Kernel { said: String, errno: Errno },
    #[error("it is no real directory in the image")]
    NotADirectory,
    #[error("nothing is mounted there")]
    NoMount,
    #[error("it would cover the root")]
    OverRoot,
    #[error("its source was not opened before the clone")]
    NotPrepared,
    #[error("/dev/null of the container is not the null device")]
    FakeNull,
    #[error("the working directory is outside the root")]
    OutsideRoot,
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    #[error(transparent)]
    Program(#[from] program::ProgramError),
    #[error(transparent)]
    Console(#[from] console::ConsoleError),
}
