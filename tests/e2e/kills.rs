//! SIGKILL at any system call of builder, command, runtime, monitor and
//! keeper: what is left is whole, the next command works, nothing leaks.
//!
//! CI takes a few points of each, evenly spread; `make faults` takes every one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use crate::env::Env;
use crate::eventually::{LONG, eventually};
use crate::inject::{self, Ended, Fault, Point, Role};
use crate::small;

const RUNTIME: Role = Role::Named("holdall-runtime");
const MONITOR: Role = Role::Named("holdall-monitor");
const KEEPER: Role = Role::Named("holdall-keeper");

/// A service that would run for ever beside whatever a story does.
const STEADY: &str = "[service.a]\ncommand = \"sleep 1000\"\n";

/// Points of one story in CI.
const SAMPLE: u64 = 3;

/// Tries points of so many calls, and all of them before a failure counts;
/// how many.
pub(crate) fn try_each(count: u64, sample: u64, mut one: impl FnMut(u64)) -> usize {
    let points = points(count, sample);
    let fails = |at: &u64| catch_unwind(AssertUnwindSafe(|| one(*at))).is_err();
    let failed: Vec<u64> = points.iter().copied().filter(fails).collect();
    assert!(failed.is_empty(), "failed at {failed:?}");
    points.len()
}

/// The numbers to try of so many calls: all, or as many as wanted; or the one
/// at which something was found.
fn points(count: u64, sample: u64) -> Vec<u64> {
    if let Some(at) = asked("HOLDALL_FAULT_AT") {
        return vec![at];
    }
    let wanted = asked("HOLDALL_FAULT_POINTS").unwrap_or(sample);
    let wanted = wanted.clamp(1, count.max(1));
    (0..wanted).map(|n| 1 + n * count / wanted).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how `make faults` asks for all, and a developer for one"
)]
fn asked(variable: &str) -> Option<u64> {
    std::env::var_os(variable)?.to_str()?.parse().ok()
}

/// Kills whoever is in this role at each point of the command that `begin`
/// gives, and then looks whether `after` works and all is whole.
fn at_each_call(env: &Env, role: Role, begin: &dyn Fn() -> Command, after: &dyn Fn(&Ended)) {
    let fault = |at| Point {
        role,
        calls: &[],
        at,
        fault: Fault::Kill,
        times: 1,
    };
    let undisturbed = inject::run(&begin(), fault(u64::MAX));
    let code = undisturbed.status.and_then(|status| status.code());
    assert_eq!(code, Some(0), "{undisturbed:?}");
    after(&undisturbed);
    let mut hit = 0;
    let tried = try_each(undisturbed.counted, SAMPLE, |at| {
        let ended = inject::run(&begin(), fault(at));
        assert!(
            ended.status.is_some(),
            "hangs when killed at {at}: {ended:?}"
        );
        hit += u64::from(ended.hit.is_some());
        after(&ended);
        is_whole(env);
    });
    tell(&format!(
        "{role:?}: {hit} kills of {tried} tried, in {} calls",
        undisturbed.counted
    ));
}

/// What docs/hardening.md counts.
#[expect(
    clippy::print_stderr,
    reason = "the counts are what `make faults` is for"
)]
pub(crate) fn tell(line: &str) {
    eprintln!("faults: {line}");
}

/// The check says so, and that nothing half-made is left: once the files of a
/// box that removes itself are gone, for which nobody waits.
pub(crate) fn is_whole(env: &Env) {
    eventually("nothing half-made is left", LONG, || {
        let text = env.run(["fsck", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&text.out).expect("JSON");
        assert_eq!(json["whole"], true, "{text:?}");
        let left = json["leftovers"].as_array().map(Vec::len);
        (left == Some(0)).then_some(()).ok_or(text.out)
    });
}

fn removed(env: &Env) {
    for id in env.boxes() {
        // A box that removes itself may be quicker.
        let ran = env.run(["rm", "-f", &id]);
        assert!(ran.code == 0 || ran.err.contains("cannot find"), "{ran:?}");
    }
}

fn a_killed_build(role: Role) {
    let env = Env::new();
    let dir = small::project(&env, "steady", STEADY);
    let build = || env.command(["build".as_ref(), dir.as_os_str()]);
    let fresh = || {
        for folder in ["store", "layers", "cache"] {
            // There is none before the first.
            let _none = std::fs::remove_dir_all(env.root().join(folder));
        }
        build()
    };
    at_each_call(&env, role, &fresh, &|_| {
        // Half-made things there may be, but nothing is damaged.
        let _said = env.run(["fsck"]).ok();
        let _built = env.run(["build".as_ref(), dir.as_os_str()]).ok();
        let images = env.run(["images"]).ok();
        assert!(images.contains("steady"), "{images}");
    });
}

#[test]
fn a_builder_killed_at_any_call_leaves_a_store_that_is_whole() {
    a_killed_build(Role::Command);
}

#[test]
fn a_runtime_killed_at_any_call_of_a_build_step_leaves_a_store_that_is_whole() {
    a_killed_build(RUNTIME);
}

fn a_killed_run(role: Role) {
    a_killed_run_of(role, &["true"]);
}

fn a_killed_run_of(role: Role, words: &[&str]) {
    let env = Env::new();
    small::build(&env, "steady", STEADY);
    let run = || env.command(["run", "--rm", "steady"].iter().chain(words));
    at_each_call(&env, role, &run, &|_| {
        let _ran = env.run(["run", "--rm", "steady", "true"]).ok();
        removed(&env);
        until_minders_end(&env);
    });
}

/// A box is gone a moment before those who minded it are.
fn until_minders_end(env: &Env) {
    eventually("no box has a run folder", LONG, || {
        let left = ["run/boxes", "run/runtime"].iter().flat_map(|folder| {
            let entries = std::fs::read_dir(env.root().join(folder));
            entries.into_iter().flatten().flatten()
        });
        let left: Vec<_> = left.map(|entry| entry.path()).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}

#[test]
fn a_command_killed_at_any_call_of_a_run_leaves_nothing_that_the_next_trips_over() {
    a_killed_run(Role::Command);
}

#[test]
fn a_runtime_killed_at_any_call_of_a_run_leaves_nothing_that_the_next_trips_over() {
    a_killed_run(RUNTIME);
}

#[test]
fn a_monitor_killed_at_any_call_of_a_run_leaves_nothing_that_the_next_trips_over() {
    a_killed_run(MONITOR);
}

/// A box gets a keeper when it is 0.2 s old.
#[test]
fn a_monitor_with_a_keeper_killed_at_any_call_of_a_run_leaves_nothing_either() {
    a_killed_run_of(MONITOR, &["sleep", "0.5"]);
}

#[test]
fn a_keeper_killed_at_any_call_of_a_run_leaves_nothing_that_the_next_trips_over() {
    a_killed_run_of(KEEPER, &["sleep", "0.5"]);
}

/// Of a verb that ends a box: killed, and asked again.
fn a_killed_end(verb: &'static [&'static str]) {
    let env = Env::new();
    small::build(&env, "steady", STEADY);
    let end = || {
        removed(&env);
        let _name = env.run(["run", "-d", "--name", "one", "steady"]).ok();
        env.command(verb.iter().chain(&["one"]))
    };
    at_each_call(&env, Role::Command, &end, &|_| {
        let again = env.run(verb.iter().chain(&["one"]));
        assert!(
            again.code == 0 || again.err.contains("cannot find"),
            "{again:?}"
        );
        removed(&env);
        until_minders_end(&env);
    });
}

#[test]
fn a_stop_killed_at_any_call_is_done_by_the_next() {
    a_killed_end(&["stop"]);
}

#[test]
fn a_removal_killed_at_any_call_is_done_by_the_next() {
    a_killed_end(&["rm", "-f"]);
}
