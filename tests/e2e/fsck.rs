//! `holdall fsck` over everything a user has: it says whole, or what is wrong
//! and ends with 1. What each part finds is tested beside that part.

use std::fs;
use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::{small, status};

fn built() -> Env {
    let env = Env::new();
    small::build(&env, "steady", "[service.a]\ncommand = \"sleep 1000\"\n");
    env
}

/// An entry; none of those with a dot, which are locks and marks.
fn first(dir: &Path) -> PathBuf {
    let entries = fs::read_dir(dir).expect("a folder");
    let mut names = entries.map(|entry| entry.expect("an entry").file_name());
    let named = names.find(|name| !name.to_string_lossy().starts_with('.'));
    dir.join(named.expect("something"))
}

#[test]
fn nothing_at_all_is_whole_and_stays_nothing() {
    let env = Env::new();
    let root = env.root().join("nowhere");
    let mut fsck = env.command(["fsck"]);
    let ran = fsck.env("HOLDALL_ROOT", &root).output().expect("holdall");
    assert!(ran.status.success(), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stdout).ends_with("whole\n"));
    assert!(!root.exists());
}

#[test]
fn images_boxes_and_cache_that_nobody_harmed_are_whole() {
    let env = built();
    let _name = env.run(["run", "-d", "--name", "one", "steady"]).ok();
    status::until_ready(&env, "one");
    let out = env.run(["fsck", "--deep"]).ok();
    assert!(out.ends_with("1 boxes\nwhole\n"), "{out}");
    let text = env.run(["fsck", "--format", "json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["whole"], true);
    assert_eq!(json["faults"].as_array().map(Vec::len), Some(0), "{text}");
    assert_eq!(json["checked"]["images"], 1);
    assert!(json["checked"]["records"].as_u64() > Some(5), "{text}");
}

#[test]
fn a_damaged_blob_is_said_and_the_code_is_1() {
    let env = built();
    let blob = first(&env.root().join("store/blobs/sha256"));
    fs::write(&blob, "something else").expect("written");
    let name = blob
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let ran = env.run(["fsck"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains(&format!("blob sha256:{name} is damaged")),
        "{ran:?}"
    );
    assert!(ran.out.ends_with("1 fault\n"), "{ran:?}");
    // A blob can't be made from nothing.
    let ran = env.run(["fsck", "--repair", "--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["faults"][0]["kind"], "blob-damaged");
    assert_eq!(json["faults"][0]["repaired"], false);
}

#[test]
fn what_can_be_made_again_is_repaired() {
    let env = built();
    let layer = first(&env.root().join("layers"));
    fs::write(layer.join("extra"), "").expect("written");
    let record = first(&env.root().join("cache/steps"));
    fs::write(record, "{").expect("written");
    fs::create_dir(env.root().join("cache/tmp-left")).expect("made");
    fs::write(env.root().join("store/tmp/4711-0"), "half").expect("written");
    let ran = env.run(["fsck", "--deep"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("/extra: not in the layer"), "{ran:?}");
    assert!(ran.out.contains("2 left by interrupted work"), "{ran:?}");
    assert!(ran.out.ends_with("2 faults\n"), "{ran:?}");
    let out = env.run(["fsck", "--deep", "--repair"]).ok();
    assert_eq!(out.matches("repaired: ").count(), 2, "{out}");
    let out = env.run(["fsck", "--deep"]).ok();
    assert!(
        !out.contains("left by") && out.ends_with("whole\n"),
        "{out}"
    );
    let _code = env.run(["run", "--rm", "steady", "true"]).ok();
}

#[test]
fn a_layer_under_a_running_box_is_named_and_left_alone() {
    let env = built();
    let _name = env.run(["run", "-d", "--name", "one", "steady"]).ok();
    let layer = first(&env.root().join("layers"));
    fs::write(layer.join("extra"), "").expect("written");
    let ran = env.run(["fsck", "--deep", "--repair"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(layer.exists());
    let _name = env.run(["rm", "-f", "one"]).ok();
    let _out = env.run(["fsck", "--deep", "--repair"]).ok();
    assert!(!layer.exists());
}
