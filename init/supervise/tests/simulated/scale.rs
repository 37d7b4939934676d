//! Many services.

use std::sync::Arc;

use holdall_protocol::Manifest;
use holdall_protocol::control::State;
use holdall_protocol::manifest::{Condition, Dependency};
use holdall_supervise::{Event, Options};

use crate::world::{Program, World, manifest};

const OPTIONS: Options = Options {
    foreground: false,
    after_ready: false,
    seed: 1,
};

/// Boots and stops it, and looks that all were up between.
fn boots_and_stops(manifest: &Manifest) {
    let count = manifest.services.len();
    let mut world = World::new(manifest, vec![Program::default(); count + 1], OPTIONS);
    world.tell(Event::Boot);
    world.run_for(20_000);
    let status = world
        .supervisor
        .status(holdall_supervise::Timestamp(world.now));
    assert!(status.ready && status.services.iter().all(|s| s.state == State::Ready));
    world.tell(Event::Shutdown);
    world.run_for(60_000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s{n}")).collect()
}

#[test]
fn a_thousand_services_that_need_nothing_boot_at_once() {
    let names = names(1000);
    let services: Vec<(&str, &[&str])> = names.iter().map(|n| (n.as_str(), &[][..])).collect();
    boots_and_stops(&manifest(&services));
}

#[test]
fn a_chain_of_a_thousand_boots_link_by_link() {
    let names = names(1000);
    let services: Vec<(&str, &[&str])> = names.iter().map(|n| (n.as_str(), &[][..])).collect();
    let mut manifest = manifest(&services);
    for at in 1..1000 {
        let service = names[at - 1].parse().expect("a name");
        let before = Dependency {
            service,
            condition: Condition::Ready,
        };
        Arc::make_mut(&mut manifest.services[at]).depends_on = vec![before];
    }
    boots_and_stops(&manifest);
}

/// Each of 700 needs all before it: 244,650 dependencies.
#[test]
fn dense_dependencies_cost_no_more_than_their_number() {
    let names = names(700);
    let services: Vec<(&str, &[&str])> = names.iter().map(|n| (n.as_str(), &[][..])).collect();
    let mut manifest = manifest(&services);
    for at in 0..700 {
        let before = |name: &String| Dependency {
            service: name.parse().expect("a name"),
            condition: Condition::Ready,
        };
        Arc::make_mut(&mut manifest.services[at]).depends_on =
            names[..at].iter().map(before).collect();
    }
    let count = manifest.services.len();
    let mut supervisor = holdall_supervise::Supervisor::new(&manifest, OPTIONS);
    let now = holdall_supervise::Timestamp(0);
    supervisor.handle(now, Event::Boot);
    let mut spawned = 0;
    while let Some(action) = supervisor.poll_action() {
        if let holdall_supervise::Action::Spawn { service } = action {
            spawned += 1;
            supervisor.handle(now, Event::Spawned { service, pid: 1 });
        }
    }
    assert_eq!(spawned, count);
}
