//! Starts, in order.

use std::sync::Arc;

use holdall_protocol::control::{Exit, State};
use holdall_protocol::manifest::{Condition, Kind, Restart};
use holdall_supervise::{Action, Event, Note, ServiceId, Timestamp};

use super::{boot, ends, is_note};
use crate::world::{Program, health, manifest};

#[test]
fn a_dependant_starts_once_what_it_needs_is_ready_not_merely_spawned() {
    let mut manifest = manifest(&[("redis", &[]), ("app", &["redis"])]);
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    let slow = Program {
        healthy: (700, u64::MAX),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("redis", slow)]);
    world.run_until(600);
    assert_eq!(
        (world.state("redis"), world.state("app")),
        (State::Starting, State::Waiting)
    );
    world.run_until(2000);
    assert_eq!(
        (world.state("redis"), world.state("app")),
        (State::Ready, State::Ready)
    );
    let spawned = world.spawns("app")[0];
    assert!(
        (700..1200).contains(&spawned),
        "soon after it was ready, not at {spawned}"
    );
}

#[test]
fn started_is_met_by_a_process_that_is_not_ready_yet() {
    let mut manifest = manifest(&[("redis", &[]), ("app", &["redis"])]);
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    Arc::make_mut(&mut manifest.services[1]).depends_on[0].condition = Condition::Started;
    let never = Program {
        healthy: (u64::MAX, u64::MAX),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("redis", never)]);
    world.run_until(10);
    assert_eq!(
        (world.state("redis"), world.state("app")),
        (State::Starting, State::Ready)
    );
}

#[test]
fn independent_services_start_side_by_side() {
    let slow = Program {
        spawn_takes: 300,
        ..Program::default()
    };
    let manifest = manifest(&[("a", &[]), ("b", &[]), ("c", &[])]);
    let mut world = boot(
        &manifest,
        &[("a", slow.clone()), ("b", slow.clone()), ("c", slow)],
    );
    world.run_until(301);
    for name in ["a", "b", "c"] {
        assert_eq!(
            (world.spawns(name), world.state(name)),
            (vec![0], State::Ready)
        );
    }
}

#[test]
fn what_needs_a_oneshot_waits_until_it_has_ended_well() {
    let mut manifest = manifest(&[("migrate", &[]), ("app", &["migrate"])]);
    Arc::make_mut(&mut manifest.services[0]).kind = Kind::Oneshot;
    Arc::make_mut(&mut manifest.services[0]).restart = Restart::OnFailure;
    for condition in [Condition::Ready, Condition::Done] {
        Arc::make_mut(&mut manifest.services[1]).depends_on[0].condition = condition;
        let mut world = boot(&manifest, &[("migrate", ends(400, 0))]);
        world.run_until(390);
        assert_eq!(
            (world.state("migrate"), world.state("app")),
            (State::Starting, State::Waiting)
        );
        world.run_until(500);
        assert_eq!(
            (world.state("migrate"), world.state("app")),
            (State::Exited, State::Ready)
        );
        assert!(
            world.supervisor.status(Timestamp(500)).ready,
            "a done oneshot is ready"
        );
    }
}

#[test]
fn a_oneshot_that_fails_is_tried_again() {
    let mut manifest = manifest(&[("migrate", &[]), ("app", &["migrate"])]);
    Arc::make_mut(&mut manifest.services[0]).kind = Kind::Oneshot;
    Arc::make_mut(&mut manifest.services[0]).restart = Restart::OnFailure;
    let mut world = boot(&manifest, &[("migrate", ends(10, 1))]);
    world.run_until(500);
    assert_eq!(
        (world.state("migrate"), world.state("app")),
        (State::Backoff, State::Waiting)
    );
    *world.program("migrate") = ends(10, 0);
    world.run_until(2000);
    assert_eq!(
        (world.state("migrate"), world.state("app")),
        (State::Exited, State::Ready)
    );
}

#[test]
fn a_oneshot_that_fails_for_good_keeps_what_needs_it_waiting() {
    let mut manifest = manifest(&[("migrate", &[]), ("app", &["migrate"]), ("other", &[])]);
    Arc::make_mut(&mut manifest.services[0]).kind = Kind::Oneshot;
    Arc::make_mut(&mut manifest.services[0]).restart = Restart::Never;
    Arc::make_mut(&mut manifest.services[0]).essential = false;
    let mut world = boot(&manifest, &[("migrate", ends(10, 7))]);
    world.run_until(100_000);
    assert_eq!(
        (world.state("migrate"), world.state("app")),
        (State::Fatal, State::Waiting)
    );
    assert_eq!(world.status("migrate").last_exit, Some(Exit::Code(7)));
    assert_eq!(world.state("other"), State::Ready, "and the box goes on");
    assert_eq!(world.exit, None);
}

#[test]
fn the_box_says_that_it_is_ready_each_time_it_becomes_so() {
    let manifest = manifest(&[("redis", &[]), ("app", &["redis"])]);
    let mut world = boot(&manifest, &[]);
    world.run_until(100);
    let ready = is_note(|note| matches!(note, Note::BoxReady { .. }));
    assert_eq!(world.times(&ready).len(), 1);
    world.kill("redis", holdall_protocol::Signal::KILL);
    world.run_for(5000);
    assert_eq!(world.times(&ready).len(), 2);
}

#[test]
fn a_box_without_services_is_ready_and_waits() {
    let mut world = boot(&manifest(&[]), &[]);
    world.run_until(1_000_000);
    let status = world.supervisor.status(Timestamp(world.now));
    assert!(status.ready && status.has_been_ready && world.exit.is_none());
    assert_eq!(world.supervisor.poll_timeout(), None, "without a wake-up");
    world.tell(Event::Shutdown);
    assert_eq!(world.exit, Some((1_000_000, 0)));
}

#[test]
fn an_idle_box_without_probes_wants_no_wake_up() {
    let mut world = boot(&manifest(&[("a", &[]), ("b", &["a"])]), &[]);
    world.run_until(1000);
    assert_eq!(world.supervisor.poll_timeout(), None);
}

#[test]
fn a_child_that_is_reaped_before_its_birth_is_told_is_not_lost() {
    let mut world = boot(&manifest(&[("a", &[])]), &[]);
    let service = ServiceId(0);
    // Not through the world: its own birth would follow.
    let mut supervisor = world.supervisor.clone();
    supervisor.handle(
        Timestamp(1),
        Event::Exited {
            service,
            exit: Exit::Code(3),
            oom_kills: 0,
        },
    );
    let actions: Vec<Action> = std::iter::from_fn(|| supervisor.poll_action()).collect();
    assert!(
        actions.contains(&Action::KillAll { service }),
        "{actions:?}"
    );
    supervisor.handle(Timestamp(2), Event::Spawned { service, pid: 5 });
    supervisor.handle(Timestamp(3), Event::Cleared { service });
    let state = supervisor.status(Timestamp(3)).services.remove(0).state;
    assert_eq!(state, State::Backoff);
    world.run_until(10);
    assert_eq!(world.state("a"), State::Ready);
}
