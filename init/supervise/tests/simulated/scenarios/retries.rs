//! `ready.after`, `start_retries`, `success`, `order` and `keep_running`: what
//! a supervisord.conf needs. Each row of supervisord's own state table has a
//! test here.

use std::sync::Arc;

use holdall_protocol::control::{Exit, State};
use holdall_protocol::manifest::{Dialect, Manifest, Ready, Restart};
use holdall_protocol::{Millis, Signal};
use holdall_supervise::{Action, Event, Timestamp};

use super::{boot, deaf, ends};
use crate::world::{Program, manifest};

/// One program as supervisord has it where nothing is said: startsecs 1,
/// startretries 3, autorestart unexpected.
fn one() -> Manifest {
    let mut manifest = manifest(&[("app", &[])]);
    manifest.init.keep_running = true;
    for service in manifest.services_mut() {
        as_supervisord(service);
    }
    manifest
}

fn as_supervisord(service: &mut holdall_protocol::manifest::Service) {
    service.ready = Some(Box::new(Ready {
        by: Dialect::After(Millis(1000)),
        timeout: None,
    }));
    service.start_retries = Some(3);
    service.restart = Restart::OnFailure;
    service.essential = false;
}

#[test]
fn a_program_is_starting_until_it_has_lived_for_startsecs() {
    let mut world = boot(&one(), &[]);
    world.run_until(1000);
    assert_eq!(world.state("app"), State::Starting);
    world.run_until(1001);
    assert_eq!(world.state("app"), State::Ready, "it was born at 1");
    let (supervisor, now) = (&world.supervisor, Timestamp(world.now));
    assert_eq!(supervisor.poll_timeout(), None, "and nothing more is due");
    assert!(supervisor.status(now).ready);
}

#[test]
fn one_that_ends_too_soon_is_tried_again_a_second_later_each_time_and_then_given_up() {
    // With an expected code, and although it would not be restarted otherwise.
    let mut manifest = one();
    Arc::make_mut(&mut manifest.services[0]).restart = Restart::Never;
    let mut world = boot(&manifest, &[("app", ends(10, 0))]);
    world.run_until(60_000);
    // Each life takes a birth (1), ten, and the clearing of what it left (2);
    // the wait counts from its end.
    assert_eq!(world.spawns("app"), [0, 1011, 3022, 6033]);
    assert_eq!(world.state("app"), State::Fatal);
    assert_eq!(world.exit, None, "the box goes on");
}

#[test]
fn an_end_that_is_heard_of_before_the_time_that_made_it_ready_is_one_of_a_ready_one() {
    let mut world = boot(&one(), &[]);
    world.run_until(500);
    let mut supervisor = world.supervisor.clone();
    let exit = Exit::Code(0);
    let service = world.id("app");
    // A busy machine: nothing was told for a while.
    let oom_kills = 0;
    let exited = Event::Exited {
        service,
        exit,
        oom_kills,
    };
    supervisor.handle(Timestamp(1500), exited);
    supervisor.handle(Timestamp(1501), Event::Cleared { service });
    let status = supervisor.status(Timestamp(1501)).services.remove(0);
    assert_eq!(status.state, State::Exited);
}

#[test]
fn what_can_not_be_executed_is_tried_and_given_up_alike() {
    let missing = Program {
        spawn_fails: Some(127),
        ..Program::default()
    };
    let mut world = boot(&one(), &[("app", missing)]);
    world.run_until(60_000);
    assert_eq!(world.spawns("app").len(), 4);
    assert_eq!(world.state("app"), State::Fatal);
}

#[test]
fn without_retries_the_first_failed_start_is_the_last() {
    let mut manifest = one();
    Arc::make_mut(&mut manifest.services[0]).start_retries = Some(0);
    let mut world = boot(&manifest, &[("app", ends(10, 0))]);
    world.run_until(60_000);
    assert_eq!(world.spawns("app"), [0]);
    assert_eq!(world.state("app"), State::Fatal);
}

#[test]
fn one_that_came_up_is_started_again_at_once_and_without_limit() {
    let mut world = boot(&one(), &[("app", ends(1500, 3))]);
    world.run_until(30_000);
    let spawns = world.spawns("app");
    assert!(spawns.len() > 15, "{spawns:?}");
    for pair in spawns.windows(2) {
        assert_eq!(pair[1] - pair[0], 1503, "birth, life, clearing");
    }
}

#[test]
fn a_good_start_forgets_the_bad_ones_before_it() {
    let mut world = boot(&one(), &[("app", ends(10, 1))]);
    world.run_until(3000);
    assert_eq!(world.spawns("app").len(), 2);
    world.program("app").ends = Some((2000, Exit::Code(1)));
    world.run_until(5000);
    world.program("app").ends = Some((10, Exit::Code(1)));
    world.run_until(60_000);
    assert_eq!(world.state("app"), State::Fatal);
    // Two bad ones, a good one, and then four bad ones more.
    assert_eq!(world.spawns("app").len(), 7);
}

#[test]
fn an_expected_code_stays_down_and_an_unexpected_one_and_a_signal_do_not() {
    let mut manifest = one();
    Arc::make_mut(&mut manifest.services[0]).success = [0, 2].into_iter().collect();
    let mut world = boot(&manifest, &[("app", ends(1500, 2))]);
    world.run_until(10_000);
    assert_eq!(world.state("app"), State::Exited);
    assert_eq!(world.exit, None, "the box goes on");

    Arc::make_mut(&mut manifest.services[0]).success = [].into_iter().collect();
    let mut world = boot(&manifest, &[("app", ends(1500, 0))]);
    world.run_until(10_000);
    assert!(world.spawns("app").len() > 5, "not even 0 is expected");

    let mut world = boot(&one(), &[]);
    world.run_until(5000);
    world.kill("app", Signal::TERM);
    world.run_for(10);
    assert_eq!(world.spawns("app").len(), 2);
}

#[test]
fn one_that_is_stopped_while_it_waits_to_be_tried_again_stays_stopped() {
    let mut world = boot(&one(), &[("app", ends(10, 1))]);
    world.run_until(500);
    assert_eq!(world.state("app"), State::Backoff);
    world.command(1, holdall_supervise::Command::Stop, &["app"]);
    world.run_until(60_000);
    assert_eq!(world.state("app"), State::Stopped);
    assert_eq!(world.spawns("app").len(), 1);
}

#[test]
fn services_start_by_order_without_waiting_and_stop_in_its_reverse_one_after_the_other() {
    let mut manifest = manifest(&[
        ("last", &[]),
        ("first", &[]),
        ("middle", &[]),
        ("twin", &[]),
    ]);
    for (service, order) in manifest.services_mut().zip([30, 10, 20, 20]) {
        as_supervisord(service);
        service.order = order;
    }
    let slow = Program {
        obeys: Some(300),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("last", slow.clone()), ("middle", slow)]);
    let spawned: Vec<usize> = world
        .said
        .iter()
        .filter_map(|(_, action)| match action {
            Action::Spawn { service } => Some(service.index()),
            _ => None,
        })
        .collect();
    assert_eq!(spawned, [1, 2, 3, 0]);
    assert!(world.said.iter().all(|(at, _)| *at == 0), "all at once");
    world.run_until(5000);
    world.tell(Event::Shutdown);
    world.run_for(5000);
    assert_eq!(world.stop_order(), ["last", "middle", "twin", "first"]);
    let told = |name: &str| {
        let service = world.id(name);
        world.times(|a| matches!(a, Action::Signal { service: s, .. } if *s == service))[0]
    };
    assert_eq!(
        (told("last"), told("middle"), told("twin")),
        (5000, 5302, 5302)
    );
    assert_eq!(told("first"), 5604);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}

#[test]
fn a_box_with_an_order_ends_in_time_however_deaf_its_services_are() {
    let mut manifest = manifest(&[("a", &[]), ("b", &[]), ("c", &["a"])]);
    for (service, order) in manifest.services_mut().zip([5, 9, 1]) {
        service.order = order;
    }
    let odd = [("a", deaf()), ("b", deaf()), ("c", deaf())];
    let mut world = boot(&manifest, &odd);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    world.run_for(9000);
    assert_eq!(world.stop_order(), ["b", "c", "a"]);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}

#[test]
fn a_box_that_keeps_running_waits_with_nothing_left_to_run() {
    for keep_running in [false, true] {
        let mut manifest = one();
        manifest.init.keep_running = keep_running;
        let mut world = boot(&manifest, &[("app", ends(1500, 0))]);
        world.run_until(10_000);
        assert_eq!(world.state("app"), State::Exited);
        assert_eq!(world.exit.is_none(), keep_running);
    }
}
