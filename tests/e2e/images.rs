//! Images travel: save, load, other tools, rmi.

use std::process::Command;

use crate::env::Env;
use crate::small;

const SLEEPER: &str = "[service.a]\ncommand = \"sleep 1000\"\nhealth = { exec = \"true\" }\n";

#[test]
fn a_saved_image_loads_elsewhere_as_the_same_image() {
    for form in ["docker", "oci"] {
        let here = Env::new();
        small::build(&here, "tool", SLEEPER);
        let tar = here.root().join("projects/tool.tar");
        let tar_name = tar.to_str().expect("UTF-8");
        let _out = here
            .run(["save", "--form", form, "-o", tar_name, "tool"])
            .ok();
        let there = Env::new();
        let loaded = there.run(["load", "-i", tar_name]).ok();
        let quiet = there.run(["load", "-q", "-i", tar_name]).ok();
        assert_eq!(loaded, format!("loaded {quiet}"));
        assert_eq!(quiet, "tool:latest\n");
        let id = |env: &Env| env.run(["images", "-q"]).ok();
        assert_eq!(id(&here), id(&there), "{form}");
        assert_eq!(
            there.run(["run", "--rm", "tool", "echo", "hello"]).ok(),
            "hello\n"
        );
    }
}

#[test]
fn skopeo_reads_what_save_writes_and_load_reads_what_skopeo_writes() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let dir = env.root().join("projects");
    let path = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    let _out = env.run(["save", "-o", &path("tool.tar"), "tool"]).ok();
    let copy = |from: &str, to: &str| {
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "-q", from, to])
            .output();
        let output = output.expect("skopeo is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    copy(
        &format!("docker-archive:{}", path("tool.tar")),
        &format!("oci:{}:tool", path("layout")),
    );
    copy(
        &format!("oci:{}:tool", path("layout")),
        &format!("docker-archive:{}:again:1", path("again.tar")),
    );
    let loaded = env.run(["load", "-i", &path("again.tar")]).ok();
    assert!(loaded.contains("again:1"), "{loaded}");
    assert_eq!(
        env.run(["run", "--rm", "again:1", "echo", "hello"]).ok(),
        "hello\n"
    );
}

#[test]
fn a_damaged_archive_is_refused_and_leaves_no_image() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let tar = env.root().join("projects/tool.tar");
    let name = tar.to_str().expect("UTF-8");
    let _out = env.run(["save", "-o", name, "tool"]).ok();
    let bytes = std::fs::read(&tar).expect("the archive");
    let other = Env::new();
    for cut in [0, 1, 511, 512, bytes.len() / 2] {
        std::fs::write(&tar, &bytes[..cut]).expect("written");
        let err = other.run(["load", "-i", name]).fails(1);
        assert!(err.starts_with("error: "), "{cut}: {err}");
        assert_eq!(other.run(["images", "-q"]).ok(), "", "cut at {cut}");
    }
}

#[test]
fn rmi_frees_what_nothing_needs_and_keeps_what_a_box_uses() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let _name = env.run(["run", "-d", "--name", "one", "tool"]).ok();
    let err = env.run(["rmi", "tool"]).fails(1);
    assert!(err.contains("used by a box"), "{err}");
    let _name = env.run(["rm", "-f", "one"]).ok();
    let _out = env.run(["rmi", "tool"]).ok();
    assert_eq!(env.run(["images", "-q"]).ok(), "");
    let err = env.run(["rmi", "tool"]).fails(1);
    assert!(err.contains("tool"), "{err}");
}
