//! The runtime against the kernel: real bundles, real containers, as root.
//!
//! The test program is the runtime too: called as `holdall-runtime` it becomes
//! it, which is how the library calls itself.
#![expect(
    clippy::unwrap_used,
    reason = "a test without a harness is no test to clippy"
)]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "oci/fixture.rs"]
mod fixture;
#[path = "oci/hostile.rs"]
mod hostile;
#[path = "oci/isolation.rs"]
mod isolation;
#[path = "oci/lifecycle.rs"]
mod lifecycle;
#[path = "oci/limits.rs"]
mod limits;
#[path = "oci/mounts.rs"]
mod mounts;
#[path = "oci/requests.rs"]
mod requests;
#[path = "oci/steps.rs"]
mod steps;

/// A test: its name is a sentence.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    if let Some(code) = holdall_runtime::multicall() {
        return code;
    }
    if let Some(code) = steps::caller_main() {
        return code;
    }
    let tests = [
        isolation::TESTS,
        requests::TESTS,
        limits::TESTS,
        mounts::TESTS,
        lifecycle::TESTS,
        hostile::TESTS,
        steps::TESTS,
    ]
    .concat();
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok::<(), Failed>(())
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
