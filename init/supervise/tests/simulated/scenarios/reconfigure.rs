//! A new manifest in place of the old one.

use std::sync::Arc;

use holdall_protocol::control::State;
use holdall_protocol::manifest::{Kind, Restart, Start};
use holdall_protocol::{Manifest, Millis, Signal};
use holdall_supervise::{Action, Command, Event};

use super::{boot, ends};
use crate::world::{Program, World, health, manifest};

fn shown(world: &mut World, new: &Manifest) -> Vec<String> {
    let changes = world.reconfigure(new);
    changes.iter().map(ToString::to_string).collect()
}

fn chain() -> Manifest {
    manifest(&[("redis", &[]), ("app", &["redis"]), ("web", &["app"])])
}

#[test]
fn the_same_manifest_changes_nothing() {
    let mut world = boot(&chain(), &[]);
    world.run_until(1000);
    let before = world.said.len();
    assert!(shown(&mut world, &chain()).is_empty());
    world.run_until(2000);
    assert_eq!(world.said.len(), before + 1, "the note");
}

#[test]
fn only_what_changed_is_started_again_and_its_dependants_stay() {
    let mut world = boot(&chain(), &[]);
    world.run_until(1000);
    let mut new = chain();
    Arc::make_mut(&mut new.services[1]).command = vec!["other".to_owned()];
    Arc::make_mut(&mut new.services[0]).give_up.failures = 9;
    assert_eq!(
        shown(&mut world, &new),
        [
            "redis: goes on, and changes give_up",
            "app: is started again (command)"
        ]
    );
    world.run_until(2000);
    let spawns = ["redis", "app", "web"].map(|name| world.spawns(name).len());
    assert_eq!(spawns, [1, 2, 1]);
    assert_eq!(world.state("web"), State::Ready);
}

#[test]
fn what_is_new_starts_in_its_order_and_what_is_gone_stops_in_its_own() {
    let mut world = boot(&chain(), &[]);
    world.run_until(1000);
    let new = manifest(&[("redis", &[]), ("queue", &["redis"])]);
    assert_eq!(
        shown(&mut world, &new),
        [
            "queue: is new, and is started",
            "app: is gone, and is stopped",
            "web: is gone, and is stopped"
        ]
    );
    world.run_until(3000);
    assert_eq!(world.spawns("queue").len(), 1);
    world.kill("queue", Signal::KILL);
    world.run_until(6000);
    assert_eq!(
        world.spawns("queue").len(),
        2,
        "it is cared for as any other"
    );
    let told = |slot: u32| {
        let at = world.times(|a| matches!(a, Action::Signal { service, .. } if service.0 == slot));
        at[0]
    };
    assert!(told(2) < told(1), "web before app, which it depended on");
    let status = world
        .supervisor
        .status(holdall_supervise::Timestamp(world.now));
    let names: Vec<&str> = status.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["redis", "queue"], "what is gone is not told of");
    assert!(status.ready);
}

#[test]
fn what_comes_back_keeps_its_number_and_starts_anew() {
    let mut world = boot(&chain(), &[]);
    world.run_until(1000);
    let id = world.id("web");
    world.reconfigure(&manifest(&[("redis", &[]), ("app", &["redis"])]));
    world.run_until(2000);
    world.reconfigure(&chain());
    world.run_until(3000);
    assert_eq!(world.id("web"), id);
    assert_eq!(world.spawns("web").len(), 2);
    assert_eq!(world.state("web"), State::Ready);
}

#[test]
fn instances_are_scaled_without_a_restart_of_those_that_stay() {
    let mut of_three = manifest(&[("web", &[]), ("front", &["web"])]);
    Arc::make_mut(&mut of_three.services[0]).instances = Some(3);
    let mut of_five = of_three.clone();
    Arc::make_mut(&mut of_five.services[0]).instances = Some(5);
    let mut of_one = of_three.clone();
    Arc::make_mut(&mut of_one.services[0]).instances = Some(1);
    let mut world = boot(&of_three.expanded(), &[]);
    world.run_until(1000);
    assert_eq!(world.state("front"), State::Ready);
    world.reconfigure(&of_five.expanded());
    world.run_until(2000);
    let names = ["web@1", "web@3", "web@5", "front"];
    assert_eq!(names.map(|name| world.spawns(name).len()), [1, 1, 1, 1]);
    world.reconfigure(&of_one.expanded());
    world.run_until(3000);
    assert!(world.alive("web@1") && !world.alive("web@2") && !world.alive("web@5"));
    assert_eq!(names.map(|name| world.spawns(name).len()), [1, 1, 1, 1]);
    world.command(1, Command::Restart, &["web"]);
    world.run_until(4000);
    assert_eq!(world.replies[&1], [Ok(())], "the name means each instance");
}

#[test]
fn a_policy_holds_from_now_on_without_a_restart() {
    let mut old = manifest(&[("a", &[])]);
    Arc::make_mut(&mut old.services[0]).health = Some(health());
    let mut world = boot(&old, &[]);
    world.run_until(10_000);
    let mut new = old.clone();
    Arc::make_mut(&mut new.services[0])
        .health
        .as_mut()
        .expect("given")
        .interval = Millis(100);
    Arc::make_mut(&mut new.services[0]).stop.timeout = Millis(77);
    assert_eq!(
        shown(&mut world, &new),
        ["a: goes on, and changes health, stop"]
    );
    let before = world.times(|a| matches!(a, Action::Probe { .. })).len();
    world.run_for(5000);
    let after = world.times(|a| matches!(a, Action::Probe { .. })).len();
    assert!(after - before > 30, "{}", after - before);
    world.program("a").obeys = None;
    let at = world.now;
    world.tell(Event::Shutdown);
    world.run_for(1000);
    let killed = world.times(|a| matches!(a, Action::KillAll { .. }));
    assert_eq!(killed, [at + 77]);
}

#[test]
fn a_stopping_box_takes_no_new_manifest() {
    let mut world = boot(&chain(), &[]);
    world.run_until(1000);
    world.tell(Event::Shutdown);
    assert!(shown(&mut world, &manifest(&[("x", &[])])).is_empty());
    world.run_for(1000);
    assert!(world.exit.is_some());
}

#[test]
fn an_essential_service_that_is_taken_out_does_not_end_the_box() {
    let mut world = boot(&manifest(&[("a", &[]), ("b", &[])]), &[]);
    world.run_until(1000);
    world.reconfigure(&manifest(&[("a", &[])]));
    world.run_until(5000);
    assert_eq!(world.exit, None);
}

#[test]
fn a_oneshot_that_changed_runs_again_and_one_that_did_not_does_not() {
    let mut old = manifest(&[("migrate", &[]), ("seed", &[])]);
    for service in old.services_mut() {
        service.kind = Kind::Oneshot;
    }
    let mut keep = old.clone();
    keep.services
        .push(manifest(&[("web", &[])]).services[0].clone());
    let programs = [("migrate", ends(10, 0)), ("seed", ends(10, 0))];
    let mut world = boot(&keep, &programs);
    world.run_until(1000);
    let mut new = keep.clone();
    Arc::make_mut(&mut new.services[0])
        .env
        .insert("V".to_owned(), "2".to_owned());
    world.reconfigure(&new);
    world.run_until(2000);
    assert_eq!(world.spawns("migrate").len(), 2);
    assert_eq!(world.spawns("seed").len(), 1);
    world.reconfigure(&manifest(&[("web", &[])]));
    world.run_until(3000);
    world.reconfigure(&new);
    world.run_until(4000);
    assert_eq!(world.spawns("seed").len(), 2, "it has come back");
}

#[test]
fn a_job_that_comes_back_waits_for_its_time() {
    let without = manifest(&[("app", &[])]);
    let mut with = manifest(&[("app", &[]), ("job", &[])]);
    let job = Arc::make_mut(&mut with.services[1]);
    (job.kind, job.restart) = (Kind::Job, Restart::Never);
    job.schedule = Some("@every 10s".parse().expect("a schedule"));
    let mut world = boot(&with, &[("job", ends(10, 0))]);
    world.run_until(15_000);
    world.reconfigure(&without);
    world.run_until(17_000);
    world.reconfigure(&with);
    world.run_until(18_000);
    assert_eq!(world.state("job"), State::Scheduled);
    assert_eq!(world.spawns("job"), [10_000]);
}

#[test]
fn the_order_of_the_stop_outlives_a_new_manifest() {
    let mut set = manifest(&[("last", &[]), ("slow", &[]), ("quick", &[])]);
    for (service, order) in set.services.iter_mut().map(Arc::make_mut).zip([1, 2, 2]) {
        service.order = order;
    }
    let slow = Program {
        obeys: Some(300),
        ..Program::default()
    };
    let mut world = boot(&set, &[("slow", slow)]);
    world.run_until(1000);
    Arc::make_mut(&mut set.services[0]).give_up.failures = 9;
    world.reconfigure(&set);
    world.tell(Event::Shutdown);
    world.run_for(1000);
    let last = world.id("last");
    let told = world.times(|a| matches!(a, Action::Signal { service, .. } if *service == last));
    assert_eq!(told, [1302], "not while one of a higher order is left");
}

#[test]
fn a_manual_service_waits_for_a_client_or_for_who_needs_it() {
    let mut set = manifest(&[("db", &[]), ("debug", &[]), ("web", &["db"])]);
    Arc::make_mut(&mut set.services[0]).start = Start::Manual;
    Arc::make_mut(&mut set.services[1]).start = Start::Manual;
    let mut world = boot(&set, &[]);
    world.run_until(1000);
    assert_eq!(world.state("web"), State::Ready, "it brought db up");
    assert_eq!(world.state("debug"), State::Stopped);
    let status = world.supervisor.status(holdall_supervise::Timestamp(1000));
    assert!(status.ready, "nobody waits for debug");
    world.program("debug").spawn_takes = 500;
    world.command(1, Command::Start, &["debug"]);
    world.run_until(1200);
    let ready = |world: &World| {
        let now = holdall_supervise::Timestamp(world.now);
        world.supervisor.status(now).ready
    };
    assert!(!ready(&world), "from now on it counts");
    world.run_until(2000);
    assert_eq!(world.state("debug"), State::Ready);
    assert!(ready(&world));
}
