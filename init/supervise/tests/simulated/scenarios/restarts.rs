//! Crashes, restarts and giving up.

use std::sync::Arc;

use holdall_protocol::control::{Exit, State};
use holdall_protocol::manifest::{Backoff, GiveUp, Restart};
use holdall_protocol::{Millis, Signal};
use holdall_supervise::{Action, Event, Note, Timestamp};

use super::{boot, ends, is_note};
use crate::world::{Program, manifest};

#[test]
fn a_crash_takes_nothing_else_down_and_is_mended_after_the_backoff() {
    let manifest = manifest(&[("redis", &[]), ("app", &["redis"]), ("web", &["app"])]);
    let mut world = boot(&manifest, &[]);
    world.run_until(1000);
    world.kill("redis", Signal::KILL);
    world.run_for(100);
    assert_eq!(world.state("redis"), State::Backoff);
    let wait = world.status("redis").next_start.expect("it is known");
    assert!((700..=1000).contains(&wait.0), "{wait}");
    world.run_for(2000);
    assert_eq!(world.state("redis"), State::Ready);
    assert_eq!(
        (world.status("redis").restarts, world.spawns("app").len()),
        (1, 1)
    );
    assert_eq!(
        world.status("redis").last_exit,
        Some(Exit::Signal(Signal::KILL))
    );
}

#[test]
fn a_wall_clock_that_jumps_moves_no_wait() {
    let manifest = manifest(&[("app", &[])]);
    let comes_back = |jumps: &[u64]| {
        let mut world = boot(&manifest, &[]);
        world.tell(Event::Clock {
            wall: 1_700_000_000_000,
        });
        world.run_until(1000);
        world.kill("app", Signal::KILL);
        for wall in jumps {
            world.tell(Event::Clock { wall: *wall });
            world.run_for(50);
        }
        world.run_until(5000);
        world.spawns("app")
    };
    let undisturbed = comes_back(&[]);
    assert_eq!(undisturbed.len(), 2);
    assert_eq!(
        comes_back(&[4_000_000_000_000, 0, 1_700_000_000_000]),
        undisturbed
    );
}

#[test]
fn nothing_is_spawned_before_the_last_straggler_is_gone() {
    let mut manifest = manifest(&[("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).backoff = Backoff {
        initial: Millis::ZERO,
        max: Millis::ZERO,
    };
    let slow = Program {
        dies: Some(900),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("app", slow)]);
    world.run_until(1000);
    world.kill("app", Signal::KILL);
    world.run_for(899);
    assert_eq!(
        (world.state("app"), world.spawns("app").len()),
        (State::Stopping, 1)
    );
    world.run_for(10);
    assert_eq!(world.spawns("app"), [0, 1900]);
}

#[test]
fn without_backoff_a_crash_is_mended_at_once() {
    let mut manifest = manifest(&[("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).backoff = Backoff {
        initial: Millis::ZERO,
        max: Millis::ZERO,
    };
    let mut world = boot(&manifest, &[]);
    world.run_until(1000);
    world.kill("app", Signal::KILL);
    world.run_for(10);
    assert_eq!(
        world.spawns("app"),
        [0, 1002],
        "two milliseconds is what the kill takes"
    );
}

#[test]
fn a_program_that_can_not_be_executed_is_tried_again_and_given_up() {
    let mut manifest = manifest(&[("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).give_up = GiveUp {
        failures: 3,
        within: Millis(60_000),
    };
    let missing = Program {
        spawn_fails: Some(127),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("app", missing)]);
    world.run_until(20_000);
    assert_eq!(world.spawns("app").len(), 3);
    assert_eq!(world.exit.map(|(_, code)| code), Some(127));
    let words = world.status("app").message;
    assert_eq!(words.as_deref(), Some("cannot execute it: no such file"));
}

#[test]
fn a_service_that_always_fails_is_given_up_and_the_box_stops_with_its_code() {
    let manifest = manifest(&[("redis", &[]), ("app", &["redis"]), ("web", &[])]);
    let mut world = boot(&manifest, &[("app", ends(20, 42))]);
    world.run_until(60_000);
    assert_eq!(world.spawns("app").len(), 5);
    let given_up = is_note(|note| {
        matches!(
            note,
            Note::GivenUp {
                exit: Exit::Code(42),
                failures: 5,
                essential: true,
                ..
            }
        )
    });
    assert_eq!(world.times(given_up).len(), 1);
    assert_eq!(world.exit.map(|(_, code)| code), Some(42));
    assert_eq!(
        world.stop_order(),
        ["redis", "web"],
        "the others are told to end"
    );
}

#[test]
fn a_service_that_is_given_up_after_exits_with_zero_ends_the_box_with_one() {
    let mut world = boot(&manifest(&[("app", &[])]), &[("app", ends(20, 0))]);
    world.run_until(60_000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(1));
}

#[test]
fn a_service_that_dies_by_a_signal_ends_the_box_with_128_and_its_number() {
    let segv = Exit::Signal(Signal::from_number(11).expect("SEGV"));
    let crashing = Program {
        ends: Some((5, segv)),
        ..Program::default()
    };
    let mut world = boot(&manifest(&[("app", &[])]), &[("app", crashing)]);
    world.run_until(60_000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(139));
}

#[test]
fn crashes_that_are_far_apart_never_add_up() {
    let mut manifest = manifest(&[("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).give_up = GiveUp {
        failures: 5,
        within: Millis(60_000),
    };
    let mut world = boot(&manifest, &[("app", ends(61_000, 1))]);
    world.run_until(3_600_000);
    assert_eq!(world.exit, None);
    let waits = world.times(is_note(
        |note| matches!(note, Note::Restarting { delay, .. } if delay.0 > 1000),
    ));
    assert!(
        waits.is_empty(),
        "a minute ready brings the wait back to its beginning"
    );
}

#[test]
fn a_service_that_is_not_essential_is_given_up_alone() {
    let mut manifest = manifest(&[("extra", &[]), ("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).essential = false;
    let mut world = boot(&manifest, &[("extra", ends(20, 42))]);
    world.run_until(3_600_000);
    assert_eq!(
        (world.state("extra"), world.state("app")),
        (State::Fatal, State::Ready)
    );
    assert_eq!(world.exit, None);
}

#[test]
fn a_daemon_that_is_never_restarted_ends_the_box_with_its_code_if_it_is_essential() {
    let mut manifest = manifest(&[("main", &[]), ("other", &[])]);
    Arc::make_mut(&mut manifest.services[0]).restart = Restart::Never;
    for code in [0, 3] {
        let mut world = boot(&manifest, &[("main", ends(500, code))]);
        world.run_until(5000);
        assert_eq!(world.exit.map(|(_, code)| code), Some(code));
        assert_eq!(world.spawns("main").len(), 1);
    }
    Arc::make_mut(&mut manifest.services[0]).essential = false;
    let mut world = boot(&manifest, &[("main", ends(500, 3))]);
    world.run_until(100_000);
    assert_eq!((world.state("main"), world.exit), (State::Exited, None));
}

#[test]
fn on_failure_restarts_a_failure_and_accepts_an_end() {
    let mut manifest = manifest(&[("job", &[]), ("other", &[])]);
    Arc::make_mut(&mut manifest.services[0]).restart = Restart::OnFailure;
    Arc::make_mut(&mut manifest.services[0]).essential = false;
    let mut world = boot(&manifest, &[("job", ends(50, 1))]);
    world.run_until(1500);
    *world.program("job") = ends(50, 0);
    world.run_until(60_000);
    assert_eq!(world.state("job"), State::Exited);
    assert!(world.spawns("job").len() >= 2);
}

#[test]
fn a_restart_waits_again_for_what_the_service_needs() {
    let mut manifest = manifest(&[("redis", &[]), ("app", &["redis"])]);
    Arc::make_mut(&mut manifest.services[0]).backoff = Backoff {
        initial: Millis(8000),
        max: Millis(8000),
    };
    let mut world = boot(&manifest, &[]);
    world.run_until(1000);
    world.kill("redis", Signal::KILL);
    world.kill("app", Signal::KILL);
    world.run_for(3000);
    assert_eq!(
        (world.state("redis"), world.state("app")),
        (State::Backoff, State::Waiting)
    );
    world.run_for(6000);
    assert_eq!(
        (world.state("redis"), world.state("app")),
        (State::Ready, State::Ready)
    );
}

#[test]
fn two_services_do_not_draw_the_same_jitter() {
    let mut world = boot(&manifest(&[("a", &[]), ("b", &[])]), &[]);
    world.run_until(1000);
    world.kill("a", Signal::KILL);
    world.kill("b", Signal::KILL);
    let delay = |name: &str| {
        let service = world.id(name);
        world.said.iter().find_map(|(_, action)| match action {
            Action::Note(Note::Restarting {
                service: s, delay, ..
            }) if *s == service => Some(*delay),
            _ => None,
        })
    };
    assert_ne!(delay("a"), delay("b"));
}

#[test]
fn a_wait_that_is_noticed_late_is_over_all_the_same() {
    let mut world = boot(&manifest(&[("app", &[])]), &[]);
    world.run_until(100);
    world.kill("app", Signal::KILL);
    world.run_for(10);
    assert_eq!(world.state("app"), State::Backoff);
    world.supervisor.handle_timeout(Timestamp(60_000));
    let service = world.id("app");
    let actions: Vec<Action> = std::iter::from_fn(|| world.supervisor.poll_action()).collect();
    assert!(actions.contains(&Action::Spawn { service }), "{actions:?}");
}
