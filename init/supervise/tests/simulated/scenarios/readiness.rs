//! What a service says of itself: that it is ready, alive, about to end.

use std::sync::Arc;

use holdall_protocol::Millis;
use holdall_protocol::control::{Exit, HealthState, State};
use holdall_protocol::manifest::{Dialect, OnUnhealthy, Probe, Ready, Restart, Service};
use holdall_supervise::{Action, Command, Event, Note, Notice, Question};

use super::{boot, deaf, is_note};
use crate::world::{Program, World, health, manifest};

fn by(by: Dialect) -> Option<Box<Ready>> {
    Some(Box::new(Ready { by, timeout: None }))
}

/// `app`, which says when it is ready, and `web`, which needs it.
fn notifying(says: &[(u64, Notice)], change: impl FnOnce(&mut Service)) -> World {
    let program = Program {
        says: says.to_vec(),
        ..Program::default()
    };
    notifying_as(program, change)
}

fn notifying_as(program: Program, change: impl FnOnce(&mut Service)) -> World {
    let mut manifest = manifest(&[("app", &[]), ("web", &["app"])]);
    Arc::make_mut(&mut manifest.services[0]).ready = by(Dialect::Notify);
    change(Arc::make_mut(&mut manifest.services[0]));
    boot(&manifest, &[("app", program)])
}

fn say(world: &mut World, notice: Notice) {
    let service = world.id("app");
    world.tell(Event::Notified { service, notice });
}

fn unhealthy(world: &World) -> Vec<u64> {
    world.times(is_note(|note| matches!(note, Note::Unhealthy { .. })))
}

fn releases(world: &World) -> usize {
    let service = world.id("app");
    let releases = Action::ReleaseStore { service };
    world.times(|action| *action == releases).len()
}

#[test]
fn a_service_that_says_so_is_ready_when_it_says_so_and_not_before() {
    let mut world = notifying(&[(3000, Notice::Ready)], |_| {});
    world.run_until(2999);
    assert_eq!(world.state("app"), State::Starting);
    assert_eq!(world.spawns("web"), [0_u64; 0]);
    world.run_until(3010);
    assert_eq!(
        (world.state("app"), world.state("web")),
        (State::Ready, State::Ready)
    );
}

#[test]
fn ready_said_by_message_is_not_heeded_where_another_dialect_is_meant() {
    let log = Dialect::Log("listening".to_owned());
    let mut world = notifying(&[(10, Notice::Ready)], |app| app.ready = by(log));
    world.run_until(100);
    assert_eq!(world.state("app"), State::Starting);
    say(&mut world, Notice::Announced);
    assert_eq!(world.state("app"), State::Ready);
    let mut world = notifying(&[(10, Notice::Announced)], |_| {});
    world.run_until(100);
    assert_eq!(world.state("app"), State::Starting);
}

#[test]
fn one_that_is_not_ready_in_time_has_failed() {
    let mut world = notifying(&[], |app| {
        app.ready.as_mut().expect("it").timeout = Some(Millis(2000));
    });
    world.run_until(2000);
    assert_eq!(world.state("app"), State::Starting);
    world.run_until(2001);
    assert_eq!(world.state("app"), State::Stopping);
    let message = world.status("app").message;
    assert_eq!(message.as_deref(), Some("not ready within 2s"));
    assert_eq!(unhealthy(&world), [2001]);
    world.run_until(600_000);
    assert_eq!(
        (world.spawns("app").len(), world.exit.map(|(_, code)| code)),
        (5, Some(1)),
        "it is given up like one that crashes"
    );
}

#[test]
fn one_that_asks_for_more_time_to_start_gets_it() {
    let says = [
        (1500, Notice::Extend(Millis(2000))),
        (1600, Notice::Extend(Millis(1))),
        (3000, Notice::Ready),
    ];
    let mut world = notifying(&says, |app| {
        app.ready.as_mut().expect("it").timeout = Some(Millis(2000));
    });
    world.run_until(10_000);
    assert_eq!(
        (world.state("app"), unhealthy(&world).len()),
        (State::Ready, 0)
    );
}

#[test]
fn health_is_asked_for_once_it_is_ready() {
    let mut world = notifying(&[(5000, Notice::Ready)], |app| app.health = Some(health()));
    world.run_until(4999);
    let asks = |world: &World| world.times(|a| matches!(a, Action::Probe { .. }));
    assert_eq!(asks(&world), [0_u64; 0]);
    world.run_until(10_000);
    let asked = asks(&world);
    assert!(asked.len() >= 4 && asked[0] > 5000, "{asked:?}");
    assert_eq!(world.status("app").health, Some(HealthState::Healthy));
}

#[test]
fn a_probe_of_its_own_makes_it_ready_and_then_its_health_is_asked_for() {
    let probe = Probe::File("/run/ok".to_owned());
    let late = Program {
        healthy: (2000, u64::MAX),
        ..Program::default()
    };
    let mut world = notifying_as(late, |app| {
        app.ready = by(Dialect::Asked(probe));
        app.health = Some(health());
    });
    world.run_until(1000);
    assert_eq!(world.status("app").health, None, "it is not asked for yet");
    world.run_until(20_000);
    let service = world.id("app");
    let asked = |question| world.times(|a| *a == Action::Probe { service, question });
    let (ready, health) = (asked(Question::Ready), asked(Question::Health));
    assert!(ready.iter().max() < health.iter().min());
    assert!(ready.len() > 4 && health.len() > 10);
    assert!(
        unhealthy(&world).is_empty(),
        "it may take as long as it likes"
    );
    assert_eq!(world.state("app"), State::Ready);
}

#[test]
fn a_watchdog_that_is_not_heard_in_time_starts_it_again() {
    let mut says = vec![(0, Notice::Ready)];
    says.extend((1..5).map(|nth| (nth * 900, Notice::Alive)));
    let mut world = notifying(&says, |app| app.watchdog = Some(Millis(1000)));
    world.run_until(4500);
    assert_eq!(unhealthy(&world), [0_u64; 0]);
    world.run_until(4700);
    let message = world.status("app").message;
    assert_eq!(message.as_deref(), Some("no WATCHDOG=1 within 1s"));
    world.run_until(6000);
    assert_eq!(world.spawns("app").len(), 2);
}

#[test]
fn a_watchdog_counts_from_when_it_is_ready() {
    let mut world = notifying(&[(50_000, Notice::Ready)], |app| {
        app.watchdog = Some(Millis(1000));
    });
    world.run_until(50_900);
    assert_eq!(
        (world.state("app"), unhealthy(&world).len()),
        (State::Ready, 0)
    );
    assert_eq!(world.status("app").health, Some(HealthState::Healthy));
    world.run_until(51_100);
    assert_eq!(unhealthy(&world).len(), 1);
}

#[test]
fn a_missed_watchdog_may_be_ignored_and_ends_when_it_is_heard_again() {
    let mut world = notifying(&[(0, Notice::Ready)], |app| {
        app.watchdog = Some(Millis(1000));
        app.on_unhealthy = OnUnhealthy::Ignore;
        app.health = Some(health());
    });
    world.run_until(10_000);
    assert_eq!(world.state("app"), State::Unhealthy);
    assert_eq!(world.status("app").health, Some(HealthState::Unhealthy));
    assert_eq!(unhealthy(&world).len(), 1, "told once");
    let message = world.status("app").message;
    assert_eq!(
        message.as_deref(),
        Some("no WATCHDOG=1 within 1s"),
        "good probes don't make up for it"
    );
    say(&mut world, Notice::Alive);
    assert_eq!(world.state("app"), State::Ready);
    assert_eq!(world.status("app").message, None);
}

#[test]
fn one_that_says_it_is_stuck_is_treated_as_if_it_had_missed_its_watchdog() {
    let says = [(0, Notice::Ready), (500, Notice::Stuck)];
    let mut world = notifying(&says, |app| app.watchdog = Some(Millis(1000)));
    world.run_until(510);
    assert_eq!(world.spawns("app").len(), 1);
    let message = world.status("app").message;
    assert_eq!(
        message.as_deref(),
        Some("says that it is stuck (WATCHDOG=trigger)")
    );
    world.run_until(1900);
    assert_eq!(world.spawns("app").len(), 2);
}

#[test]
fn one_that_is_stuck_before_it_is_ready_is_never_ready_for_being_alive_again() {
    let says = [(100, Notice::Stuck), (200, Notice::Alive)];
    let mut world = notifying(&says, |app| {
        app.watchdog = Some(Millis(1000));
        app.on_unhealthy = OnUnhealthy::Ignore;
    });
    world.run_until(5000);
    assert_eq!(world.state("app"), State::Starting);
}

#[test]
fn nor_if_it_was_on_its_way_down_when_it_said_so() {
    let mut world = notifying_as(deaf(), |app| app.watchdog = Some(Millis(1000)));
    world.run_until(100);
    // `web` is up for it to wait for, so that it is leaving and not yet told.
    say(&mut world, Notice::Ready);
    world.run_until(200);
    world.kill("app", holdall_protocol::Signal::KILL);
    world.run_until(5000);
    assert_eq!(world.state("app"), State::Starting);
    world.program("web").obeys = Some(3000);
    world.command(1, Command::Stop, &["app"]);
    say(&mut world, Notice::Stuck);
    world.command(2, Command::Start, &["app"]);
    say(&mut world, Notice::Alive);
    assert_eq!(world.state("app"), State::Starting);
}

#[test]
fn a_service_sets_its_watchdog_and_takes_it_back() {
    let second = Notice::WatchdogEvery(Millis(1000));
    let says = [
        (0, Notice::Ready),
        (100, second),
        (1000, Notice::WatchdogEvery(Millis::ZERO)),
    ];
    let mut world = notifying(&says, |_| {});
    world.run_until(60_000);
    assert_eq!(
        (unhealthy(&world).len(), world.state("app")),
        (0, State::Ready)
    );
    say(&mut world, Notice::WatchdogEvery(Millis(1000)));
    world.run_until(61_500);
    assert_eq!(unhealthy(&world).len(), 1);
}

#[test]
fn one_that_says_it_stops_is_no_longer_ready_and_is_started_again_after_its_end() {
    let world = |obeys: Option<u64>| {
        let says = vec![(0, Notice::Ready), (1000, Notice::Stopping)];
        let ends = obeys.map(|after| (after, Exit::Code(0)));
        let program = Program {
            says,
            ends,
            ..Program::default()
        };
        notifying_as(program, |_| {})
    };
    let mut ending = world(Some(1500));
    ending.run_until(1400);
    assert_eq!(ending.state("app"), State::Stopping);
    let service = ending.id("app");
    let signals = |a: &Action| matches!(a, Action::Signal { service: s, .. } if *s == service);
    ending.run_until(2000);
    assert_eq!(ending.times(signals), [0_u64; 0], "it knows already");
    assert_eq!(ending.state("app"), State::Backoff);
    let mut hanging = world(None);
    hanging.run_until(5900);
    assert_eq!(hanging.state("app"), State::Stopping);
    hanging.run_until(6100);
    let killed = is_note(|note| matches!(note, Note::KillAfterTimeout { .. }));
    assert_eq!(hanging.times(killed).len(), 1, "by its stop timeout");
}

#[test]
fn one_that_stops_itself_for_good_has_ended_as_its_restart_allows() {
    let program = Program {
        says: vec![(0, Notice::Ready), (10, Notice::Stopping)],
        ends: Some((20, Exit::Code(0))),
        ..Program::default()
    };
    let mut world = notifying_as(program, |app| {
        app.restart = Restart::OnFailure;
        app.essential = false;
    });
    world.run_until(1000);
    assert_eq!(world.state("app"), State::Exited);
}

#[test]
fn a_stop_may_be_given_longer_by_who_is_stopped_but_not_the_stop_of_the_box() {
    let program = || Program {
        says: vec![
            (0, Notice::Ready),
            (4000, Notice::Extend(Millis(60_000))),
            (4001, Notice::Status("writes its file".to_owned())),
        ],
        ..deaf()
    };
    let mut alone = notifying_as(program(), |_| {});
    alone.run_until(100);
    alone.command(1, Command::Stop, &["app"]);
    alone.run_until(60_000);
    assert_eq!(alone.state("app"), State::Stopping);
    let status = alone.status("app").status;
    assert_eq!(status.as_deref(), Some("writes its file"));
    alone.run_until(65_000);
    assert_eq!(alone.state("app"), State::Stopped);
    let mut all = notifying_as(program(), |_| {});
    all.run_until(100);
    all.tell(Event::Shutdown);
    all.run_until(9100);
    assert_eq!(all.exit.map(|(_, code)| code), Some(0), "by its own bound");
}

#[test]
fn its_words_are_shown_while_it_runs_and_bounded_by_a_line() {
    let says = [
        (5, Notice::Status("warming up".to_owned())),
        (10, Notice::Ready),
        (20, Notice::Reloading),
        (40, Notice::Ready),
        (50, Notice::Status(String::new())),
        (60, Notice::Reloading),
    ];
    let mut world = notifying(&says, |_| {});
    for (at, shown) in [
        (8, Some("warming up")),
        (30, Some("reloading: warming up")),
        (45, Some("warming up")),
        (55, None),
        (70, Some("reloading")),
    ] {
        world.run_until(at);
        assert_eq!(world.status("app").status.as_deref(), shown, "at {at}");
        assert_ne!(world.state("app"), State::Stopping);
    }
    world.kill("app", holdall_protocol::Signal::KILL);
    assert_eq!(world.status("app").status, None);
}

#[test]
fn another_main_process_is_the_one_that_is_shown() {
    let mut world = notifying(&[(0, Notice::Ready)], |_| {});
    world.run_until(10);
    say(&mut world, Notice::MainPid(4711));
    assert_eq!(world.status("app").pid, Some(4711));
}

#[test]
fn what_it_has_stored_is_kept_over_restarts_and_given_up_with_it() {
    let mut world = notifying(&[(0, Notice::Ready)], |_| {});
    world.run_until(10);
    world.kill("app", holdall_protocol::Signal::KILL);
    world.run_until(5000);
    world.command(1, Command::Restart, &["app"]);
    world.run_until(10_000);
    assert_eq!((world.spawns("app").len(), releases(&world)), (3, 0));
    world.command(2, Command::Stop, &["app"]);
    world.run_until(11_000);
    assert_eq!((world.state("app"), releases(&world)), (State::Stopped, 1));
    let mut crashing = notifying_as(super::ends(5, 1), |app| app.essential = false);
    crashing.run_until(600_000);
    assert_eq!(
        (crashing.state("app"), releases(&crashing)),
        (State::Fatal, 1)
    );
}

#[test]
fn what_a_failed_probe_printed_is_kept_and_told_in_one_line() {
    let mut world = notifying_as(Program::default(), |app| {
        app.ready = None;
        app.on_unhealthy = OnUnhealthy::Ignore;
        app.health = Some(health());
        app.health.as_mut().expect("it").retries = 1;
    });
    let service = world.id("app");
    let words = "`ask`: exit 1: b\na\nb";
    world.run_until(1053);
    world.tell(Event::Probed {
        service,
        outcome: Err(words.to_owned()),
    });
    assert_eq!(world.status("app").message.as_deref(), Some(words));
    let told = is_note(
        |note| matches!(note, Note::Unhealthy { reason, .. } if reason == "`ask`: exit 1: b"),
    );
    assert_eq!(world.times(told).len(), 1);
}

#[test]
fn one_that_says_it_is_stuck_is_unhealthy_also_where_that_is_ignored() {
    let mut world = notifying(&[(0, Notice::Ready)], |app| {
        app.on_unhealthy = OnUnhealthy::Ignore;
    });
    world.run_until(1000);
    say(&mut world, Notice::Stuck);
    assert_eq!(world.state("app"), State::Unhealthy);
    say(&mut world, Notice::Alive);
    assert_eq!(world.state("app"), State::Ready);
}
