//! Boxes that end by themselves.

use std::sync::Arc;

use holdall_protocol::Manifest;
use holdall_protocol::manifest::{Kind, Restart};
use holdall_supervise::Command;

use super::{boot, ends};
use crate::world::manifest;

/// Oneshots in a row.
fn oneshots(essential: bool) -> Manifest {
    let mut manifest = manifest(&[("first", &[]), ("second", &["first"])]);
    for service in manifest.services_mut() {
        (service.kind, service.restart) = (Kind::Oneshot, Restart::Never);
        service.essential = essential;
    }
    manifest
}

#[test]
fn a_box_of_oneshots_ends_with_zero_when_all_are_done() {
    let mut world = boot(
        &oneshots(true),
        &[("first", ends(100, 0)), ("second", ends(100, 0))],
    );
    world.run_until(1000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}

#[test]
fn a_box_of_oneshots_ends_with_the_code_of_the_one_that_failed() {
    for essential in [true, false] {
        let mut world = boot(&oneshots(essential), &[("first", ends(100, 9))]);
        world.run_until(1000);
        assert_eq!(
            world.exit.map(|(_, code)| code),
            Some(9),
            "essential: {essential}"
        );
        assert!(world.spawns("second").is_empty());
    }
}

#[test]
fn a_box_whose_services_a_client_stopped_waits_for_a_start() {
    let mut world = boot(&manifest(&[("app", &[])]), &[]);
    world.run_until(100);
    world.command(1, Command::Stop, &[]);
    world.run_until(1_000_000);
    assert_eq!(world.exit, None);
    world.command(2, Command::Start, &[]);
    world.run_for(100);
    assert_eq!(world.replies[&2], [Ok(())]);
}

#[test]
fn an_essential_daemon_that_ends_well_for_good_ends_the_box() {
    let mut manifest = manifest(&[("job", &[]), ("helper", &[])]);
    Arc::make_mut(&mut manifest.services[0]).restart = Restart::OnFailure;
    let mut world = boot(&manifest, &[("job", ends(100, 0))]);
    world.run_until(1000);
    assert_eq!(world.exit.map(|(_, code)| code), Some(0));
}
