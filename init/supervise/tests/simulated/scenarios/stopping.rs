//! The ordered stop.

use std::sync::Arc;

use holdall_protocol::control::State;
use holdall_protocol::manifest::Stop;
use holdall_protocol::{Millis, Signal};
use holdall_supervise::{Action, Command, Event, Note, Timestamp};

use super::{boot, deaf, ends, is_note};
use crate::world::{Program, health, manifest};

/// What hangs in the kernel.
fn stuck() -> Program {
    Program {
        dies: None,
        ..deaf()
    }
}

fn slow(obeys: u64) -> Program {
    Program {
        obeys: Some(obeys),
        ..Program::default()
    }
}

#[test]
fn services_stop_in_the_reverse_of_their_start_and_independent_ones_together() {
    let manifest = manifest(&[
        ("redis", &[]),
        ("app", &["redis"]),
        ("web", &["app"]),
        ("metrics", &["redis"]),
    ]);
    let odd = [
        ("web", slow(300)),
        ("metrics", slow(300)),
        ("app", slow(100)),
    ];
    let mut world = boot(&manifest, &odd);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(2000);
    let told = |name: &str| {
        let service = world.id(name);
        world.times(|a| matches!(a, Action::Signal { service: s, .. } if *s == service))[0]
    };
    assert_eq!((told("web"), told("metrics")), (1000, 1000));
    assert_eq!(told("app"), 1302, "when web and what it left is gone");
    assert_eq!(told("redis"), 1404);
    assert_eq!(world.exit, Some((1411, 0)));
}

#[test]
fn each_service_gets_its_own_signal_and_time_and_then_is_killed() {
    let mut manifest = manifest(&[("a", &[])]);
    Arc::make_mut(&mut manifest.services[0]).stop = Stop {
        signal: Signal::QUIT,
        timeout: Millis(700),
        command: None,
        group: true,
    };
    let mut world = boot(&manifest, &[("a", deaf())]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(2000);
    let service = world.id("a");
    let signal = Signal::QUIT;
    assert_eq!(
        world.times(|a| *a == Action::Signal { service, signal }),
        [1000]
    );
    assert_eq!(world.times(|a| *a == Action::KillAll { service }), [1700]);
    assert_eq!(world.exit, Some((1702, 0)));
}

#[test]
fn no_time_at_all_means_kill() {
    let mut manifest = manifest(&[("a", &[])]);
    Arc::make_mut(&mut manifest.services[0]).stop.timeout = Millis::ZERO;
    let mut world = boot(&manifest, &[("a", deaf())]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(100);
    assert_eq!(world.exit, Some((1002, 0)));
}

#[test]
fn a_chain_that_hears_nothing_is_fitted_into_the_bound() {
    let manifest = manifest(&[("redis", &[]), ("app", &["redis"]), ("web", &["app"])]);
    let odd = [("redis", deaf()), ("app", deaf()), ("web", deaf())];
    let mut world = boot(&manifest, &odd);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(20_000);
    assert_eq!(
        world.stop_order(),
        ["web", "app", "redis"],
        "each had its turn"
    );
    let (at, code) = world.exit.expect("it stopped");
    assert!(at - 1000 < 9000 && code == 0, "{at}");
}

#[test]
fn what_can_not_even_be_killed_is_left_behind_inside_the_bound() {
    let mut world = boot(&manifest(&[("a", &[]), ("b", &["a"])]), &[("b", stuck())]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(20_000);
    assert_eq!(world.exit, Some((10_000, 0)));
    let left = Note::LeftBehind {
        service: Some(world.id("b")),
    };
    assert_eq!(world.times(is_note(|note| *note == left)).len(), 1);
    assert!(
        !world.alive("a"),
        "it is killed at the deadline all the same"
    );
}

#[test]
fn a_second_request_kills_everything_at_once() {
    let manifest = manifest(&[("redis", &[]), ("app", &["redis"])]);
    let mut world = boot(&manifest, &[("redis", deaf()), ("app", deaf())]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(200);
    world.tell(Event::Shutdown);
    world.tell(Event::Shutdown);
    world.run_for(1000);
    assert_eq!(world.exit, Some((1202, 0)));
}

#[test]
fn a_stop_works_in_every_state() {
    let mut manifest = manifest(&[
        ("spawning", &[]),
        ("probing", &[]),
        ("waiting", &["probing"]),
        ("backoff", &[]),
    ]);
    Arc::make_mut(&mut manifest.services[1]).health = Some(health());
    let odd = [
        (
            "spawning",
            Program {
                spawn_takes: 700,
                ..Program::default()
            },
        ),
        (
            "probing",
            Program {
                healthy: (u64::MAX, u64::MAX),
                ..Program::default()
            },
        ),
        ("backoff", ends(10, 1)),
    ];
    let mut world = boot(&manifest, &odd);
    world.run_until(500);
    let states = ["spawning", "probing", "waiting", "backoff"].map(|name| world.state(name));
    assert_eq!(
        states,
        [
            State::Starting,
            State::Starting,
            State::Waiting,
            State::Backoff
        ]
    );
    world.tell(Event::Shutdown);
    let states = ["probing", "waiting", "backoff"].map(|name| world.state(name));
    assert_eq!(states, [State::Stopping, State::Stopped, State::Stopped]);
    world.run_for(1000);
    assert_eq!(
        world.exit,
        Some((707, 0)),
        "once the one that was being born is gone again"
    );
    assert!(world.spawns("waiting").is_empty());
}

#[test]
fn a_child_that_is_born_after_the_kill_is_killed_at_birth() {
    let late = Program {
        spawn_takes: 300,
        ..deaf()
    };
    let mut world = boot(&manifest(&[("a", &[])]), &[("a", late)]);
    world.run_until(100);
    world.tell(Event::Shutdown);
    world.tell(Event::Shutdown);
    world.run_for(1000);
    assert_eq!(world.exit, Some((302, 0)));
}

#[test]
fn a_stop_before_the_boot_is_over_at_once() {
    let manifest = manifest(&[("a", &[])]);
    let programs = vec![Program::default(); 2];
    let mut world = crate::world::World::new(&manifest, programs, super::PLAIN);
    world.tell(Event::Shutdown);
    assert_eq!(world.exit, Some((0, 0)));
    world.tell(Event::Boot);
    world.run_for(100);
    assert!(world.spawns("a").is_empty());
}

#[test]
fn a_crash_during_the_stop_changes_neither_order_nor_code() {
    let manifest = manifest(&[("redis", &[]), ("app", &["redis"])]);
    let mut world = boot(&manifest, &[("app", slow(500))]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(100);
    world.kill("redis", Signal::KILL);
    world.run_for(1000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
    assert_eq!(world.spawns("redis").len(), 1);
}

#[test]
fn a_service_that_is_being_stopped_by_a_client_is_hurried_by_the_bound() {
    let mut manifest = manifest(&[("a", &[])]);
    Arc::make_mut(&mut manifest.services[0]).stop.timeout = Millis::from_secs(3600);
    let mut world = boot(&manifest, &[("a", deaf())]);
    world.run_until(1000);
    world.command(1, holdall_supervise::Command::Stop, &["a"]);
    world.run_until(2000);
    world.tell(Event::Shutdown);
    world.run_for(10_000);
    assert!(
        world.exit.is_some_and(|(at, _)| at < 11_000),
        "{:?}",
        world.exit
    );
}

#[test]
fn what_a_client_has_given_long_leaves_what_it_needs_its_part_of_the_bound() {
    let mut manifest = manifest(&[("redis", &[]), ("app", &["redis"])]);
    Arc::make_mut(&mut manifest.services[1]).stop.timeout = Millis::from_secs(20);
    let mut world = boot(&manifest, &[("app", deaf()), ("redis", slow(50))]);
    world.run_until(1000);
    world.command(1, holdall_supervise::Command::Stop, &["app"]);
    world.run_until(2000);
    world.tell(Event::Shutdown);
    world.run_for(10_000);
    // Else the end of the bound kills both, and redis is never told to save.
    let redis = world.id("redis");
    let told =
        |action: &Action| matches!(action, Action::Signal { service, .. } if *service == redis);
    assert_eq!(world.times(told).len(), 1);
    let killed = is_note(|note| *note == Note::KillAfterTimeout { service: redis });
    assert!(world.times(killed).is_empty());
}

#[test]
fn a_stop_command_takes_the_place_of_the_signal_and_where_it_fails_the_signal_its_own() {
    let mut manifest = manifest(&[("a", &[])]);
    Arc::make_mut(&mut manifest.services[0]).stop.command = Some(vec!["quit".to_owned()]);
    let mut world = boot(&manifest, &[("a", slow(50))]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(2000);
    let signals = |world: &crate::world::World| world.times(|a| matches!(a, Action::Signal { .. }));
    assert!(signals(&world).is_empty());
    assert_eq!(
        world.times(|a| matches!(a, Action::StopCommand { .. })),
        [1000]
    );
    assert_eq!(world.exit, Some((1052, 0)));
    let failing = Program {
        commands_fail: true,
        ..slow(50)
    };
    let mut world = boot(&manifest, &[("a", failing)]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(2000);
    assert_eq!(signals(&world), [1001], "when the command has failed");
    let failed = is_note(|note| matches!(note, Note::StopCommandFailed { .. }));
    assert_eq!(world.times(failed), [1001]);
}

#[test]
fn a_restart_that_the_boxs_stop_finds_under_way_goes_on_to_its_signal() {
    let mut manifest = manifest(&[("db", &[]), ("app", &["db"])]);
    Arc::make_mut(&mut manifest.services[0]).stop.command = Some(vec!["quit".to_owned()]);
    let failing = Program {
        commands_fail: true,
        ..slow(50)
    };
    let mut world = boot(&manifest, &[("db", failing), ("app", slow(50))]);
    world.run_until(1000);
    // What needs it stays up in a restart, and is up when the command fails.
    world.command(1, holdall_supervise::Command::Restart, &["db"]);
    world.tell(Event::Shutdown);
    world.run_for(2000);
    let signals = world.times(|a| matches!(a, Action::Signal { .. }));
    assert_eq!(
        signals,
        [1000, 1001],
        "app by the box, db when its command has failed"
    );
    assert_eq!(world.spawns("db").len(), 1);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}

#[test]
fn of_a_short_bound_a_quarter_is_kept_for_the_kill() {
    let mut manifest = manifest(&[("app", &[])]);
    manifest.init.stop_timeout = Millis(1000);
    let mut world = boot(&manifest, &[("app", deaf())]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(2000);
    let killed = world.times(|a| matches!(a, Action::KillAll { .. }));
    assert_eq!(killed, [1750]);
}

#[test]
fn a_stop_timeout_that_is_noticed_late_is_over_all_the_same() {
    let mut world = boot(&manifest(&[("app", &[])]), &[("app", deaf())]);
    world.run_until(100);
    world.command(1, Command::Stop, &["app"]);
    assert_eq!(world.state("app"), State::Stopping);
    world.supervisor.handle_timeout(Timestamp(600_000));
    let service = world.id("app");
    let actions: Vec<Action> = std::iter::from_fn(|| world.supervisor.poll_action()).collect();
    assert!(
        actions.contains(&Action::KillAll { service }),
        "{actions:?}"
    );
}

#[test]
fn what_is_born_after_everything_was_killed_is_killed_at_once() {
    let mut manifest = manifest(&[("app", &[])]);
    manifest.init.stop_timeout = Millis(1000);
    let late = Program {
        spawn_takes: 1800,
        ..deaf()
    };
    let mut world = boot(&manifest, &[("app", late)]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(2000);
    let killed = world.times(|a| matches!(a, Action::KillAll { .. }));
    assert_eq!(killed.last(), Some(&1800));
    assert!(world.stop_order().is_empty(), "nobody is asked any more");
}

#[test]
fn who_is_born_after_the_kill_dies_though_one_that_needs_it_cannot() {
    let mut world = boot(
        &manifest(&[("db", &[]), ("app", &["db"])]),
        &[("app", stuck())],
    );
    world.run_until(1000);
    world.program("db").spawn_takes = 3100;
    world.kill("db", Signal::KILL);
    world.run_until(5000);
    let [_, again] = world.spawns("db")[..] else {
        panic!("db is being started again: {:?}", world.spawns("db"))
    };
    world.tell(Event::Shutdown);
    world.tell(Event::Shutdown);
    world.run_until(again + 3200);
    let service = world.id("db");
    let killed = world.times(|a| *a == Action::KillAll { service });
    assert_eq!(killed.last(), Some(&(again + 3100)), "{killed:?}");
    assert!(!world.alive("db") && world.alive("app"));
}
