//! An image has no trace of the day on which it was built.

use std::process::Command;

use crate::disk::Tree;
use crate::guest::{holdall, printed, say};
use crate::machine::Machine;
use crate::project;

/// Far from any day on which this runs.
const DATE: &str = "2031-03-04T05:06:07";

const SERVICE: &str = "[service.a]\ncommand = \"sleep 1000\"\n";

pub(crate) fn story() {
    let tree = Tree::new();
    project::put(&tree, "dated", SERVICE);
    let root = tempfile::Builder::new().prefix("holdall-vm-").tempdir();
    let root = root.expect("a temporary folder");
    let mut build = Command::new(env!("CARGO_BIN_EXE_holdall"));
    build
        .args(["build", "-q"])
        .arg(tree.at(project::DIR))
        .env("HOLDALL_ROOT", root.path());
    let here = build.output().expect("holdall can be started");
    let errors = String::from_utf8_lossy(&here.stderr);
    assert!(here.status.success(), "{errors}");
    let here = String::from_utf8_lossy(&here.stdout).trim().to_owned();

    let disk = tree.into_disk();
    let machine = Machine::boot_at(&disk, "build", DATE);
    assert_eq!(machine.says(), here);
    machine.until_off();
}

pub(crate) fn in_machine() {
    let year = printed(Command::new("date").arg("+%Y"));
    assert_eq!(year, "2031\n");
    say(printed(&mut holdall(&["build", "-q", project::DIR])).trim());
}
