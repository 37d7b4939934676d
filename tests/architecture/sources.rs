//! What no Rust file of the workspace may hold.

use std::collections::BTreeSet;

use crate::rust::words;
use crate::workspace::{Source, sources};

/// A file of the product with more lines than this is two.
const LINES: usize = 400;

/// And one of the tests or tools.
const LINES_OF_OTHERS: usize = 800;

/// The licensed homes of what clippy.toml bans.
const HOMES: [&str; 13] = [
    // Clocks.
    "bench/src/clock.rs",
    "builder/src/host.rs",
    "init/src/clock.rs",
    "init/tests/behaviour/world.rs",
    "runtime/src/clock.rs",
    // The environment.
    "build.rs",
    "init/build.rs",
    "init/src/environment.rs",
    "runtime/src/oci/seal.rs",
    "src/context.rs",
    "src/env_file.rs",
    "tests/e2e/kills.rs",
    // The one sleep, and the clock that bounds it.
    "tests/e2e/eventually.rs",
];

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 8] = [
    "common", "helper", "helpers", "imp", "manager", "misc", "util", "utils",
];

/// What the small build of the init has only stand-ins for
/// (`init/src/sys/stand_ins.rs`): it compiles, and finds or says nothing there.
/// `sysconf` is not among them: its stand-in knows both answers that are asked.
const STOOD_IN_FOR: [&str; 9] = [
    "available_parallelism",
    "canonicalize",
    "fprintf",
    "fwrite",
    "printf",
    "realpath",
    "strerror",
    "strerror_r",
    "strtoul",
];

/// An attribute that may stand although `expect` is the rule, with its reason.
const ALLOWS: [(&str, &str); 1] = [(
    "image/tests/fixture/mod.rs",
    "compiled into several tests, and dead code in some of them only",
)];

fn stem(path: &str) -> &str {
    path.trim_end_matches(".rs")
}

/// Fails with every offence at once, so that one run shows all the work.
#[track_caller]
fn none(what: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{what}:\n  {}", offences.join("\n  "));
}

#[test]
fn no_file_is_two() {
    let is_long = |source: &Source| {
        let bound = if source.is_product() {
            LINES
        } else {
            LINES_OF_OTHERS
        };
        source.lines() > bound
    };
    let long = sources().into_iter().filter(is_long);
    let offences = long.map(|source| format!("{}: {}", source.path, source.lines()));
    none("too many lines", offences.collect());
}

#[test]
fn a_file_is_named_after_what_is_in_it() {
    let is_empty = |part: &str| EMPTY_NAMES.contains(&stem(part));
    let sources = sources().into_iter();
    let offences = sources.filter(|source| source.path.split('/').any(is_empty));
    none("empty names", offences.map(|source| source.path).collect());
}

#[test]
fn unsafe_code_stands_only_in_sys() {
    let mut offences = Vec::new();
    for source in sources() {
        let is_home = source.path.split('/').any(|part| stem(part) == "sys");
        // A quick look first: the lexer is slow without optimisation.
        if is_home || !source.text.contains("unsafe") {
            continue;
        }
        let code = source.code();
        let found = words(&code).filter(|(_, word)| *word == "unsafe");
        offences.extend(found.map(|(line, _)| format!("{}:{line}", source.path)));
    }
    none("unsafe code", offences);
}

#[test]
fn the_init_asks_nothing_that_its_small_build_has_a_stand_in_for() {
    let mut offences = Vec::new();
    for source in sources() {
        let is_of_init = source.path.starts_with("init/") && source.is_product();
        if !is_of_init || source.path.ends_with("/stand_ins.rs") {
            continue;
        }
        let code = source.code();
        let found = words(&code).filter(|(_, word)| STOOD_IN_FOR.contains(word));
        offences.extend(found.map(|(line, word)| format!("{}:{line}: {word}", source.path)));
    }
    none("calls of stand-ins", offences);
}

#[test]
fn what_clippy_bans_stands_only_in_its_homes() {
    let sources = sources().into_iter();
    let lints = ["disallowed_methods", "disallowed_types"];
    let licensed = sources.filter(|source| {
        lints.iter().any(|lint| source.text.contains(lint)) && {
            let code = source.code();
            words(&code).any(|(_, word)| lints.contains(&word))
        }
    });
    let found: BTreeSet<String> = licensed.map(|source| source.path).collect();
    let homes: BTreeSet<String> = HOMES.map(str::to_owned).into();
    assert_eq!(
        found, homes,
        "left: what is there, right: what may be there"
    );
}

#[test]
fn a_lint_is_expected_and_never_allowed() {
    let mut found = BTreeSet::new();
    for source in sources() {
        if !source.text.contains("allow(") {
            continue;
        }
        let code = source.code();
        let mut attributes = code.match_indices("#[").chain(code.match_indices("#!["));
        let allows = |(at, _): (usize, &str)| {
            let attribute = code[at..].split(']').next().unwrap_or_default();
            words(attribute).any(|(_, word)| word == "allow")
        };
        if attributes.any(allows) {
            found.insert(source.path);
        }
    }
    let allowed = ALLOWS.map(|(path, _)| path.to_owned()).into();
    assert_eq!(
        found, allowed,
        "left: what is there, right: what may be there"
    );
}
