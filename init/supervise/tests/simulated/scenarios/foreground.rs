//! The foreground command.

use std::sync::Arc;

use holdall_protocol::Signal;
use holdall_protocol::control::Exit;
use holdall_supervise::{Action, Event, Note, Options};

use super::{boot_with, deaf, ends, is_note};
use crate::world::{FOREGROUND, Program, World, health, manifest};

const AT_ONCE: Options = Options {
    foreground: true,
    after_ready: false,
    seed: 1,
};
const AFTER_READY: Options = Options {
    foreground: true,
    after_ready: true,
    seed: 1,
};

fn boot(foreground: Program, options: Options) -> World {
    let mut manifest = manifest(&[("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    let app = Program {
        healthy: (500, u64::MAX),
        ..Program::default()
    };
    boot_with(
        &manifest,
        &[("app", app), (FOREGROUND, foreground)],
        options,
    )
}

fn started(world: &World) -> Vec<u64> {
    world.times(|action| *action == Action::SpawnForeground)
}

#[test]
fn it_starts_at_once_so_that_a_broken_box_can_be_looked_into() {
    let world = boot(Program::default(), AT_ONCE);
    assert_eq!(started(&world), [0]);
}

#[test]
fn it_waits_for_the_box_to_be_ready_if_asked_to() {
    let mut world = boot(Program::default(), AFTER_READY);
    world.run_until(500);
    assert!(started(&world).is_empty());
    world.run_until(2000);
    assert_eq!(started(&world).len(), 1);
    world.kill("app", Signal::KILL);
    world.run_for(10_000);
    assert_eq!(started(&world).len(), 1, "only the first time");
}

#[test]
fn the_box_stops_in_order_when_it_ends_and_with_its_code() {
    for (ends, code) in [
        (Exit::Code(3), 3),
        (Exit::Code(0), 0),
        (Exit::Signal(Signal::INT), 130),
    ] {
        let program = Program {
            ends: Some((2000, ends)),
            ..Program::default()
        };
        let mut world = boot(program, AT_ONCE);
        world.run_until(5000);
        assert_eq!(world.exit.map(|(_, code)| code), Some(code));
        assert_eq!(world.stop_order(), ["app"]);
    }
}

#[test]
fn a_command_that_can_not_be_run_ends_the_box_with_a_shells_code() {
    let missing = Program {
        spawn_fails: Some(127),
        ..Program::default()
    };
    let mut world = boot(missing, AT_ONCE);
    world.run_until(1000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(127));
    let said = is_note(|note| matches!(note, Note::ForegroundFailed { .. }));
    assert_eq!(world.times(said).len(), 1);
}

#[test]
fn a_shutdown_tells_it_first_and_ends_with_its_code() {
    let mut world = boot(
        Program {
            obeys: Some(50),
            ..Program::default()
        },
        AT_ONCE,
    );
    world.run_until(2000);
    world.tell(Event::Shutdown);
    let signals: Vec<&Action> = world
        .said
        .iter()
        .map(|(_, action)| action)
        .filter(|action| {
            matches!(
                action,
                Action::Signal { .. } | Action::SignalForeground { .. }
            )
        })
        .collect();
    assert!(matches!(
        signals[..],
        [
            Action::SignalForeground {
                signal: Signal::TERM
            },
            _
        ]
    ));
    world.run_for(1000);
    assert_eq!(
        world.exit.map(|(_, code)| code),
        Some(0),
        "it heard the signal and ended with 0"
    );
}

#[test]
fn a_shell_that_ignores_the_signal_is_killed_at_the_deadline() {
    let mut world = boot(deaf(), AT_ONCE);
    world.run_until(2000);
    world.tell(Event::Shutdown);
    world.run_for(20_000);
    let (at, code) = world.exit.expect("it stopped");
    assert_eq!(code, 137);
    assert!((8000..9000).contains(&(at - 2000)), "{at}");
}

#[test]
fn a_box_that_stops_for_another_reason_keeps_that_code() {
    let manifest = manifest(&[("app", &[])]);
    let odd = [
        ("app", ends(5, 42)),
        (
            FOREGROUND,
            Program {
                obeys: Some(9),
                ..Program::default()
            },
        ),
    ];
    let mut world = boot_with(&manifest, &odd, AT_ONCE);
    world.run_until(60_000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(42));
}

#[test]
fn a_shutdown_before_it_started_means_that_it_never_does() {
    let mut world = boot(Program::default(), AFTER_READY);
    world.run_until(100);
    world.tell(Event::Shutdown);
    world.run_for(1000);
    assert!(started(&world).is_empty());
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}

#[test]
fn a_shutdown_while_it_is_being_born_reaches_it_at_birth() {
    let mut world = boot(
        Program {
            spawn_takes: 300,
            ..Program::default()
        },
        AT_ONCE,
    );
    world.run_until(100);
    world.tell(Event::Shutdown);
    world.run_for(1000);
    assert_eq!(
        world.times(|a| matches!(a, Action::SignalForeground { .. })),
        [300]
    );
    assert!(world.exit.is_some());
}

#[test]
fn a_box_of_the_command_alone_lives_as_long_as_it() {
    let odd = [(FOREGROUND, ends(5000, 4))];
    let mut world = boot_with(&manifest(&[]), &odd, AT_ONCE);
    world.run_until(4000);
    assert_eq!(world.exit, None);
    world.run_until(6000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(4));
}

#[test]
fn a_first_request_does_not_hurry_a_stop_that_the_command_began() {
    let mut manifest = manifest(&[("redis", &[])]);
    Arc::make_mut(&mut manifest.services[0]).stop.timeout = holdall_protocol::Millis(3000);
    let saving = Program {
        obeys: Some(2000),
        ..Program::default()
    };
    let odd = [("redis", saving), (FOREGROUND, ends(1000, 7))];
    let mut world = boot_with(&manifest, &odd, AT_ONCE);
    world.run_until(1500);
    world.tell(Event::Shutdown);
    world.run_until(5000);
    assert_eq!(world.exit, Some((3003, 7)), "redis had the time to save");
}
