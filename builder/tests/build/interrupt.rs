//! Stops, kills and neighbours.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_builder::{BuildError, Progress};

use crate::BUILD_IN;
use crate::world::{World, edit};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("a_stop_in_the_middle_of_a_command_leaves_nothing", stopped),
    (
        "a_stop_before_the_first_step_leaves_nothing",
        stopped_at_once,
    ),
    ("what_a_killed_build_left_is_gone_after_the_next", killed),
    ("two_builds_at_once_run_each_step_once", together),
];

fn stopped() {
    let world = World::new();
    let dir = world.busybox(
        "shop",
        "run = [\"echo begun; sleep 1000 & sleep 1000; echo ended\"]",
    );
    let stop = AtomicBool::new(false);
    let outcome = world.build_until(&dir, &stop, &mut |event| {
        if matches!(event, Progress::Output { line } if line == "begun") {
            stop.store(true, Ordering::Relaxed);
        }
    });
    assert!(!outcome.output.contains(&"ended".to_owned()));
    assert!(matches!(outcome.error(), BuildError::Stopped));
    world.assert_nothing_left();
    // The next one works.
    edit(&dir, "sleep 1000 & sleep 1000; ", "");
    let _built = world.build(&dir).built();
}

fn stopped_at_once() {
    let world = World::new();
    let dir = world.busybox("shop", "");
    let outcome = world.build_until(&dir, &AtomicBool::new(true), &mut |_| {});
    assert!(matches!(outcome.error(), BuildError::Stopped));
    world.assert_nothing_left();
}

/// A build in a process of its own, which is killed in the middle of a
/// command.
fn killed() {
    let world = World::new();
    let dir = world.busybox("shop", "run = [\"echo begun; sleep 1000\"]");
    let mut build = Command::new("/proc/self/exe")
        .args([
            BUILD_IN,
            &world.dirs.data().display().to_string(),
            &dir.display().to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(build.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "begun");
    build.kill().unwrap();
    assert_eq!(build.wait().unwrap().signal(), Some(9));
    // The command held the other end too: it is gone.
    assert!(lines.next().is_none());
    edit(&dir, "echo begun; sleep 1000", "true");
    let _built = world.build(&dir).built();
    let left = std::fs::read_dir(world.dirs.cache()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().starts_with("tmp-")),
        "{left:?}"
    );
}

fn together() {
    let world = World::new();
    let dir = world.busybox("shop", "run = [\"echo one > /one\", \"echo two > /two\"]");
    let (a, b) = std::thread::scope(|scope| {
        let a = scope.spawn(|| world.build(&dir).built());
        let b = scope.spawn(|| world.build(&dir).built());
        (a.join().unwrap(), b.join().unwrap())
    });
    assert_eq!(a.image.digest, b.image.digest);
    // Each step but the last, which both may finish.
    assert!((a.ran + b.ran) <= 7 + 1, "{} {}", a.ran, b.ran);
    assert!(a.ran + b.ran >= 7);
}
