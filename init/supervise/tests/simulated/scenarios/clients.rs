//! What clients ask, and what they are answered.

use std::sync::Arc;

use holdall_protocol::Signal;
use holdall_protocol::control::{ErrorKind, State};
use holdall_protocol::manifest::{Kind, Restart};
use holdall_supervise::{Command, Event, Note, Refusal};

use super::{boot, deaf, ends, is_note};
use crate::world::{Program, World, health, manifest};

/// redis ← app ← web, all ready.
fn shop() -> World {
    let manifest = manifest(&[("redis", &[]), ("app", &["redis"]), ("web", &["app"])]);
    let mut world = boot(&manifest, &[]);
    world.run_until(1000);
    world
}

fn states(world: &World) -> [State; 3] {
    ["redis", "app", "web"].map(|name| world.state(name))
}

fn refused(world: &World, request: u64) -> Refusal {
    match world.replies[&request].as_slice() {
        [Err(refusal)] => refusal.clone(),
        other => panic!("one refusal, not {other:?}"),
    }
}

fn done(world: &World, request: u64) -> bool {
    world.replies[&request] == [Ok(())]
}

use State::{Ready, Stopped};

#[test]
fn a_stop_takes_what_needs_the_service_down_first() {
    let mut world = shop();
    world.command(1, Command::Stop, &["redis"]);
    assert!(world.replies[&1].is_empty(), "not before it is done");
    world.run_for(100);
    assert_eq!(states(&world), [Stopped; 3]);
    assert_eq!(world.stop_order(), ["web", "app", "redis"]);
    assert!(done(&world, 1));
}

#[test]
fn a_stop_leaves_what_the_service_needs_alone() {
    let mut world = shop();
    world.command(1, Command::Stop, &["app"]);
    world.run_for(100);
    assert_eq!(states(&world), [Ready, Stopped, Stopped]);
}

#[test]
fn a_start_brings_up_what_the_service_needs_and_nothing_else() {
    let mut world = shop();
    world.command(1, Command::Stop, &[]);
    world.run_for(100);
    world.command(2, Command::Start, &["app"]);
    world.run_for(100);
    assert_eq!(states(&world), [Ready, Ready, Stopped]);
    assert!(done(&world, 2));
}

#[test]
fn a_start_of_what_is_up_is_done_at_once() {
    let mut world = shop();
    world.command(1, Command::Start, &["app", "web", "app"]);
    assert!(done(&world, 1));
    assert_eq!(world.spawns("app").len(), 1);
}

#[test]
fn a_restart_leaves_what_needs_the_service_up() {
    let mut world = shop();
    world.command(1, Command::Restart, &["redis"]);
    assert!(world.replies[&1].is_empty(), "the old process is no answer");
    world.run_for(100);
    assert_eq!(states(&world), [Ready; 3]);
    assert!(done(&world, 1));
    let spawns = ["redis", "app", "web"].map(|name| world.spawns(name).len());
    assert_eq!(spawns, [2, 1, 1]);
}

#[test]
fn a_restart_of_several_goes_down_and_up_in_order() {
    let mut world = shop();
    world.command(1, Command::Restart, &[]);
    world.run_for(100);
    assert_eq!(world.stop_order(), ["web", "app", "redis"]);
    let spawns = ["redis", "app", "web"].map(|name| world.spawns(name)[1]);
    assert!(spawns.is_sorted() && done(&world, 1), "{spawns:?}");
}

#[test]
fn a_restart_of_what_is_down_starts_it() {
    let mut world = shop();
    world.command(1, Command::Stop, &["redis"]);
    world.run_for(100);
    world.command(2, Command::Restart, &["app"]);
    world.run_for(100);
    assert_eq!(states(&world), [Ready, Ready, Stopped]);
    assert!(done(&world, 2));
}

#[test]
fn a_start_leaves_what_the_service_needs_in_its_backoff() {
    let mut world = shop();
    world.command(1, Command::Stop, &["web"]);
    world.run_for(100);
    world.kill("redis", Signal::KILL);
    world.run_for(10);
    world.command(2, Command::Start, &["web"]);
    world.run_for(10);
    assert_eq!(states(&world), [State::Backoff, Ready, Ready]);
}

#[test]
fn what_ends_before_its_turn_to_stop_has_not_failed() {
    let mut world = shop();
    world.command(1, Command::Stop, &["redis"]);
    world.kill("redis", Signal::KILL);
    world.run_for(100);
    assert_eq!(states(&world), [Stopped; 3]);
    let failed = is_note(|note| {
        matches!(
            note,
            Note::Exited {
                expected: false,
                ..
            }
        )
    });
    assert_eq!(world.times(failed), [0_u64; 0]);
}

#[test]
fn the_name_of_a_service_with_instances_means_them_and_nobody_elses() {
    let mut set = manifest(&[("web", &[]), ("worker", &[])]);
    for service in set.services.iter_mut().map(Arc::make_mut) {
        service.instances = Some(2);
    }
    let world = boot(&set.expanded(), &[]);
    let named = |name: &str| {
        let name = name.parse().expect("a name");
        world.supervisor.named(&[name])
    };
    let both = vec![world.id("web@1"), world.id("web@2")];
    assert_eq!(named("web"), Ok(both));
    assert_eq!(named("worker@2"), Ok(vec![world.id("worker@2")]));
}

#[test]
fn a_service_that_waits_says_for_whom() {
    let mut set = manifest(&[("db", &[]), ("cache", &[]), ("web", &["db", "cache"])]);
    Arc::make_mut(&mut set.services[0]).health = Some(health());
    let slow = Program {
        healthy: (1500, u64::MAX),
        ..Program::default()
    };
    let mut world = boot(&set, &[("db", slow)]);
    world.run_until(1000);
    let waits_for = |world: &World| -> Vec<String> {
        let names = world.status("web").waits_for;
        names.iter().map(ToString::to_string).collect()
    };
    assert_eq!(waits_for(&world), ["db"]);
    world.run_until(10_000);
    world.kill("db", Signal::KILL);
    world.run_for(10);
    assert_eq!(world.state("web"), Ready);
    assert_eq!(waits_for(&world), [] as [String; 0], "it does not wait");
}

/// One service that ends well at 11 and stays down, beside another.
fn ends_once(kind: Kind) -> World {
    let mut set = manifest(&[("once", &[]), ("app", &[])]);
    let once = Arc::make_mut(&mut set.services[0]);
    (once.kind, once.restart, once.essential) = (kind, Restart::Never, false);
    boot(&set, &[("once", ends(10, 0))])
}

#[test]
fn a_start_runs_a_daemon_again_that_has_ended_well_and_not_a_oneshot() {
    for (kind, runs) in [(Kind::Oneshot, 1), (Kind::Daemon, 2)] {
        let mut world = ends_once(kind);
        world.run_until(12);
        assert_eq!(world.state("once"), State::Stopping, "it is being cleared");
        world.command(1, Command::Start, &["once"]);
        world.run_for(5);
        assert_eq!(world.spawns("once").len(), runs, "{kind:?}, being cleared");
        let mut world = ends_once(kind);
        world.run_until(100);
        assert_eq!(world.state("once"), State::Exited);
        world.command(1, Command::Start, &["once"]);
        world.run_for(5);
        assert_eq!(world.spawns("once").len(), runs, "{kind:?}, long gone");
    }
}

#[test]
fn a_start_of_what_ends_before_it_is_ready_has_failed() {
    let mut set = manifest(&[("app", &[]), ("other", &[])]);
    let app = Arc::make_mut(&mut set.services[0]);
    (app.restart, app.essential) = (Restart::Never, false);
    app.health = Some(health());
    let program = Program {
        healthy: (u64::MAX, u64::MAX),
        ..ends(500, 0)
    };
    let mut world = boot(&set, &[("app", program)]);
    world.run_until(1000);
    world.command(1, Command::Start, &["app"]);
    world.run_for(1000);
    assert_eq!(refused(&world, 1).message, "`app` ended (exit 0)");
}

#[test]
fn restarts_are_what_came_after_the_first_start() {
    let mut world = shop();
    assert_eq!(world.status("app").restarts, 0);
    for request in 1..=2 {
        world.command(request, Command::Restart, &["app"]);
        world.run_for(100);
    }
    assert_eq!(world.status("app").restarts, 2);
}

#[test]
fn a_start_does_not_wait_for_the_backoff() {
    let mut world = shop();
    world.kill("web", Signal::KILL);
    world.run_for(10);
    assert_eq!(world.state("web"), State::Backoff);
    world.command(1, Command::Start, &["web"]);
    world.run_for(10);
    assert!(done(&world, 1));
}

#[test]
fn a_start_of_a_given_up_service_tries_again_and_says_when_it_fails_again() {
    let mut manifest = manifest(&[("extra", &[]), ("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).essential = false;
    let mut world = boot(&manifest, &[("extra", ends(5, 3))]);
    world.run_until(100_000);
    assert_eq!(world.state("extra"), State::Fatal);
    world.command(1, Command::Start, &["extra"]);
    world.run_for(100_000);
    // It is ready for a moment, since it has no health check.
    assert!(done(&world, 1));
    *world.program("extra") = Program {
        spawn_fails: Some(127),
        ..Program::default()
    };
    world.command(2, Command::Start, &["extra"]);
    world.run_for(100_000);
    let Refusal { kind, message } = refused(&world, 2);
    assert_eq!(kind, ErrorKind::Failed);
    assert_eq!(
        message,
        "`extra` was given up (exit 127): cannot execute it: no such file"
    );
}

#[test]
fn a_done_oneshot_is_up_and_only_a_restart_runs_it_again() {
    let mut manifest = manifest(&[("migrate", &[]), ("app", &["migrate"])]);
    let service = Arc::make_mut(&mut manifest.services[0]);
    (service.kind, service.restart) = (Kind::Oneshot, Restart::OnFailure);
    let mut world = boot(&manifest, &[("migrate", ends(50, 0))]);
    world.run_until(1000);
    world.command(1, Command::Start, &["migrate"]);
    assert!(done(&world, 1));
    world.command(2, Command::Restart, &["migrate"]);
    world.run_for(10);
    assert!(world.replies[&2].is_empty());
    world.run_for(100);
    assert!(done(&world, 2));
    assert_eq!(
        (world.spawns("migrate").len(), world.spawns("app").len()),
        (2, 1)
    );
}

#[test]
fn whoever_waits_for_what_can_never_come_is_told_so() {
    let mut manifest = manifest(&[("base", &[]), ("middle", &["base"]), ("top", &["middle"])]);
    for service in manifest.services_mut() {
        service.essential = false;
    }
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    let never = Program {
        healthy: (u64::MAX, u64::MAX),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("base", never)]);
    world.command(1, Command::Start, &["top"]);
    world.run_until(600_000);
    assert_eq!(
        refused(&world, 1).message,
        "`top` waits for `base`, which has ended"
    );
}

#[test]
fn whoever_waits_for_something_else_goes_on_waiting() {
    let mut manifest = manifest(&[("quick", &[]), ("slow", &[]), ("top", &["quick", "slow"])]);
    Arc::make_mut(&mut manifest.services[0]).restart = Restart::Never;
    Arc::make_mut(&mut manifest.services[0]).essential = false;
    Arc::make_mut(&mut manifest.services[1]).health = Some(health());
    Arc::make_mut(&mut manifest.services[2]).depends_on[0].condition =
        holdall_protocol::manifest::Condition::Started;
    let slow = Program {
        healthy: (3000, u64::MAX),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("quick", ends(1000, 0)), ("slow", slow)]);
    world.command(1, Command::Start, &["top"]);
    world.run_until(2000);
    assert_eq!(
        world.state("quick"),
        State::Exited,
        "it was started, which is enough"
    );
    assert!(world.replies[&1].is_empty());
    world.run_until(6000);
    assert!(done(&world, 1));
}

#[test]
fn an_unknown_name_changes_nothing_and_is_answered_with_the_closest() {
    let mut world = shop();
    world.command(1, Command::Stop, &["web", "redsi"]);
    let Refusal { kind, message } = refused(&world, 1);
    assert_eq!(kind, ErrorKind::UnknownService);
    assert_eq!(
        message,
        "no service is named `redsi`: did you mean `redis`?"
    );
    assert_eq!(states(&world), [Ready; 3]);
}

#[test]
fn everyone_is_refused_while_the_box_stops() {
    let mut world = shop();
    *world.program("web") = deaf();
    world.command(1, Command::Restart, &["web"]);
    world.tell(Event::Shutdown);
    assert_eq!(refused(&world, 1).kind, ErrorKind::ShuttingDown);
    for (request, command) in [
        (2, Command::Start),
        (3, Command::Stop),
        (4, Command::Restart),
    ] {
        world.command(request, command, &[]);
        assert_eq!(refused(&world, request).kind, ErrorKind::ShuttingDown);
    }
}

#[test]
fn a_stop_that_was_asked_before_the_shutdown_is_answered_when_it_is_done() {
    let mut world = shop();
    *world.program("web") = Program {
        obeys: Some(300),
        ..Program::default()
    };
    world.command(1, Command::Stop, &["web"]);
    world.tell(Event::Shutdown);
    world.run_for(1000);
    assert!(done(&world, 1) && world.exit.is_some());
}

#[test]
fn a_stop_overtakes_a_start() {
    let mut world = shop();
    *world.program("web") = Program {
        obeys: Some(300),
        ..Program::default()
    };
    world.command(1, Command::Restart, &["web"]);
    world.run_for(100);
    world.command(2, Command::Stop, &["web"]);
    assert_eq!(refused(&world, 1).message, "`web` was stopped meanwhile");
    world.run_for(1000);
    assert!(done(&world, 2));
    assert_eq!(world.state("web"), Stopped);
}

#[test]
fn a_start_during_a_stop_lets_the_old_process_end_and_starts_a_new_one() {
    let mut world = shop();
    *world.program("web") = Program {
        obeys: Some(300),
        ..Program::default()
    };
    world.command(1, Command::Stop, &["web"]);
    world.run_for(100);
    world.command(2, Command::Start, &["web"]);
    world.run_for(1000);
    assert!(done(&world, 1), "no process of it was left, for a moment");
    assert!(done(&world, 2));
    assert_eq!(world.spawns("web").len(), 2);
}

#[test]
fn a_start_before_a_stop_has_come_to_the_service_keeps_it() {
    let mut world = shop();
    *world.program("web") = Program {
        obeys: Some(300),
        ..Program::default()
    };
    world.command(1, Command::Stop, &["redis"]);
    world.run_for(100);
    world.command(2, Command::Start, &["redis"]);
    assert_eq!(
        refused(&world, 1).message,
        "`redis` was started again before it stopped"
    );
    assert!(done(&world, 2));
    world.run_for(1000);
    assert_eq!(states(&world), [Ready, Stopped, Stopped]);
}

#[test]
fn an_abandoned_request_is_carried_out_and_not_answered() {
    let mut world = shop();
    world.command(1, Command::Stop, &["web"]);
    world.tell(Event::Abandoned { request: 1 });
    world.run_for(100);
    assert!(world.replies[&1].is_empty());
    assert_eq!(world.state("web"), Stopped);
}

#[test]
fn many_clients_may_ask_the_same() {
    let mut world = shop();
    for request in 0..200 {
        world.command(request, Command::Restart, &["app"]);
    }
    world.run_for(100);
    assert!((0..200).all(|request| done(&world, request)));
    assert_eq!(world.spawns("app").len(), 2, "it was on its way already");
}

#[test]
fn a_reload_tells_those_that_can_be_told_and_restarts_the_others() {
    let mut set = manifest(&[("nginx", &[]), ("app", &[])]);
    Arc::make_mut(&mut set.services[0]).reload = Some(holdall_protocol::manifest::Reload::Signal(
        holdall_protocol::Signal::HUP,
    ));
    let mut world = boot(&set, &[]);
    world.run_until(1000);
    world.command(1, Command::Reload, &["nginx", "app"]);
    world.run_until(2000);
    assert_eq!(world.replies[&1], [Ok(())]);
    assert_eq!(
        (world.spawns("nginx").len(), world.spawns("app").len()),
        (1, 2)
    );
    world.program("nginx").commands_fail = true;
    world.command(2, Command::Reload, &["nginx"]);
    world.run_until(3000);
    let refusal = world.replies[&2][0]
        .as_ref()
        .expect_err("its command fails");
    assert_eq!(refusal.message, "cannot reload `nginx`: exit 1");
    world.command(3, Command::Stop, &["app"]);
    world.run_until(4000);
    world.command(4, Command::Reload, &["app"]);
    let refusal = world.replies[&4][0].as_ref().expect_err("it is down");
    assert_eq!(
        refusal.message,
        "`app` does not run, and nothing was reloaded"
    );
}

#[test]
fn whoever_waits_for_a_reload_of_what_ends_meanwhile_is_told_so() {
    let mut set = manifest(&[("nginx", &[])]);
    Arc::make_mut(&mut set.services[0]).reload =
        Some(holdall_protocol::manifest::Reload::Signal(Signal::HUP));
    let mut world = boot(&set, &[]);
    world.run_until(1000);
    world.command(1, Command::Reload, &["nginx"]);
    let service = world.id("nginx");
    let exit = holdall_protocol::control::Exit::Code(1);
    world.tell(Event::Exited {
        service,
        exit,
        oom_kills: 0,
    });
    assert_eq!(
        refused(&world, 1).message,
        "`nginx` ended before it was told"
    );
}
