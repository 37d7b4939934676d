//! A large copy, which becomes several layers: what changes and what stays.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdall_builder::Built;
use holdall_image::Digest;
use holdall_image::layer::pack::pack;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::BUILD_IN;
use crate::world::{World, write};

pub(crate) const ALL: &[(&str, fn())] = &[
    ("one_changed_file_makes_one_layer_anew", one_changed),
    (
        "a_build_upon_an_earlier_one_is_the_same_as_one_from_nothing",
        incremental,
    ),
    (
        "a_build_killed_in_the_middle_of_a_copy_leaves_a_store_that_works",
        killed,
    ),
    (
        "a_file_that_changes_while_it_is_copied_fails_the_build",
        torn,
    ),
];

/// How many files there are at first: 20 MB in eight folders.
const FILES: u32 = 64;

/// 300 kB that compress well.
fn content(seed: u32) -> Vec<u8> {
    format!("{seed:010}").into_bytes().repeat(30_000)
}

fn path(file: u32) -> String {
    format!("data/{}/{file}", file % 8)
}

fn large(world: &World) -> PathBuf {
    let toml = "name = \"large\"\n[image]\nfrom = \"scratch\"\n\
        copy = [{ from = \"run.sh\", to = \"/bin/\" }, { from = \"data\", to = \"/srv/data\" }]\n\
        [service.a]\ncommand = \"/bin/run.sh\"\n";
    let files = [("holdall.toml", toml), ("run.sh", "#!/bin/run.sh\n")];
    let dir = world.project("large", &files);
    for file in 0..FILES {
        write(&dir.join(path(file)), &content(file));
    }
    dir
}

/// The inodes of the blobs of an image's layers: another one was written anew.
fn blobs(world: &World, built: &Built) -> Vec<u64> {
    let blobs = world.dirs.store().join("blobs/sha256");
    let ino = |digest: &Digest| blobs.join(digest.hex()).metadata().unwrap().ino();
    let layers = &built.image.manifest.layers;
    layers.iter().map(|layer| ino(&layer.digest)).collect()
}

fn one_changed() {
    let world = World::new();
    let dir = large(&world);
    let first = world.build(&dir).built();
    let before = blobs(&world, &first);
    // run.sh, the data in four, the init, the services.
    assert_eq!(before.len(), 7);
    let filled = first.image.config.history.iter().filter(|h| !h.empty_layer);
    let filled: Vec<_> = filled.filter_map(|h| h.created_by.as_deref()).collect();
    assert_eq!(filled.len(), 7);
    assert_eq!(filled[2], "holdall: copy data to /srv/data (2/4)");

    write(&dir.join(path(9)), b"new");
    let second = world.build(&dir).built();
    let after = blobs(&world, &second);
    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert_eq!((after.len(), changed), (7, 1), "{before:?} {after:?}");
    let tree = world.tree(&second);
    let read = |file: u32| {
        let path = Path::new("/srv").join(path(file));
        tree.read(&path, 1 << 20).unwrap().unwrap()
    };
    assert_eq!(read(9), b"new");
    assert_eq!(read(10), content(10));
}

/// One thing that people do to a folder.
#[derive(Debug, Clone)]
enum Edit {
    Change(u32),
    Append(u32),
    Add(u32),
    Remove(u32),
    Executable(u32),
    Rename(u32, u32),
    Link(u32),
    Folder(u32),
    RemoveFolder(u32),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let file = || 0..FILES;
    let edit = prop_oneof![
        file().prop_map(Edit::Change),
        file().prop_map(Edit::Append),
        file().prop_map(Edit::Add),
        file().prop_map(Edit::Remove),
        file().prop_map(Edit::Executable),
        (file(), file()).prop_map(|(from, to)| Edit::Rename(from, to)),
        file().prop_map(Edit::Link),
        (0..8_u32).prop_map(Edit::Folder),
        (0..8_u32).prop_map(Edit::RemoveFolder),
    ];
    prop::collection::vec(edit, 1..5)
}

/// Edits what is there; an edit of something that an earlier one took away
/// does nothing.
fn apply(dir: &Path, edit: &Edit) {
    let at = |file: &u32| dir.join(path(*file));
    let is_file = |file: &u32| {
        at(file)
            .symlink_metadata()
            .is_ok_and(|found| found.is_file())
    };
    match edit {
        Edit::Change(file) if is_file(file) => write(&at(file), &content(file + 1000)),
        Edit::Append(file) if is_file(file) => {
            let mut bytes = std::fs::read(at(file)).unwrap();
            bytes.extend(b"one line more\n");
            write(&at(file), &bytes);
        }
        Edit::Add(file) => write(&dir.join(format!("data/{}/new/{file}", file % 8)), b"added"),
        Edit::Remove(file) if is_file(file) => std::fs::remove_file(at(file)).unwrap(),
        Edit::Executable(file) if is_file(file) => {
            std::fs::set_permissions(at(file), PermissionsExt::from_mode(0o755)).unwrap();
        }
        Edit::Rename(from, to) if is_file(from) && is_file(to) => {
            std::fs::rename(at(from), at(to)).unwrap();
        }
        Edit::Link(file) if is_file(file) => {
            std::fs::remove_file(at(file)).unwrap();
            std::os::unix::fs::symlink("../elsewhere", at(file)).unwrap();
        }
        Edit::Folder(number) => {
            std::fs::create_dir_all(dir.join(format!("data/{number}/empty"))).unwrap();
        }
        Edit::RemoveFolder(number) => {
            let folder = dir.join(format!("data/{number}"));
            if folder.exists() {
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
        Edit::Change(_)
        | Edit::Append(_)
        | Edit::Remove(_)
        | Edit::Executable(_)
        | Edit::Rename(..)
        | Edit::Link(_) => {}
    }
}

fn incremental() {
    let world = World::new();
    let dir = large(&world);
    let _first = world.build(&dir).built();
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        // Each builds 20 MB from nothing.
        max_shrink_iters: 8,
        ..Config::with_cases(12)
    });
    let tested = runner.run(&edits(), |edits| {
        for edit in &edits {
            apply(&dir, edit);
        }
        let upon = world.build(&dir).built();
        let other = World::new();
        let cold = other.build(&dir).built();
        prop_assert_eq!(upon.image.digest, cold.image.digest);
        let folders = world.store.unpacked_layers(&upon.image).unwrap();
        for (folder, diff_id) in folders.iter().zip(&cold.image.config.rootfs.diff_ids) {
            let mut tar = Vec::new();
            let opened = std::fs::File::open(folder).unwrap();
            pack(opened.as_fd(), i64::MAX, &mut tar).unwrap();
            prop_assert_eq!(Digest::of(&tar), *diff_id);
        }
        Ok(())
    });
    tested.unwrap();
}

/// The folders of layers that builds write, or wrote when they were killed.
fn written(world: &World) -> BTreeSet<PathBuf> {
    let inside = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let layer = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with("layer-")
    };
    let builds = inside(&world.dirs.cache());
    builds
        .iter()
        .flat_map(|dir| inside(dir))
        .filter(layer)
        .collect()
}

fn killed() {
    let world = World::new();
    let dir = large(&world);
    let _first = world.build(&dir).built();
    let (mut round, mut struck) = (0_u32, 0);
    while struck < 4 {
        round += 1;
        assert!(round < 100, "{struck} of {round} kills came before the end");
        // All of the data is other data.
        for file in 0..FILES {
            write(&dir.join(path(file)), &content(file + 100 * round));
        }
        let before = written(&world);
        let mut build = Command::new("/proc/self/exe")
            .args([
                BUILD_IN,
                &world.dirs.data().display().to_string(),
                &dir.display().to_string(),
            ])
            .spawn()
            .unwrap();
        while written(&world).is_subset(&before) && build.try_wait().unwrap().is_none() {}
        for spin in 0..struck * 1_000_000 {
            std::hint::black_box(spin);
        }
        build.kill().unwrap();
        // On a busy machine it may have come to its end before.
        let ended = build.wait().unwrap();
        struck += u32::from(ended.signal() == Some(9));
        assert!(ended.success() || ended.signal() == Some(9), "{ended}");
    }
    let after = world.build(&dir).built();
    let cold = World::new();
    assert_eq!(after.image.digest, cold.build(&dir).built().image.digest);
    for (layer, diff_id) in after.image.layers() {
        world.store.open_blob(layer).unwrap().drain().unwrap();
        assert!(world.store.is_unpacked(diff_id).unwrap());
    }
    assert_eq!(written(&world), BTreeSet::new());
}

fn torn() {
    let world = World::new();
    let dir = large(&world);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let outcome = world.build_until(&dir, &stop, &mut |event| {
        // After the files were read, and before they are copied.
        if matches!(event, holdall_builder::Progress::Step { index: 3, .. }) {
            write(&dir.join(path(9)), b"torn");
        }
    });
    let error = outcome.error().to_string();
    assert_eq!(error, "data/1/9 changed while it was built from");
    world.assert_nothing_left();
    let _built = world.build(&dir).built();
}
