//! What was unpacked for a box reaches the disk when nobody waits for it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use holdall_runtime::boxes::Record;

use crate::tests;
use crate::world::{World, eventually};

tests![
    layers_are_synced_while_their_box_runs,
    layers_are_synced_when_their_box_is_over,
    layers_that_are_new_are_not_synced,
];

/// The marks of layers that may be in memory alone.
fn marks(world: &World) -> Vec<PathBuf> {
    let names = fs::read_dir(world.dirs.layers()).expect("the layers");
    let paths = names.map(|entry| entry.expect("an entry").path());
    let marked = |path: &PathBuf| path.to_string_lossy().contains("/.unsynced-");
    paths.filter(marked).collect()
}

/// A box whose layers were unpacked, as if an hour ago.
fn aged(world: &World, script: &str) -> Record {
    let record = world.create(world.script(script));
    let image = world.store.image(&record.image).expect("its image");
    world.store.unpacked_layers(&image).expect("unpacked");
    assert_eq!(marks(world).len(), 1);
    for mark in marks(world) {
        let file = File::options().write(true).open(mark).expect("a mark");
        let written = file.metadata().and_then(|found| found.modified());
        let hour_ago = written.expect("a time") - Duration::from_secs(3600);
        file.set_modified(hour_ago).expect("older");
    }
    record
}

fn layers_are_synced_while_their_box_runs() {
    let world = World::new();
    let record = aged(&world, "sleep 1000");
    drop(world.start(&record.id));
    eventually("the sync", || marks(&world).is_empty());
    assert!(world.state(&record.id).is_running());
}

fn layers_are_synced_when_their_box_is_over() {
    let world = World::new();
    let record = aged(&world, "true");
    assert_eq!(world.start(&record.id).wait().expect("ended"), 0);
    eventually("the sync", || marks(&world).is_empty());
}

fn layers_that_are_new_are_not_synced() {
    let world = World::new();
    let record = world.create(world.script("true"));
    assert_eq!(world.start(&record.id).wait().expect("ended"), 0);
    eventually("its minders to end", || {
        let minders = |role| world.minders(role, &record.id);
        minders("holdall-monitor").is_empty() && minders("holdall-keeper").is_empty()
    });
    assert_eq!(marks(&world).len(), 1);
}
