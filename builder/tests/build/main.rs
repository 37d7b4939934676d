//! Builds from end to end, each in a state root of its own. The program is its
//! own runtime: a build step re-executes it as `holdall-runtime`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that fails says where; clippy knows no tests without the standard harness"
)]

mod bootstrap;
mod check;
mod copy;
mod interrupt;
mod parts;
mod reproducible;
mod run;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use holdall_builder::Progress;
use libtest_mimic::{Arguments, Trial};

/// The first argument of a process that only builds a project: `BUILD_IN
/// STATE PROJECT`. Its output is that of the steps.
pub(crate) const BUILD_IN: &str = "build-in";

fn main() -> ExitCode {
    if let Some(code) = holdall_runtime::multicall() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, first, state, project] = arguments.as_slice()
        && first == BUILD_IN
    {
        return build_in(state.as_ref(), project.as_ref());
    }
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let all = [
        copy::ALL,
        run::ALL,
        reproducible::ALL,
        check::ALL,
        interrupt::ALL,
        parts::ALL,
        bootstrap::ALL,
    ];
    let trials = all.into_iter().flatten().copied().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn build_in(state: &Path, project: &Path) -> ExitCode {
    let outcome =
        world::World::at(state).build_until(project, &AtomicBool::new(false), &mut |event| {
            if let Progress::Output { line } = event {
                println!("{line}");
            }
        });
    if outcome.result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
