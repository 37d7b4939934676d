//! Probes, and the three questions of an engine.

use std::sync::Arc;

use holdall_protocol::Signal;
use holdall_protocol::control::{HealthKind, HealthState, State};
use holdall_protocol::manifest::{OnUnhealthy, Restart};
use holdall_supervise::{Action, Command, Event, Note, Timestamp};

use super::{boot, deaf, is_note};
use crate::world::{Program, World, health, manifest};

fn probed(odd: Program, change: impl FnOnce(&mut holdall_protocol::manifest::Service)) -> World {
    let mut manifest = manifest(&[("app", &[]), ("web", &["app"])]);
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    change(Arc::make_mut(&mut manifest.services[0]));
    boot(&manifest, &[("app", odd)])
}

fn hangs_after(age: u64) -> Program {
    Program {
        healthy: (0, age),
        ..Program::default()
    }
}

#[test]
fn a_hung_service_turns_unhealthy_after_its_retries_and_is_started_again() {
    let mut world = probed(hangs_after(10_000), |_| {});
    world.run_until(20_000);
    let unhealthy = world.times(is_note(|note| matches!(note, Note::Unhealthy { .. })));
    assert_eq!(unhealthy.len(), 1);
    assert!(
        (12_000..13_500).contains(&unhealthy[0]),
        "three bad answers, at {}",
        unhealthy[0]
    );
    assert_eq!(
        (world.spawns("app").len(), world.spawns("web").len()),
        (2, 1)
    );
    assert_eq!(world.state("app"), State::Ready);
}

#[test]
fn a_hung_service_that_ignores_the_stop_signal_is_killed() {
    let mut world = probed(
        Program {
            healthy: (0, 10_000),
            ..deaf()
        },
        |_| {},
    );
    world.run_until(30_000);
    let killed = world.times(is_note(|note| {
        matches!(note, Note::KillAfterTimeout { .. })
    }));
    assert_eq!(killed.len(), 1);
    assert_eq!(world.spawns("app").len(), 2);
}

#[test]
fn unhealthy_restarts_count_towards_giving_up() {
    let mut world = probed(hangs_after(500), |_| {});
    world.run_until(600_000);
    assert_eq!(
        world.exit.map(|(_, code)| code),
        Some(1),
        "it ended with 0 each time it was told to"
    );
}

#[test]
fn unhealthy_may_be_ignored_and_ends_with_the_next_good_answer() {
    let mut world = probed(hangs_after(10_000), |service| {
        service.on_unhealthy = OnUnhealthy::Ignore
    });
    world.run_until(20_000);
    assert_eq!(world.state("app"), State::Unhealthy);
    assert_eq!(world.status("app").health, Some(HealthState::Unhealthy));
    assert_eq!(
        world.status("app").message.as_deref(),
        Some("connection refused")
    );
    let hangs = Err("`app` is unhealthy (connection refused)".to_owned());
    for kind in [HealthKind::Live, HealthKind::Auto] {
        assert_eq!(
            world.supervisor.health(kind),
            hangs,
            "for the engine to act"
        );
    }
    world.program("app").healthy = (0, u64::MAX);
    world.run_for(1100);
    assert_eq!(world.supervisor.health(HealthKind::Auto), Ok(()));
    assert_eq!(
        (world.state("app"), world.spawns("app").len()),
        (State::Ready, 1)
    );
    assert_eq!(world.status("app").message, None);
    assert_eq!(
        world
            .times(is_note(|note| matches!(note, Note::Recovered { .. })))
            .len(),
        1
    );
}

#[test]
fn an_unhealthy_service_that_is_never_restarted_is_given_up() {
    let mut world = probed(hangs_after(10_000), |service| {
        service.restart = Restart::Never
    });
    world.run_until(60_000);
    assert_eq!(
        (world.spawns("app").len(), world.exit.map(|(_, code)| code)),
        (1, Some(1))
    );
}

#[test]
fn a_probe_of_a_process_that_is_gone_is_called_off_and_its_answer_ignored() {
    let slow = Program {
        probe_takes: 400,
        ..Program::default()
    };
    let mut world = probed(slow, |_| {});
    world.run_until(60);
    world.kill("app", Signal::KILL);
    let service = world.id("app");
    assert_eq!(
        world.times(|a| *a == Action::CancelProbe { service }).len(),
        1
    );
    for expected in [State::Stopping, State::Backoff] {
        world.tell(Event::Probed {
            service,
            outcome: Ok(()),
        });
        assert_eq!(world.state("app"), expected);
        world.run_for(480);
    }
}

#[test]
fn a_service_that_is_stopped_while_it_is_probed_is_told_to_end_at_once() {
    let hanging = Program {
        probe_takes: 5000,
        ..Program::default()
    };
    let mut world = probed(hanging, |_| {});
    world.run_until(100);
    assert_eq!(world.state("app"), State::Starting);
    world.tell(Event::Shutdown);
    world.run_for(50);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}

#[test]
fn health_is_unknown_then_starting_then_healthy() {
    let mut world = probed(
        Program {
            healthy: (300, u64::MAX),
            ..Program::default()
        },
        |_| {},
    );
    world.run_until(10);
    assert_eq!(world.status("app").health, None);
    world.run_until(100);
    assert_eq!(world.status("app").health, Some(HealthState::Starting));
    world.run_until(1000);
    assert_eq!(world.status("app").health, Some(HealthState::Healthy));
}

#[test]
fn the_box_is_ready_when_it_is_and_alive_while_it_mends_itself() {
    let mut world = probed(
        Program {
            healthy: (300, u64::MAX),
            ..Program::default()
        },
        |_| {},
    );
    let ask = |world: &World, kind| world.supervisor.health(kind);
    world.run_until(100);
    let not_yet = "`app` is starting (connection refused), and 1 other is not ready".to_owned();
    for kind in [HealthKind::Started, HealthKind::Ready, HealthKind::Auto] {
        assert_eq!(ask(&world, kind), Err(not_yet.clone()));
    }
    assert_eq!(ask(&world, HealthKind::Live), Ok(()));
    world.run_until(2000);
    for kind in [
        HealthKind::Started,
        HealthKind::Ready,
        HealthKind::Auto,
        HealthKind::Live,
    ] {
        assert_eq!(ask(&world, kind), Ok(()));
    }
    world.kill("web", Signal::KILL);
    world.run_for(100);
    let mending = "`web` is waiting to be started again".to_owned();
    assert_eq!(ask(&world, HealthKind::Ready), Err(mending));
    assert_eq!(ask(&world, HealthKind::Started), Ok(()), "once is enough");
    assert_eq!(
        ask(&world, HealthKind::Auto),
        Ok(()),
        "or the engine fights the restart"
    );
    world.tell(Event::Shutdown);
    assert_eq!(
        ask(&world, HealthKind::Ready),
        Err("the box is stopping".to_owned())
    );
    assert_eq!(ask(&world, HealthKind::Live), Ok(()));
}

#[test]
fn a_given_up_service_fails_liveness_only_if_it_is_essential() {
    let mut manifest = manifest(&[("extra", &[]), ("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).essential = false;
    let mut world = boot(&manifest, &[("extra", super::ends(5, 1))]);
    world.run_until(600_000);
    assert_eq!(world.state("extra"), State::Fatal);
    for kind in [HealthKind::Live, HealthKind::Ready] {
        assert_eq!(world.supervisor.health(kind), Ok(()));
    }
    assert!(world.supervisor.status(Timestamp(world.now)).ready);
}

#[test]
fn one_that_hangs_and_is_to_end_is_not_for_the_engine() {
    let mut manifest = manifest(&[("app", &[]), ("web", &["app"])]);
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    Arc::make_mut(&mut manifest.services[0]).on_unhealthy = OnUnhealthy::Ignore;
    let odd = [("app", hangs_after(5000)), ("web", deaf())];
    let mut world = boot(&manifest, &odd);
    world.run_until(10_000);
    assert!(world.supervisor.health(HealthKind::Live).is_err());
    world.command(1, Command::Stop, &["app"]);
    world.run_for(100);
    assert_eq!(world.state("app"), State::Unhealthy, "web stops first");
    assert_eq!(world.supervisor.health(HealthKind::Live), Ok(()));
}

#[test]
fn a_good_answer_takes_back_the_words_of_a_bad_one() {
    let mut world = probed(hangs_after(5000), |_| {});
    world.run_until(6500);
    assert!(world.status("app").message.is_some());
    world.program("app").healthy = (0, u64::MAX);
    world.run_until(8000);
    assert_eq!(world.state("app"), State::Ready);
    assert_eq!(world.status("app").message, None);
}

#[test]
fn one_that_hangs_while_it_waits_for_its_turn_to_stop_keeps_its_turn() {
    let mut manifest = manifest(&[("app", &[]), ("web", &["app"])]);
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    let odd = [("app", hangs_after(1000)), ("web", deaf())];
    let mut world = boot(&manifest, &odd);
    world.run_until(1000);
    world.command(1, Command::Stop, &["app"]);
    world.run_for(4500);
    assert_eq!(world.state("app"), State::Unhealthy);
    assert_eq!(world.stop_order(), ["web"]);
}
