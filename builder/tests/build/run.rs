//! Commands of `run`.

use std::path::{Path, PathBuf};

use crate::world::{World, edit};

pub(crate) const ALL: &[(&str, fn())] = &[
    (
        "a_command_makes_a_layer_of_what_it_changed_and_nothing_else",
        layer,
    ),
    ("a_command_that_changes_nothing_makes_no_layer", empty),
    (
        "a_command_sees_the_images_environment_and_the_epoch",
        environment,
    ),
    (
        "what_a_command_deletes_is_gone_above_and_not_below",
        deletes,
    ),
    (
        "a_failing_command_shows_its_last_lines_and_leaves_nothing",
        failing,
    ),
    ("steps_before_a_failing_one_stay_in_the_cache", resumed),
];

fn layer() {
    let world = World::new();
    let dir = world.busybox("shop", "run = [\"echo hello > /srv; chmod 0600 /srv\"]");
    let built = world.build(&dir).built();
    assert_eq!(world.layer(&built, 1), [PathBuf::from("/srv")]);
    let tree = world.tree(&built);
    let entry = tree.lookup(Path::new("/srv")).unwrap().unwrap();
    assert_eq!(entry.metadata.mode, 0o600);
    assert_eq!(
        entry.metadata.mtime, 315_532_800,
        "times are at most the epoch"
    );
    assert_eq!(world.build(&dir).built().ran, 0);
}

fn empty() {
    let world = World::new();
    let dir = world.busybox(
        "shop",
        "run = [\"cat /etc/resolv.conf /etc/hosts /proc/self/status > /dev/null\"]",
    );
    let built = world.build(&dir).built();
    // The root, the init and the services: no stub of a mount is left.
    assert_eq!(built.image.manifest.layers.len(), 3);
    assert_eq!(
        built
            .image
            .config
            .history
            .iter()
            .filter(|step| step.empty_layer)
            .count(),
        2
    );
}

fn environment() {
    let world = World::new();
    let dir = world.busybox("shop", "env = { COLOUR = \"blue\" }\nrun = [\"env; id\"]");
    let outcome = world.build(&dir);
    let output = outcome.output.join("\n");
    let _built = outcome.built();
    assert!(output.contains("COLOUR=blue"), "{output}");
    assert!(output.contains("SOURCE_DATE_EPOCH=315532800"), "{output}");
    assert!(output.contains("uid=0(root)"), "{output}");
}

fn deletes() {
    let world = World::new();
    let dir = world.busybox(
        "shop",
        "run = [\"rm /etc/group\", \"mkdir /etc/group && echo x > /etc/group/x\"]",
    );
    let built = world.build(&dir).built();
    let tree = world.tree(&built);
    assert_eq!(
        tree.read(Path::new("/etc/group/x"), 9).unwrap().unwrap(),
        b"x\n"
    );
    let first = world.store.unpacked_layers(&built.image).unwrap().remove(0);
    assert!(first.join("etc/group").is_file());
}

fn failing() {
    let world = World::new();
    let dir = world.busybox(
        "shop",
        "run = [\"echo before; echo about to fail >&2; exit 3\"]",
    );
    let error = world.build(&dir).error().to_string();
    assert_eq!(
        error,
        "step run echo before; echo about to fail >&2; exit 3 failed: exit code 3\n  before\n  about to fail"
    );
    world.assert_nothing_left();
}

fn resumed() {
    let world = World::new();
    let dir = world.busybox("shop", "run = [\"echo one > /one\", \"false-start\"]");
    let _error = world.build(&dir).error();
    edit(&dir, "false-start", "echo two > /two");
    let built = world.build(&dir).built();
    assert_eq!(
        (built.ran, built.cached),
        (4, 3),
        "scratch, copy and the first command stay"
    );
}
