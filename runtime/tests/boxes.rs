//! Boxes end to end: real containers, on loopback, in a root of their own.
//!
//! The runtime, the monitors and the keepers are this very program under other
//! names, so the harness is ours: its `main` becomes one of them first.
#![expect(
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test without cargo's own harness isn't known to clippy as one"
)]

#[path = "boxes/cgroups.rs"]
mod cgroups;
#[path = "boxes/exec.rs"]
mod exec;
#[path = "boxes/fsck.rs"]
mod fsck;
#[path = "boxes/init.rs"]
mod init;
#[path = "boxes/life.rs"]
mod life;
#[path = "boxes/loss.rs"]
mod loss;
#[path = "boxes/ports.rs"]
mod ports;
#[path = "boxes/unsynced.rs"]
mod unsynced;
#[path = "boxes/world.rs"]
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = holdall_runtime::multicall() {
        return code;
    }
    if let Some(code) = exec::child() {
        return code;
    }
    let arguments = Arguments::from_args();
    let groups = [
        life::tests(),
        loss::tests(),
        ports::tests(),
        exec::tests(),
        init::tests(),
        cgroups::tests(),
        fsck::tests(),
        unsynced::tests(),
    ];
    let trials = groups
        .into_iter()
        .flatten()
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test by its sentence.
type Test = (&'static str, fn());

/// The functions of a module as tests.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn tests() -> Vec<crate::Test> {
            vec![$((stringify!($name), $name as fn())),*]
        }
    };
}
pub(crate) use tests;
