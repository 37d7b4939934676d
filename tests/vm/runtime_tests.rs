//! The runtime's own tests, where they find what the host may lack.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::disk::Tree;
use crate::guest;
use crate::machine::Machine;

/// Test programs of holdall-runtime; like all others they are static.
const PROGRAMS: [&str; 2] = ["oci", "boxes"];

/// Tests that do one thing hundreds of times, which the host has done: here
/// they would take a third of the time.
const REPETITIONS: [&str; 3] = [
    "two hundred fast programs",
    "CVE-2024-21626",
    "killed_in_a_start",
];

/// Where they lie in the machine.
const TESTS: &str = "/target/deps";

pub(crate) fn story() {
    let tree = Tree::new();
    for (name, path) in PROGRAMS.iter().zip(built()) {
        tree.copy(&path, &format!("{TESTS}/{name}"));
    }
    // Beside the tests, where theirs is too.
    let init = Path::new(env!("CARGO_BIN_EXE_holdall")).with_file_name("holdall-init");
    tree.copy(&init, "/target/holdall-init");
    // What they want of a host and busybox does otherwise; its shell also
    // prefers its own to any other.
    for name in ["bash", "sh", "ls", "ps", "readlink"] {
        tree.program(&format!("/usr/bin/{name}"));
    }
    let disk = tree.into_disk();
    Machine::boot(&disk, "runtime-tests").until_off();
}

/// The newest of each: cargo knows which, and usually has just built them.
fn built() -> Vec<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--workspace", "--locked", "--quiet", "--no-run"])
        .args(PROGRAMS.iter().flat_map(|name| ["--test", name]))
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().expect("cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages: Vec<Value> = messages
        .lines()
        .map(|line| serde_json::from_str(line).expect("a message of cargo's"))
        .collect();
    let executable = |name: &&str| {
        let of_test = |message: &&Value| {
            message["target"]["name"] == **name && message["executable"].is_string()
        };
        let message = messages.iter().find(of_test);
        let path = message.and_then(|message| message["executable"].as_str());
        PathBuf::from(path.unwrap_or_else(|| panic!("cargo built no {name}")))
    };
    PROGRAMS.iter().map(executable).collect()
}

pub(crate) fn in_machine() {
    for name in PROGRAMS {
        let mut tests = Command::new(format!("{TESTS}/{name}"));
        tests.args(["--test-threads", "2"]);
        tests.args(REPETITIONS.iter().flat_map(|name| ["--skip", name]));
        guest::run(&mut tests);
    }
}
