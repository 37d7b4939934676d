//! What the machine of the tests lacks: cgroup version 2 with its controllers,
//! CAP_SYS_RESOURCE, another date, a reboot, a power cut.
//!
//! Each story has two halves. The outer one boots Debian's cloud kernel under
//! qemu (by software emulation: /dev/kvm can't be counted on) with a disk of
//! its own; the inner one is a function of this same program, which is the
//! machine's init.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test without cargo's own harness isn't known to clippy as one"
)]

#[path = "../e2e/eventually.rs"]
mod eventually;
#[path = "../e2e/http.rs"]
mod http;

mod disk;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod project;
mod status;

mod another_date;
mod clock;
mod runtime_tests;
mod service_limits;
mod three_services;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A function by its name.
type Named = (&'static str, fn());

/// On the host: a test.
const STORIES: [Named; 5] = [
    (
        "the_runtimes_own_tests_pass_on_cgroup_2_with_its_controllers",
        runtime_tests::story,
    ),
    (
        "a_box_of_three_services_lives_heals_and_outlives_power_cuts",
        three_services::story,
    ),
    (
        "a_build_of_another_year_gives_the_same_image",
        another_date::story,
    ),
    (
        "a_box_and_all_that_is_kept_live_through_a_clock_that_jumps",
        clock::story,
    ),
    (
        "the_limits_of_services_hold_on_cgroup_2_and_their_groups_go_with_init",
        service_limits::story,
    ),
];

/// In the machine: what its kernel's command line asks for.
const CHORES: [Named; 7] = [
    ("runtime-tests", runtime_tests::in_machine),
    ("first-boot", three_services::first_boot),
    ("second-boot", three_services::second_boot),
    ("third-boot", three_services::third_boot),
    ("build", another_date::in_machine),
    ("clock", clock::in_machine),
    ("service-limits", service_limits::in_machine),
];

fn main() -> ExitCode {
    if let Some(code) = guest::main(&CHORES) {
        return code;
    }
    let trials = STORIES.map(|(name, story)| {
        Trial::test(name, move || {
            story();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}
