//! Services that the first connection starts.

use std::sync::Arc;

use holdall_protocol::control::{Exit, State};
use holdall_protocol::manifest::{Backoff, GiveUp, Restart, Start};
use holdall_protocol::{Manifest, Millis, Signal};
use holdall_supervise::{Action, Command, Event, Note, Timestamp};

use super::{boot, ends, is_note};
use crate::world::{Program, World, health, manifest};

/// One service that starts on demand, and one that starts with the box and
/// needs nothing.
fn on_demand() -> Manifest {
    let mut manifest = manifest(&[("app", &[]), ("other", &[])]);
    Arc::make_mut(&mut manifest.services[0]).start = Start::OnDemand;
    manifest
}

fn ready(world: &World) -> bool {
    world.supervisor.status(Timestamp(world.now)).ready
}

#[test]
fn it_runs_from_the_first_connection_on_and_not_before() {
    let mut world = boot(&on_demand(), &[]);
    world.run_until(10_000);
    assert_eq!(world.state("app"), State::Listening);
    assert_eq!(world.spawns("app"), [] as [u64; 0]);
    assert!(
        ready(&world),
        "its socket takes connections: the box is ready"
    );
    world.connect("app");
    assert!(ready(&world), "and so it is while it starts");
    world.run_for(100);
    assert_eq!(world.state("app"), State::Ready);
    assert!(
        !world.awaited("app"),
        "what runs takes its connections itself"
    );
}

#[test]
fn what_needs_it_starts_while_it_listens_and_what_it_needs_starts_with_it() {
    let mut manifest = manifest(&[("db", &[]), ("app", &["db"]), ("web", &["app"])]);
    Arc::make_mut(&mut manifest.services[0]).start = Start::Manual;
    Arc::make_mut(&mut manifest.services[1]).start = Start::OnDemand;
    let mut world = boot(&manifest, &[]);
    world.run_until(1000);
    assert_eq!(world.state("web"), State::Ready);
    assert_eq!(world.state("db"), State::Stopped);
    world.connect("app");
    world.run_for(100);
    assert_eq!(world.state("db"), State::Ready);
    assert_eq!(world.state("app"), State::Ready);
}

#[test]
fn one_that_ended_well_waits_for_the_next_connection_and_never_is_given_up() {
    let mut world = boot(&on_demand(), &[("app", ends(5000, 0))]);
    for round in 1..=20 {
        world.connect("app");
        world.run_for(6000);
        assert_eq!(world.state("app"), State::Listening, "round {round}");
        assert_eq!(world.spawns("app").len(), round);
    }
    let waits = world
        .times(|action| matches!(action, Action::Tell(changed) if changed.to == State::Backoff));
    assert_eq!(waits, [0_u64; 0], "it has run longer than its first wait");
}

#[test]
fn what_needs_it_starts_while_it_is_on_its_way_up() {
    let mut manifest = manifest(&[("app", &[]), ("web", &["app"])]);
    Arc::make_mut(&mut manifest.services[0]).start = Start::OnDemand;
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    let slow = Program {
        healthy: (5000, u64::MAX),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("app", slow)]);
    world.run_until(100);
    world.connect("app");
    world.run_for(100);
    world.command(1, Command::Restart, &["web"]);
    world.run_for(100);
    assert_eq!(world.state("app"), State::Starting);
    assert_eq!(world.state("web"), State::Ready);
    assert_eq!(world.spawns("web").len(), 2);
}

#[test]
fn one_that_has_ended_for_good_listens_again_for_who_needs_it() {
    for (restart, ended) in [
        (Restart::Never, State::Exited),
        (Restart::Always, State::Fatal),
    ] {
        let mut manifest = manifest(&[("app", &[]), ("web", &["app"])]);
        let app = Arc::make_mut(&mut manifest.services[0]);
        (app.start, app.restart, app.essential) = (Start::OnDemand, restart, false);
        app.give_up.failures = 1;
        let mut world = boot(&manifest, &[("app", ends(10, 7))]);
        world.run_until(100);
        world.connect("app");
        world.run_for(100);
        assert_eq!(world.state("app"), ended);
        world.command(1, Command::Start, &["web"]);
        world.run_for(100);
        assert_eq!(world.state("app"), State::Listening, "after {ended:?}");
        assert_eq!(world.spawns("app").len(), 1);
    }
}

#[test]
fn one_that_leaves_its_connection_alone_is_started_once_in_the_first_wait_and_no_more_often() {
    let mut world = boot(&on_demand(), &[("app", ends(1, 0))]);
    let until = 60_000;
    while world.now < until {
        if world.awaited("app") {
            world.connect("app");
        }
        world.run_for(10);
    }
    let starts = world.spawns("app").len();
    assert!((50..=61).contains(&starts), "{starts} starts in a minute");
    assert!(
        world
            .times(is_note(|note| matches!(note, Note::GivenUp { .. })))
            .is_empty()
    );
}

#[test]
fn a_crash_loop_is_bounded_by_backoff_and_given_up_and_nobody_is_awaited_meanwhile() {
    let mut manifest = on_demand();
    Arc::make_mut(&mut manifest.services[0]).give_up = GiveUp {
        failures: 3,
        within: Millis(60_000),
    };
    let mut world = boot(&manifest, &[("app", ends(1, 7))]);
    for wait in [1000, 2000] {
        world.connect("app");
        world.run_for(10);
        assert_eq!(world.state("app"), State::Backoff);
        assert!(!world.awaited("app"));
        let due = world
            .supervisor
            .poll_timeout()
            .expect("the end of the wait");
        assert!(due.0 <= world.now + wait && due.0 > world.now + wait / 2);
        world.run_for(wait);
        assert!(
            world.awaited("app"),
            "the wait is over, and the next may come"
        );
    }
    world.connect("app");
    world.run_for(10_000);
    assert_eq!(
        world.exit.map(|(_, code)| code),
        Some(7),
        "it was essential"
    );
}

#[test]
fn a_crash_is_mended_by_the_next_connection_and_not_before() {
    let mut world = boot(&on_demand(), &[]);
    world.connect("app");
    world.run_for(1000);
    world.kill("app", Signal::KILL);
    world.run_for(60_000);
    assert_eq!(world.state("app"), State::Listening);
    assert_eq!(world.spawns("app").len(), 1);
    world.connect("app");
    world.run_for(10);
    assert_eq!(world.state("app"), State::Ready);
}

#[test]
fn a_client_starts_it_without_a_connection_and_stops_it_so_that_no_connection_does() {
    let mut world = boot(&on_demand(), &[]);
    world.command(1, Command::Start, &["app"]);
    world.run_for(100);
    assert_eq!(world.state("app"), State::Ready);
    assert_eq!(world.replies[&1], [Ok(())]);
    world.command(2, Command::Stop, &["app"]);
    world.run_for(100);
    assert_eq!(world.state("app"), State::Stopped);
    assert!(!world.awaited("app"));
    world.command(3, Command::Restart, &["app"]);
    world.run_for(100);
    assert_eq!(world.state("app"), State::Ready);
}

#[test]
fn a_stop_of_the_box_ends_the_wait() {
    let mut world = boot(&on_demand(), &[]);
    world.run_until(100);
    world.tell(Event::Shutdown);
    world.run_for(1000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
    let forgotten = world.times(|action| matches!(action, Action::ForgetDemand { .. }));
    assert_eq!(forgotten, [100]);
}

#[test]
fn a_box_in_which_all_else_has_ended_goes_on_waiting_for_connections() {
    let mut manifest = on_demand();
    Arc::make_mut(&mut manifest.services[1]).restart = Restart::Never;
    Arc::make_mut(&mut manifest.services[1]).essential = false;
    let mut world = boot(&manifest, &[("other", ends(10, 0))]);
    world.run_until(10_000);
    assert_eq!(world.status("other").last_exit, Some(Exit::Code(0)));
    assert_eq!((world.exit, world.awaited("app")), (None, true));
}

#[test]
fn a_reload_changes_what_will_start_without_starting_it() {
    let mut world = boot(&on_demand(), &[]);
    world.run_until(100);
    let mut new = on_demand();
    Arc::make_mut(&mut new.services[0]).command = vec!["other".to_owned()];
    world.reconfigure(&new);
    world.run_for(100);
    assert_eq!(world.state("app"), State::Listening);
    Arc::make_mut(&mut new.services[0]).start = Start::Boot;
    world.reconfigure(&new);
    world.run_for(100);
    assert_eq!(world.state("app"), State::Ready);
    Arc::make_mut(&mut new.services[0]).start = Start::OnDemand;
    world.reconfigure(&new);
    world.run_for(100);
    assert_eq!(world.state("app"), State::Ready, "it goes on to its end");
}

#[test]
fn its_first_wait_is_that_of_its_backoff() {
    let mut manifest = on_demand();
    Arc::make_mut(&mut manifest.services[0]).backoff = Backoff {
        initial: Millis(50),
        max: Millis(50),
    };
    let program = Program {
        ends: Some((10, Exit::Code(0))),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("app", program)]);
    world.connect("app");
    world.run_for(49);
    assert_eq!(world.state("app"), State::Backoff);
    world.run_for(10);
    assert_eq!(world.state("app"), State::Listening);
}
