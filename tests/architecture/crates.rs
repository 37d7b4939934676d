//! Who may use whom, and what each crate says of itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::{Crate, crates, root};

/// Crate → crates of this workspace that it may use.
const MAY_USE: [(&str, &[&str]); 10] = [
    (
        "holdall",
        &[
            "holdall-builder",
            "holdall-runtime",
            "holdall-image",
            "holdall-supervisord",
            "holdall-protocol",
        ],
    ),
    (
        "holdall-builder",
        &["holdall-runtime", "holdall-image", "holdall-protocol"],
    ),
    ("holdall-runtime", &["holdall-image", "holdall-protocol"]),
    ("holdall-image", &[]),
    (
        "holdall-init",
        &[
            "holdall-supervise",
            "holdall-supervisord",
            "holdall-protocol",
        ],
    ),
    ("holdall-supervisord", &["holdall-protocol"]),
    ("holdall-supervise", &["holdall-protocol"]),
    ("holdall-protocol", &[]),
    // It measures the programs as a user has them.
    ("holdall-bench", &[]),
    // It calls every reader of foreign bytes; nobody uses it.
    (
        "holdall-fuzz",
        &[
            "holdall-builder",
            "holdall-runtime",
            "holdall-image",
            "holdall-supervise",
            "holdall-supervisord",
            "holdall-protocol",
        ],
    ),
];

/// Outside crates of those that must stay pure: no I/O, no clock.
const PURE: [(&str, &[&str]); 3] = [
    ("holdall-supervise", &["thiserror"]),
    ("holdall-supervisord", &["thiserror"]),
    (
        "holdall-protocol",
        &["serde", "serde_json", "shell-words", "thiserror", "toml"],
    ),
];

fn by_name(crates: &[Crate]) -> BTreeMap<&str, &Crate> {
    crates.iter().map(|one| (one.name(), one)).collect()
}

fn is_ours(name: &str) -> bool {
    name.starts_with("holdall")
}

#[test]
fn crates_depend_only_downwards() {
    let crates = crates();
    let named: BTreeSet<&str> = by_name(&crates).into_keys().collect();
    let ruled: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, ruled, "the rules name every crate and no other");
    for (name, allowed) in MAY_USE {
        for used in by_name(&crates)[name]
            .dependencies()
            .filter(|used| is_ours(used))
        {
            assert!(allowed.contains(&used), "{name} must not use {used}");
        }
    }
}

#[test]
fn the_pure_crates_use_nothing_that_could_do_io() {
    let crates = crates();
    for (name, allowed) in PURE {
        for used in by_name(&crates)[name]
            .dependencies()
            .filter(|used| !is_ours(used))
        {
            assert!(allowed.contains(&used), "{name} must not use {used}");
        }
    }
}

#[test]
fn every_crate_is_under_the_lints_of_the_workspace() {
    for one in crates() {
        let lints = one.manifest.get("lints");
        let inherited = lints.and_then(|lints| lints.get("workspace"));
        let inherited = inherited.and_then(toml::Value::as_bool);
        assert_eq!(inherited, Some(true), "{}: [lints]", one.name());
    }
}

/// Each crate's root file: what it promises stands in its first comment.
fn roots(one: &Crate) -> impl Iterator<Item = (String, String)> {
    let dir = root().join(&one.dir).join("src");
    ["lib.rs", "main.rs"].into_iter().filter_map(move |name| {
        let path = dir.join(name);
        let text = std::fs::read_to_string(&path).ok()?;
        Some((path.display().to_string(), text))
    })
}

#[test]
fn every_crate_says_what_it_never_does() {
    for one in crates() {
        let roots: Vec<_> = roots(&one).collect();
        assert!(!roots.is_empty(), "{} has no root file", one.name());
        for (path, text) in roots {
            let comment = text.lines().take_while(|line| line.starts_with("//!"));
            let says = comment.flat_map(str::split_whitespace);
            let says = says.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
            assert!(
                says.map(str::to_lowercase)
                    .any(|word| ["never", "no", "nothing"].contains(&word.as_str())),
                "{path}: its first comment does not say what the crate never does"
            );
        }
    }
}

#[test]
fn every_crate_forbids_unsafe_code_or_leaves_it_to_one_module() {
    for one in crates() {
        for (path, text) in roots(&one) {
            let forbids = text.contains("#![forbid(unsafe_code)]");
            assert!(
                forbids || text.contains("#![deny(unsafe_code)]"),
                "{path}: unsafe code is neither forbidden nor denied"
            );
        }
    }
}

#[test]
fn the_map_of_the_architecture_names_what_is_there_and_every_crate() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the page");
    let map = page.split("```").nth(1).expect("the map comes first");
    let mut named = BTreeSet::new();
    let mut parents: Vec<&str> = Vec::new();
    for line in map.lines().filter(|line| !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        // Further in than two levels is text that goes on.
        if indent > 2 {
            continue;
        }
        let name = line.split_whitespace().next().expect("not empty");
        parents.truncate(indent / 2);
        parents.push(name);
        let path = parents.concat();
        assert!(root().join(&path).exists(), "ARCHITECTURE.md names {path}");
        named.insert(path.trim_end_matches('/').to_owned());
    }
    for one in crates().iter().filter(|one| !one.dir.is_empty()) {
        assert!(
            named.contains(&one.dir),
            "ARCHITECTURE.md lacks {}",
            one.dir
        );
    }
}
