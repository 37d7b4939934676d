//! The dependency rules of ARCHITECTURE.md, held by a test.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a missing key fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Crate → crates of this workspace that it may use.
const MAY_USE: [(&str, &[&str]); 7] = [
    (
        "holdall",
        &[
            "holdall-builder",
            "holdall-runtime",
            "holdall-image",
            "holdall-protocol",
        ],
    ),
    (
        "holdall-builder",
        &["holdall-runtime", "holdall-image", "holdall-protocol"],
    ),
    ("holdall-runtime", &["holdall-image", "holdall-protocol"]),
    ("holdall-image", &[]),
    ("holdall-init", &["holdall-supervise", "holdall-protocol"]),
    ("holdall-supervise", &["holdall-protocol"]),
    ("holdall-protocol", &[]),
];

/// Outside crates of the two that must stay pure: no I/O, no clock.
const PURE: [(&str, &[&str]); 2] = [
    ("holdall-supervise", &["thiserror"]),
    (
        "holdall-protocol",
        &["serde", "serde_json", "shell-words", "thiserror", "toml"],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Name → direct dependencies, of every Cargo.toml of the workspace.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let dirs = [
        "",
        "builder",
        "image",
        "init",
        "init/protocol",
        "init/supervise",
        "runtime",
    ];
    let read = |dir: &str| {
        let text = fs::read_to_string(root().join(dir).join("Cargo.toml")).expect("a manifest");
        let table: toml::Table = text.parse().expect("a manifest is TOML");
        let name = table["package"]["name"]
            .as_str()
            .expect("a package has a name")
            .to_owned();
        let dependencies = table["dependencies"]
            .as_table()
            .expect("a table")
            .keys()
            .cloned();
        (name, dependencies.collect())
    };
    dirs.into_iter().map(read).collect()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = ["src", "builder", "image", "init", "runtime", "tests"]
        .map(|dir| root().join(dir))
        .to_vec();
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn crates_depend_only_downwards() {
    let manifests = manifests();
    assert_eq!(
        manifests.len(),
        MAY_USE.len(),
        "a crate is missing from the rules"
    );
    for (name, allowed) in MAY_USE {
        let own = manifests[name]
            .iter()
            .filter(|used| used.starts_with("holdall"));
        for used in own {
            assert!(
                allowed.contains(&used.as_str()),
                "{name} must not use {used}"
            );
        }
    }
}

#[test]
fn the_pure_crates_use_nothing_that_could_do_io() {
    let manifests = manifests();
    for (name, allowed) in PURE {
        for used in manifests[name]
            .iter()
            .filter(|used| !used.starts_with("holdall"))
        {
            assert!(
                allowed.contains(&used.as_str()),
                "{name} must not use {used}"
            );
        }
    }
}

#[test]
fn unsafe_code_stands_only_in_sys() {
    let word = ["unsafe", "{"].join(" ");
    for path in sources() {
        let in_sys = path.file_name().is_some_and(|name| name == "sys.rs")
            || path
                .parent()
                .and_then(Path::file_name)
                .is_some_and(|name| name == "sys");
        let text = fs::read_to_string(&path).expect("a source file");
        assert!(
            in_sys || !text.contains(&word),
            "{} has unsafe code",
            path.display()
        );
    }
}

#[test]
fn no_file_grows_past_two() {
    for path in sources() {
        let lines = fs::read_to_string(&path)
            .expect("a source file")
            .lines()
            .count();
        assert!(
            lines <= 800,
            "{} has {lines} lines: it is two files",
            path.display()
        );
    }
}

#[test]
fn only_the_tests_own_eventually_sleeps() {
    let word = ["thread", "sleep"].join("::");
    for path in sources().into_iter().filter(|path| is_test(path)) {
        let licensed = path.file_name().is_some_and(|name| name == "eventually.rs");
        let text = fs::read_to_string(&path).expect("a source file");
        assert!(
            licensed || !text.contains(&word),
            "{} sleeps",
            path.display()
        );
    }
}
