//! Whatever is killed, the box goes on and the next command works.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;

use holdall_protocol::{Millis, Signal};
use holdall_runtime::boxes::{BoxId, BoxState, LOST};

use crate::tests;
use crate::world::{World, eventually, kill, processes};

tests![
    a_killed_monitor_is_replaced_and_no_line_is_lost_or_doubled,
    whoever_started_a_box_reads_on_after_its_monitor_was_killed,
    a_killed_keeper_is_replaced,
    a_box_that_ends_while_its_monitor_is_replaced_keeps_its_code,
    a_box_that_lost_both_is_minded_again_by_the_next_command,
    a_box_that_vanished_with_both_shows_as_exited_and_starts_again,
    a_monitor_killed_in_a_start_leaves_nothing_that_the_next_start_trips_over,
    a_runtime_killed_in_a_start_leaves_nothing_that_the_next_start_trips_over,
    what_cannot_be_cleared_away_at_a_boxs_end_is_cleared_by_the_next_command,
    monitor_and_keeper_sleep_while_nothing_happens,
];

const MONITOR: &str = "holdall-monitor";
const KEEPER: &str = "holdall-keeper";

/// Counts until told to end.
const COUNTING: &str = "trap 'exit 5' TERM; n=0; \
    while :; do n=$((n+1)); echo $n; sleep 0.05 & wait $!; done";

/// The same, so fast that its monitor has lines in hand whenever it is killed.
const FLOODING: &str = "trap 'exit 5' TERM; n=0; while :; do m=0; \
    while [ $m -lt 500 ]; do m=$((m+1)); n=$((n+1)); echo $n; done; \
    sleep 0.02 & wait $!; done";

/// The exit code of a box whose first monitor is gone: the kernel tells it to
/// another one, but those before 6.15 to nobody except the parent.
fn told(code: u8) -> u8 {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc");
    let mut parts = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next().expect("a version"), parts.next().unwrap_or(0));
    if version >= (6, 15) { code } else { LOST }
}

fn a_killed_monitor_is_replaced_and_no_line_is_lost_or_doubled() {
    let world = World::new();
    let record = world.create(world.script(FLOODING));
    let started = world.start(&record.id);
    world.wait_for_line(&record.id, "3");
    for _ in 0..5 {
        // Also one that has just been started.
        world.minder(KEEPER, &record.id);
        world.kill_minder(MONITOR, &record.id);
        world.minder(MONITOR, &record.id);
    }
    let last: u32 = world
        .lines(&record.id)
        .last()
        .map_or(0, |line| line.parse().expect("a number"));
    world.wait_for_line(&record.id, &(last + 3).to_string());
    world.boxes.stop(&record.id, None).expect("stopped");
    assert_eq!(started.wait().expect("ended"), told(5));
    assert_eq!(world.boxes.wait(&record.id).expect("ended"), told(5));
    each_once(&world.lines(&record.id));
}

/// It was told of new lines by the one that is killed.
fn whoever_started_a_box_reads_on_after_its_monitor_was_killed() {
    let world = World::new();
    let record = world.create(world.script(FLOODING));
    let started = world.start(&record.id);
    world.minder(KEEPER, &record.id);
    let (mut lines, mut killed) = (Vec::new(), None);
    let followed = world.boxes.follow(&record, &started, &mut |line| {
        lines.push(line.text.clone());
        match killed {
            None => {
                world.kill_minder(MONITOR, &record.id);
                killed = Some(lines.len());
            }
            Some(at) if lines.len() == at + 5000 => {
                world.boxes.kill(&record.id, Signal::TERM).expect("told");
            }
            Some(_) => {}
        }
        ControlFlow::Continue(())
    });
    followed.expect("followed to the end");
    assert_eq!(started.wait().expect("ended"), told(5));
    each_once(&lines);
    assert_eq!(world.lines(&record.id), lines);
}

/// From 1 on, nothing is missing and nothing comes twice.
fn each_once(lines: &[String]) {
    let numbers = lines
        .iter()
        .map(|line| line.parse::<u32>().expect("a number"));
    let wrong = (1..).zip(numbers).find(|(wanted, number)| wanted != number);
    assert_eq!(wrong, None, "of {} lines", lines.len());
}

fn a_killed_keeper_is_replaced() {
    let world = World::new();
    let record = world.create(world.script(COUNTING));
    let started = world.start(&record.id);
    for _ in 0..2 {
        world.kill_minder(KEEPER, &record.id);
        world.minder(KEEPER, &record.id);
    }
    // The new one does its work.
    world.kill_minder(MONITOR, &record.id);
    world.minder(MONITOR, &record.id);
    world.boxes.stop(&record.id, None).expect("stopped");
    assert_eq!(started.wait().expect("ended"), told(5));
}

fn a_box_that_ends_while_its_monitor_is_replaced_keeps_its_code() {
    let world = World::new();
    let gate = tempfile::tempdir().expect("a folder");
    let go = gate.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let mut options = world.script("read line < /gate/go; echo last words; exit 21");
    let bind = format!("{}:/gate:ro", gate.path().display());
    options.volumes = vec![bind.parse().expect("a volume")];
    let record = world.create(options);
    let started = world.start(&record.id);
    world.minder(KEEPER, &record.id);
    let monitor = world.minder(MONITOR, &record.id);
    let pid = nix::unistd::Pid::from_raw(monitor);
    // It sees neither the last words nor the end.
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("stopped");
    fs::write(&go, "go\n").expect("told");
    let BoxState::Running { pid, .. } = world.state(&record.id) else {
        panic!("it runs")
    };
    eventually("the box to end", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
    kill(monitor);
    assert_eq!(world.boxes.wait(&record.id).expect("ended"), told(21));
    assert_eq!(started.wait().expect("ended"), told(21));
    assert_eq!(world.lines(&record.id), ["last words"]);
}

/// Kills both in one go, so that neither sees the other's end.
pub(crate) fn kill_both(world: &World, id: &BoxId) {
    world.minder(KEEPER, id);
    world.minder(MONITOR, id);
    // A stopped process doesn't replace anybody.
    let both: BTreeSet<i32> = [MONITOR, KEEPER]
        .iter()
        .flat_map(|role| world.minders(role, id))
        .collect();
    for pid in &both {
        let pid = nix::unistd::Pid::from_raw(*pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("stopped");
    }
    for pid in both {
        kill(pid);
    }
}

/// Kills both, and then the box.
pub(crate) fn vanish(world: &World, id: &BoxId) {
    let BoxState::Running { pid, .. } = world.state(id) else {
        panic!("it runs")
    };
    kill_both(world, id);
    let pid = i32::try_from(pid).expect("a pid");
    kill(pid);
    eventually("the box to vanish", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
}

fn a_box_that_lost_both_is_minded_again_by_the_next_command() {
    let world = World::new();
    let record = world.create(world.script(COUNTING));
    let started = world.start(&record.id);
    world.wait_for_line(&record.id, "3");
    kill_both(&world, &record.id);
    assert!(world.state(&record.id).is_running());
    world.minder(MONITOR, &record.id);
    world.minder(KEEPER, &record.id);
    let last: u32 = world
        .lines(&record.id)
        .last()
        .map_or(0, |line| line.parse().expect("a number"));
    world.wait_for_line(&record.id, &(last + 3).to_string());
    world.boxes.stop(&record.id, None).expect("stopped");
    assert_eq!(started.wait().expect("ended"), told(5));
    // What was in hand just then may come twice.
    let mut lines = world.lines(&record.id);
    lines.dedup();
    each_once(&lines);
}

fn a_box_that_vanished_with_both_shows_as_exited_and_starts_again() {
    let world = World::new();
    let record = world.create(world.script(COUNTING));
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "1");
    vanish(&world, &record.id);
    let state = world.state(&record.id);
    assert!(
        matches!(state, BoxState::Exited { code: LOST, .. }),
        "{state:?}"
    );
    let lines = world.lines(&record.id).len();
    let started = world.start(&record.id);
    assert!(world.state(&record.id).is_running());
    // It catches TERM before it says anything.
    eventually("its first words", || world.lines(&record.id).len() > lines);
    world.boxes.stop(&record.id, None).expect("stopped");
    assert_eq!(started.wait().expect("ended"), 5);
}

fn a_monitor_killed_in_a_start_leaves_nothing_that_the_next_start_trips_over() {
    killed_in_a_start(|world, id| world.minders(MONITOR, id).first().copied());
}

fn a_runtime_killed_in_a_start_leaves_nothing_that_the_next_start_trips_over() {
    killed_in_a_start(|_, id| {
        let wanted =
            |line: &str| line.starts_with("holdall-runtime\0") && line.contains(id.as_str());
        processes(wanted).last().copied()
    });
}

/// At whatever instant it is hit: before, in or after the start.
fn killed_in_a_start(victim: impl Fn(&World, &BoxId) -> Option<i32>) {
    let world = World::new();
    let record = world.create(world.script(COUNTING));
    for round in 0..12 {
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| world.boxes.start(&record.id).is_ok());
            // Another instant each time.
            let mut looks = 0;
            eventually("a victim, or a start that is over", || {
                match victim(&world, &record.id) {
                    Some(pid) if looks >= round / 2 => {
                        let pid = nix::unistd::Pid::from_raw(pid);
                        // It may have ended by itself just now.
                        let _: nix::Result<()> =
                            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                        true
                    }
                    Some(_) => {
                        looks += 1;
                        false
                    }
                    None => starting.is_finished(),
                }
            });
            // Whether it was in time is its luck.
            let _: bool = starting.join().expect("no panic");
        });
        let started = world.start(&record.id);
        assert!(world.state(&record.id).is_running());
        world
            .boxes
            .stop(&record.id, Some(Millis(0)))
            .expect("stopped");
        drop(started);
    }
}

/// For a moment nobody can read what the runtime knows of it.
fn what_cannot_be_cleared_away_at_a_boxs_end_is_cleared_by_the_next_command() {
    let world = World::new();
    let mut options = world.script("trap 'exit 0' TERM; echo up; sleep 1000 & wait");
    options.remove = true;
    let record = world.create(options);
    let started = world.start(&record.id);
    world.wait_for_line(&record.id, "up");
    let state = world.dirs.runtime_state().join(record.id.as_str());
    let hidden = world.path().join("hidden");
    fs::rename(state.join("state.json"), &hidden).expect("hidden");
    fs::write(state.join("state.json"), "{").expect("unreadable");
    world.boxes.kill(&record.id, Signal::TERM).expect("told");
    started.wait().expect("ended");
    drop(started);
    eventually("its monitor to end", || {
        world.minders(MONITOR, &record.id).is_empty()
    });
    fs::rename(&hidden, state.join("state.json")).expect("readable again");
    // Whoever makes a box sweeps.
    world.create(world.script("true"));
    assert!(!state.exists(), "{} is left", state.display());
}

fn monitor_and_keeper_sleep_while_nothing_happens() {
    let world = World::new();
    let record = world.create(world.script("echo ready; sleep 1000"));
    drop(world.start(&record.id));
    world.wait_for_line(&record.id, "ready");
    let switches = || -> Vec<String> {
        [MONITOR, KEEPER]
            .iter()
            .map(|role| {
                let pid = world.minder(role, &record.id);
                let status = fs::read_to_string(format!("/proc/{pid}/status"));
                let status = status.expect("alive");
                let line = status
                    .lines()
                    .find(|line| line.starts_with("voluntary_ctxt"));
                line.expect("counted").to_owned()
            })
            .collect()
    };
    // However long a slow machine takes to settle: who wakes every second
    // never rests for one and a half.
    let rested = || {
        let before = switches();
        let pause = nix::poll::PollTimeout::from(1500_u16);
        nix::poll::poll(&mut [], pause).expect("waited");
        switches() == before
    };
    assert!((0..10).any(|_| rested()), "{:?}", switches());
}
