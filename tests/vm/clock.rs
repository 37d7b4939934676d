//! A clock that jumps, by years and both ways, under a running box: nothing
//! hangs, nothing ends, nothing is lost by its age.

use std::process::Command;

use crate::disk::Tree;
use crate::eventually::{LONG, eventually};
use crate::guest::{holdall, printed, run};
use crate::machine::Machine;
use crate::{project, status};

/// A daemon that is asked how it is, and jobs by both kinds of clock.
const SERVICES: &str = r#"
[service.steady]
command = "sleep 100000"
health = { exec = "true", interval = "1s" }

[service.often]
command = "echo often"
schedule = "@every 2s"

[service.minutely]
command = "echo minutely"
schedule = "* * * * *"
"#;

/// Years in seconds.
const YEAR: i64 = 365 * 24 * 3600;

pub(crate) fn story() {
    let tree = Tree::new();
    project::put(&tree, "timed", SERVICES);
    let disk = tree.into_disk();
    Machine::boot_at(&disk, "clock", "2026-06-01T12:00:00").until_off();
}

pub(crate) fn in_machine() {
    let built = printed(&mut holdall(&["build", "-q", project::DIR]));
    let _id = printed(&mut holdall(&["run", "-d", "--name", "one", "timed"]));
    for (years, restarts) in [(1, 1), (-11, 2), (40, 3), (-30, 4)] {
        status::until_ready("one");
        let before = (lines("often"), lines("minutely"));
        jump(years * YEAR);
        eventually("the jobs run on", LONG, || {
            let now = (lines("often"), lines("minutely"));
            let on = now.0 > before.0 + 1 && now.1 > before.1;
            on.then_some(())
                .ok_or_else(|| format!("{now:?} after {before:?}"))
        });
        // A crash is healed as ever, and its pause is no year.
        let _name = printed(&mut holdall(&["kill", "-s", "KILL", "one/steady"]));
        eventually("it is back", LONG, || {
            let status = status::of("one")?;
            let found = status::service(&status, "steady");
            let back = found["restarts"] == restarts && found["state"] == "ready";
            back.then_some(()).ok_or_else(|| status.to_string())
        });
        // The store and its cache know no age.
        assert_eq!(printed(&mut holdall(&["build", "-q", project::DIR])), built);
        let checked = printed(&mut holdall(&["fsck", "--deep"]));
        assert!(checked.ends_with("whole\n"), "{checked}");
        assert!(printed(&mut holdall(&["images"])).contains("timed"));
    }
    let _name = printed(&mut holdall(&["stop", "one"]));
    assert!(printed(&mut holdall(&["ps", "-a"])).contains("exited"));
    let _name = printed(&mut holdall(&["start", "one"]));
    status::until_ready("one");
    let _name = printed(&mut holdall(&["rm", "-f", "one"]));
}

/// Sets the clock, to shortly before a full minute.
fn jump(by: i64) {
    let now = printed(Command::new("date").arg("+%s"));
    let now: i64 = now.trim().parse().expect("seconds");
    let to = (now + by) / 60 * 60 + 55;
    run(Command::new("date").args(["-s", &format!("@{to}")]));
}

/// How often a job has run.
fn lines(job: &str) -> usize {
    let log = printed(&mut holdall(&["logs", &format!("one/{job}")]));
    log.lines().filter(|line| line.ends_with(job)).count()
}
