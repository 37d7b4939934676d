//! What stories ask of any engine.

use std::path::Path;
use std::process::Command;

use crate::env::Ran;

/// The OCI runtime under an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// Debian's, which docker and containerd would choose themselves.
    Runc,
    /// What podman would choose.
    Crun,
    /// Ours.
    Holdall,
}

impl Runtime {
    /// The program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Runc => "/usr/sbin/runc",
            Self::Crun => "/usr/bin/crun",
            Self::Holdall => env!("CARGO_BIN_EXE_holdall-runtime"),
        }
    }
}

/// The words of one engine for what they all do. A box is on the host's
/// network.
pub(crate) trait Engine {
    /// Puts the image of an archive into its store.
    fn load(&self, archive: &Path);

    /// Starts the image's services in the background.
    fn start(&self, name: &str, image: &str);

    /// Runs a program beside the services until it ends.
    fn run(&self, image: &str, program: &[&str]) -> Ran;

    /// Runs a program in a box.
    fn exec(&self, name: &str, program: &[&str]) -> Ran;

    /// Stops a box in order; its exit code.
    fn stop(&self, name: &str) -> i32;

    /// What a box has printed.
    fn logs(&self, name: &str) -> String;

    /// Removes a stopped box.
    fn remove(&self, name: &str);
}

/// An engine with the command line of docker.
pub(crate) trait DockerLike: Engine {
    /// `run FLAGS`, not yet run, with what every box of a story needs.
    fn run_command(&self, flags: &[&str]) -> Command;

    /// Any other words, not yet run.
    fn client(&self, args: &[&str]) -> Command;
}
