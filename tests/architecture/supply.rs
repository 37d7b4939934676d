//! What others' crates the workspace takes, held against deny.toml: what
//! cargo-deny's `check bans licenses sources` holds too, without compiling it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use crate::workspace::{root, toml};

/// What this takes of `cargo metadata`.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    links: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

impl Package {
    fn is_ours(&self) -> bool {
        self.source.is_none()
    }

    /// Others' tests are not built here.
    fn uses(&self, name: &str) -> bool {
        let is_built = |used: &&Dependency| self.is_ours() || used.kind.as_deref() != Some("dev");
        let mut built = self.dependencies.iter().filter(is_built);
        built.any(|used| used.name == name)
    }
}

/// Every package of the lock that a target of deny.toml needs, tests included.
fn packages(rules: &toml::Table) -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root());
    cargo.args(["metadata", "--locked", "--format-version", "1"]);
    for target in strings(&rules["graph"]["targets"]) {
        cargo.args(["--filter-platform", target]);
    }
    let output = cargo.output().expect("cargo can be started");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {err}");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("its JSON");
    assert!(metadata.packages.len() > 50, "{}", metadata.packages.len());
    metadata.packages
}

fn strings(value: &toml::Value) -> impl Iterator<Item = &str> {
    let array = value.as_array().expect("an array");
    array.iter().map(|value| value.as_str().expect("a string"))
}

fn rules() -> toml::Table {
    toml("deny.toml")
}

#[test]
fn every_licence_is_one_that_may_be() {
    let rules = rules();
    let allowed: BTreeSet<&str> = strings(&rules["licenses"]["allow"]).collect();
    for package in packages(&rules) {
        let terms = package.license.as_deref().unwrap_or("none");
        assert!(
            is_met(terms, &allowed),
            "{} {}: {terms}",
            package.name,
            package.version
        );
    }
}

#[test]
fn every_crate_comes_from_a_registry_that_may_be() {
    let rules = rules();
    let allowed: BTreeSet<String> = strings(&rules["sources"]["allow-registry"])
        .map(|url| format!("registry+{url}"))
        .collect();
    for package in packages(&rules) {
        match package.source {
            None => assert!(package.name.starts_with("holdall"), "{}", package.name),
            Some(source) => assert!(allowed.contains(&source), "{}: {source}", package.name),
        }
    }
}

#[test]
fn no_crate_is_there_that_is_banned_or_twice() {
    let rules = rules();
    let packages = packages(&rules);
    let bans = rules["bans"]["deny"].as_array().expect("an array");
    for ban in bans {
        let text = |key: &str| ban[key].as_str().expect("a string");
        let (banned, reason) = (text("crate"), text("reason"));
        let wrappers = ban.get("wrappers");
        let wrappers: Vec<&str> = wrappers.map_or(Vec::new(), |all| strings(all).collect());
        for package in &packages {
            assert!(
                package.name != banned || !wrappers.is_empty(),
                "{banned} is banned: {reason}"
            );
            assert!(
                !package.uses(banned) || wrappers.contains(&package.name.as_str()),
                "{} must not use {banned}: {reason}",
                package.name
            );
        }
    }
    let skip = rules["bans"]["skip"].as_array().expect("an array");
    let skipped = |name: &str| skip.iter().any(|one| one["crate"].as_str() == Some(name));
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &packages {
        let all = versions.entry(&package.name).or_default();
        all.push(&package.version);
    }
    for (name, all) in versions {
        assert!(
            all.len() == 1 || skipped(name),
            "{name} is there as {all:?}"
        );
    }
}

#[test]
fn the_only_foreign_c_is_zstd() {
    let packages = packages(&rules());
    let linked: Vec<String> = packages.into_iter().filter_map(|one| one.links).collect();
    assert_eq!(linked, ["zstd"]);
}

/// Whether an SPDX expression can be met by the allowed licences. `/` is an
/// old spelling of OR.
fn is_met(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ");
    let spaced = spaced.replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    assert_eq!(words.next(), None, "{expression:?} goes on");
    met
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let word = words.next().expect("an expression has a licence");
    if word == "(" {
        let met = any(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return met;
    }
    // With an exception it is another licence.
    match words.next_if_eq(&"WITH") {
        Some(_) => {
            let exception = words.next().expect("an exception has a name");
            allowed.contains(format!("{word} WITH {exception}").as_str())
        }
        None => allowed.contains(word),
    }
}

#[test]
fn a_licence_is_met_as_its_expression_says() {
    let allowed = BTreeSet::from(["MIT", "Zlib"]);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR Zlib) AND MIT", true),
        ("(GPL-3.0 OR Zlib) AND GPL-3.0 OR GPL-2.0", false),
        ("MIT WITH Classpath-exception-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
