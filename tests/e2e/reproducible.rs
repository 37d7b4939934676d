//! The same inputs give the same image, wherever and whenever it is built.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::env::Env;
use crate::small;

const SERVICES: &str = "[service.a]\ncommand = \"sleep 1000\"\nuser = \"web\"\n";

/// Builds under another umask, host name, time zone and clock.
fn build_elsewhere(env: &Env, dir: &std::path::Path) -> String {
    let build = env.command(["build".as_ref(), "-q".as_ref(), dir.as_os_str()]);
    let mut command = Command::new("unshare");
    command
        .args([
            "--uts",
            "sh",
            "-c",
            "umask 0077; hostname elsewhere; exec \"$@\"",
            "sh",
        ])
        .arg(build.get_program())
        .args(build.get_args())
        .env("HOLDALL_ROOT", env.root())
        .env("TZ", "Asia/Tokyo")
        .env("LANG", "de_DE.UTF-8")
        .process_group(0);
    let output = command.output().expect("unshare can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_cold_builds_in_two_stores_give_one_image() {
    let here = Env::new();
    let dir = small::project(&here, "same", SERVICES);
    std::fs::write(dir.join("etc/b"), "b").expect("a file below the root");
    std::fs::write(dir.join("etc/a"), "a").expect("a file below the root");
    let first = here
        .run(["build".as_ref(), "-q".as_ref(), dir.as_os_str()])
        .ok();

    let there = Env::new();
    let other = small::project(&there, "same", SERVICES);
    // Made in the other order: another order in the folder.
    std::fs::write(other.join("etc/a"), "a").expect("a file below the root");
    std::fs::write(other.join("etc/b"), "b").expect("a file below the root");
    assert_eq!(build_elsewhere(&there, &other), first);
}

#[test]
fn two_cold_builds_of_the_shop_in_two_stores_give_one_image() {
    let here = Env::new();
    let there = Env::new();
    let project = here.root().join("projects/shop");
    crate::shop::copy_project(&project);
    // The first build chooses the packages, the second takes those of the lock.
    let first = here
        .run(["build".as_ref(), "-q".as_ref(), project.as_os_str()])
        .ok();
    assert!(project.join("holdall.lock").exists());
    assert_eq!(build_elsewhere(&there, &project), first);
}
