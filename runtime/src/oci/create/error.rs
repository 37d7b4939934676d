//! Why there is no container.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::oci::cgroup::CgroupError;
use crate::oci::channel::ChannelError;
use crate::oci::console::ConsoleError;
use crate::oci::hooks::HookError;
use crate::oci::plan::PlanError;
use crate::oci::prepare::PrepareError;
use crate::oci::privileges::PrivilegeError;
use crate::oci::seccomp::SeccompError;
use crate::oci::state::StateError;

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error("cannot read {}", .path.display())]
    Config {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot understand {}", .path.display())]
    Syntax {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot use version {0:?} of the runtime specification")]
    Version(String),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Console(#[from] ConsoleError),
    #[error("cannot clone the container's first process")]
    Clone(#[source] Errno),
    #[error("cannot set up the first process from outside")]
    Outside(#[source] io::Error),
    /// The child's own words.
    #[error("{message}")]
    Child { message: String, code: u8 },
    #[error("cannot tell why the first process ended")]
    ChildGone,
    #[error(transparent)]
    Channel(ChannelError),
    #[error("cannot write the pid file {}", .path.display())]
    PidFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl CreateError {
    /// The exit code that says as much as one number can.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Child { code, .. } => *code,
            _ => 125,
        }
    }
}

impl From<ChannelError> for CreateError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Gone => Self::ChildGone,
            other => Self::Channel(other),
        }
    }
}
