//! What those who follow the states of services are told.

use std::sync::Arc;

use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{
    InitSettings, Kind, LISTENER, ListenAddress, Listener, OnUnhealthy, Restart,
};
use holdall_protocol::{Manifest, Signal};
use holdall_supervise::{Action, Command, Event, Notice, Timestamp};

use super::{boot, ends};
use crate::world::{Program, World, health, manifest};

/// Lines for the changes of one service so far.
fn told(world: &World, name: &str) -> Vec<String> {
    let lines = world.said.iter().filter_map(|(_, action)| {
        let Action::Tell(changed) = action else {
            return None;
        };
        let service = world.supervisor.service(changed.service)?;
        let exit = changed.exit.map(|exit| format!(" ({exit})"));
        let line = format!(
            "{} → {}: {}{}",
            changed.from.word(),
            changed.to.word(),
            changed.reason.as_deref().unwrap_or("-"),
            exit.unwrap_or_default()
        );
        (service.name.as_str() == name).then_some(line)
    });
    lines.collect()
}

#[test]
fn a_life_with_a_crash_is_told_from_its_beginning_to_its_end() {
    let mut manifest = manifest(&[("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).restart = Restart::OnFailure;
    let mut world = boot(&manifest, &[("app", ends(100, 3))]);
    world.run_until(110);
    let lines = told(&world, "app");
    assert_eq!(
        lines[..4],
        [
            "stopped → waiting: asked for",
            "waiting → starting: -",
            "starting → ready: -",
            "ready → stopping: its main process ended (exit 3)",
        ]
    );
    let backoff = "stopping → backoff: failure 1, next start in ";
    assert!(
        lines[4].starts_with(backoff) && lines[4].ends_with("(exit 3)"),
        "{lines:?}"
    );
    world.tell(Event::Shutdown);
    world.run_for(1000);
    assert_eq!(told(&world, "app")[5..], ["backoff → stopped: -"]);
}

#[test]
fn what_the_kernel_killed_for_want_of_memory_is_told_with_that_end_and_counted() {
    let mut world = boot(&manifest(&[("app", &[])]), &[]);
    world.run_until(100);
    let service = world.id("app");
    let mut supervisor = world.supervisor.clone();
    let exited = |exit, oom_kills| Event::Exited {
        service,
        exit,
        oom_kills,
    };
    let killed = Exit::Signal(Signal::KILL);
    supervisor.handle(Timestamp(200), exited(killed, 2));
    supervisor.handle(Timestamp(201), Event::Cleared { service });
    let told: Vec<_> = std::iter::from_fn(|| supervisor.poll_action())
        .filter_map(|action| match action {
            Action::Tell(changed) => Some((changed.exit, changed.out_of_memory)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(Some(killed), true); 2]);
    let status = supervisor.status(Timestamp(201)).services.remove(0);
    assert_eq!((status.out_of_memory, status.counts.oom_kills), (true, 2));
    // The next end is another, and the count goes on.
    supervisor.handle_timeout(Timestamp(5000));
    supervisor.handle(Timestamp(5000), Event::Spawned { service, pid: 9 });
    for (now, event) in [
        (5001, exited(Exit::Code(1), 0)),
        (5002, Event::Cleared { service }),
    ] {
        supervisor.handle(Timestamp(now), event);
    }
    let status = supervisor.status(Timestamp(5002)).services.remove(0);
    assert_eq!(status.last_exit, Some(Exit::Code(1)));
    assert_eq!((status.out_of_memory, status.counts.oom_kills), (false, 2));
}

#[test]
fn a_bad_probe_is_told_with_its_words_and_a_request_as_one() {
    let mut manifest = manifest(&[("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    Arc::make_mut(&mut manifest.services[0]).on_unhealthy = OnUnhealthy::Restart;
    let sick = Program {
        healthy: (0, 2000),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("app", sick)]);
    world.run_until(20_000);
    let lines = told(&world, "app");
    let unhealthy = lines
        .iter()
        .find(|line| line.starts_with("ready → stopping: unhealthy: "));
    assert!(unhealthy.is_some(), "{lines:?}");
    world.command(1, Command::Restart, &["app"]);
    world.run_for(1);
    let lines = told(&world, "app");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("started anew") || line.contains("asked for"))
    );
}

#[test]
fn why_a_service_starts_and_stops_is_told() {
    let mut set = manifest(&[("app", &[]), ("job", &[])]);
    let job = Arc::make_mut(&mut set.services[1]);
    (job.kind, job.restart) = (Kind::Job, Restart::Never);
    job.schedule = Some("@every 10s".parse().expect("a schedule"));
    let mut world = boot(&set, &[("job", ends(10, 0))]);
    world.run_until(10_500);
    assert_eq!(
        told(&world, "job")[1],
        "scheduled → waiting: its time has come"
    );
    world.kill("app", Signal::KILL);
    world.run_until(12_000);
    world.command(1, Command::Restart, &["app"]);
    world.run_for(100);
    world.command(2, Command::Stop, &["app"]);
    world.run_for(100);
    let lines = told(&world, "app");
    for line in [
        "backoff → waiting: its wait is over",
        "ready → stopping: it is started anew",
        "stopping → waiting: it is started anew (exit 0)",
        "ready → stopping: asked to stop",
    ] {
        let times = lines.iter().filter(|told| *told == line).count();
        assert_eq!(times, 1, "{line} in {lines:?}");
    }
}

#[test]
fn that_a_service_is_healthy_again_is_told() {
    let mut manifest = manifest(&[("app", &[])]);
    Arc::make_mut(&mut manifest.services[0]).health = Some(health());
    Arc::make_mut(&mut manifest.services[0]).on_unhealthy = OnUnhealthy::Ignore;
    let program = Program {
        healthy: (0, 2000),
        ..Program::default()
    };
    let mut world = boot(&manifest, &[("app", program)]);
    world.run_until(10_000);
    world.program("app").healthy = (0, u64::MAX);
    world.run_until(12_000);
    assert_eq!(
        told(&world, "app").last().map(String::as_str),
        Some("unhealthy → ready: it is healthy again")
    );
}

#[test]
fn one_that_ends_by_itself_is_told_apart_from_one_that_is_stuck() {
    for (notice, reason) in [
        (Notice::Stopping, "it says that it ends"),
        (
            Notice::Stuck,
            "unhealthy: says that it is stuck (WATCHDOG=trigger)",
        ),
    ] {
        let mut manifest = manifest(&[("app", &[])]);
        Arc::make_mut(&mut manifest.services[0]).on_unhealthy = OnUnhealthy::Restart;
        let program = Program {
            says: vec![(50, Notice::Status("warm".to_owned())), (100, notice)],
            ..Program::default()
        };
        let mut world = boot(&manifest, &[("app", program)]);
        world.run_until(102);
        assert_eq!(
            told(&world, "app").last(),
            Some(&format!("ready → stopping: {reason}"))
        );
        assert_eq!(world.status("app").status.as_deref(), Some("warm"));
        world.command(1, Command::Stop, &["app"]);
        world.run_for(60_000);
        assert_eq!(world.status("app").status, None, "nobody is left to say it");
    }
}

#[test]
fn what_can_not_be_started_is_told_with_its_reason() {
    let broken = Program {
        spawn_fails: Some(127),
        ..Program::default()
    };
    let mut world = boot(&manifest(&[("app", &[])]), &[("app", broken)]);
    world.run_until(10);
    let lines = told(&world, "app");
    assert!(lines[2].starts_with("starting → backoff: "), "{lines:?}");
    assert!(lines[2].ends_with("(exit 127)"), "{lines:?}");
}

/// Services, and init's own listener beside them.
fn with_listener(mut manifest: Manifest) -> Manifest {
    let settings = InitSettings {
        listener: Some(Listener {
            address: ListenAddress::Port(9100),
            user: None,
        }),
        ..InitSettings::default()
    };
    manifest
        .services
        .extend(settings.listener_service().map(Arc::new));
    manifest
}

#[test]
fn a_box_of_oneshots_ends_although_its_listener_runs() {
    let mut once = manifest(&[("once", &[])]);
    let service = Arc::make_mut(&mut once.services[0]);
    (service.kind, service.restart) = (Kind::Oneshot, Restart::Never);
    let mut world = boot(&with_listener(once), &[("once", ends(100, 0))]);
    world.run_until(5000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}

#[test]
fn a_box_with_a_listener_and_nothing_else_is_ready_and_waits() {
    let mut world = boot(&with_listener(Manifest::default()), &[]);
    world.run_until(100_000);
    assert_eq!(world.exit, None);
    assert!(
        world
            .supervisor
            .status(holdall_supervise::Timestamp(0))
            .ready
    );
}

#[test]
fn to_stop_all_services_leaves_the_listener_alone() {
    let mut world = boot(&with_listener(manifest(&[("app", &[])])), &[]);
    world.run_until(100);
    world.command(1, Command::Stop, &[]);
    world.run_for(1000);
    assert_eq!(world.state("app").word(), "stopped");
    assert_eq!(world.state(LISTENER).word(), "ready");
    world.command(2, Command::Stop, &[LISTENER]);
    world.run_for(1000);
    assert_eq!(world.state(LISTENER).word(), "stopped");
}

#[test]
fn a_listener_that_always_fails_is_never_given_up_and_harms_nobody() {
    let mut world = boot(
        &with_listener(manifest(&[("app", &[])])),
        &[(LISTENER, ends(10, 1))],
    );
    world.run_until(10_000_000);
    assert_eq!(world.exit, None);
    assert!(world.spawns(LISTENER).len() > 50);
    assert_eq!(world.spawns("app").len(), 1);
}
