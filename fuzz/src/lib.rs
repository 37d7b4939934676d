//! What the fuzzer calls: one function for each place where bytes of others
//! come in. It takes any bytes and panics when a promise is broken.
//!
//! `make fuzz` drives them by libFuzzer (`libfuzzer/`, a workspace of its
//! own); the test `replay` runs every input of `corpus/` through the same
//! functions, with a stable compiler and no fuzzer. An input that once broke
//! something lies there as `found-…`.
#![forbid(unsafe_code)]

mod accounts;
mod archive;
mod documents;
mod elf;
mod entries;
mod frames;
mod holdall_toml;
#[cfg_attr(not(test), expect(dead_code, reason = "the listener uses the rest"))]
#[path = "../../init/src/web/request.rs"]
mod http;
mod http_request;
mod init;
mod init_log;
mod jail;
mod layer;
mod layout;
mod logs;
mod notices;
mod oci_config;
mod packages;
mod reference;
mod seccomp;
mod supervise;
mod supervisord;
mod tarball;
#[expect(dead_code, reason = "its scenarios use the rest")]
#[expect(
    clippy::indexing_slicing,
    reason = "a world that indexes wrongly shall fail"
)]
#[path = "../../init/supervise/tests/simulated/world.rs"]
mod world;

/// A place where bytes of others come in.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Does what holdall would do with these bytes.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 19] = [
    target("accounts", accounts::run),
    target("archive", archive::run),
    target("documents", documents::run),
    target("elf", elf::run),
    target("entries", entries::run),
    target("frames", frames::run),
    target("holdall_toml", holdall_toml::run),
    target("http_request", http_request::run),
    target("init_log", init_log::run),
    target("layer", layer::run),
    target("layout", layout::run),
    target("logs", logs::run),
    target("notices", notices::run),
    target("oci_config", oci_config::run),
    target("packages", packages::run),
    target("reference", reference::run),
    target("seccomp", seccomp::run),
    target("supervise", supervise::run),
    target("supervisord", supervisord::run),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// The function of a target.
///
/// # Panics
/// There is none of that name.
#[must_use]
pub fn named(name: &str) -> fn(&[u8]) {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.expect("a target of the list").run
}

/// Parts of an input that has several: divided by lines of two dashes.
fn parts(data: &[u8]) -> Vec<&[u8]> {
    const LINE: &[u8] = b"\n--\n";
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(LINE.len()).position(|window| window == LINE) {
        let (part, after) = rest.split_at(at);
        parts.push(part);
        rest = after.get(LINE.len()..).unwrap_or_default();
    }
    parts.push(rest);
    parts
}
