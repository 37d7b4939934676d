//! Bad input: a clear error with the place and a hint, and nothing half-made.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::env::{Env, free_port};
use crate::small;

/// Builds a project of these services; the error, which must name the file.
fn build_error(services: &str) -> String {
    let env = Env::new();
    let dir = small::project(&env, "bad", services);
    let err = env.run(["build".as_ref(), dir.as_os_str()]).fails(1);
    let images = env.run(["images", "-q"]).ok();
    assert_eq!(images, "", "nothing is tagged after:\n{err}");
    err
}

#[test]
fn an_unknown_key_shows_its_place_and_the_key_that_was_meant() {
    let err = build_error("[service.web]\ncomand = \"sleep 9\"\n");
    assert!(err.contains("holdall.toml:13:1"), "{err}");
    assert!(
        err.contains("comand = \"sleep 9\"") && err.contains("^"),
        "{err}"
    );
    assert!(err.contains("`command`"), "{err}");
}

#[test]
fn a_key_that_is_not_built_yet_is_refused_by_name() {
    let err = build_error("[service.web]\ncommand = \"sleep 9\"\nsecrets = [\"db\"]\n");
    assert!(
        err.contains("secrets") && err.contains("not built yet"),
        "{err}"
    );
}

#[test]
fn a_cycle_is_shown_as_a_path() {
    let err = build_error(
        "[service.a]\ncommand = \"sleep 9\"\ndepends_on = [\"b\"]\n\
         [service.b]\ncommand = \"sleep 9\"\ndepends_on = [\"a\"]\n",
    );
    assert!(
        err.contains("a -> b -> a") || err.contains("b -> a -> b"),
        "{err}"
    );
}

#[test]
fn a_missing_binary_is_found_before_the_image_is_tagged() {
    let err = build_error("[service.web]\ncommand = \"/usr/bin/ngnix -g x\"\n");
    assert!(
        err.contains("/usr/bin/ngnix") && err.contains("holdall.toml:"),
        "{err}"
    );
}

#[test]
fn an_unknown_user_is_found_before_the_image_is_tagged() {
    let err = build_error("[service.web]\ncommand = \"sleep 9\"\nuser = \"wbe\"\n");
    assert!(
        err.contains("wbe") && err.contains("holdall.toml:"),
        "{err}"
    );
}

#[test]
fn two_services_on_one_port_clash() {
    let err = build_error(
        "[service.a]\ncommand = \"sleep 9\"\nexpose = [80]\n\
         [service.b]\ncommand = \"sleep 9\"\nexpose = [80]\n",
    );
    assert!(
        err.contains("80/tcp") && err.contains("`a`") && err.contains("holdall.toml:"),
        "{err}"
    );
}

#[test]
fn a_holdall_toml_of_a_megabyte_is_checked_or_refused_in_a_few_lines() {
    const MEGABYTE: usize = 1 << 20;
    let env = Env::new();
    let check = |name: &str, text: &str| {
        let dir = env.project(name, text);
        env.run(["check".as_ref(), dir.as_os_str()])
    };
    let head = "name = \"big\"\n[image]\nfrom = \"scratch\"\n";
    // One service in a megabyte of comment: nothing is wrong with it.
    let comment = format!("# {}\n", "x".repeat(MEGABYTE));
    let service = "[service.a]\ncommand = \"/init version\"\n";
    let ran = check("comment", &format!("{comment}{head}{service}"));
    assert_eq!(ran.ok(), "ok\n");
    for (name, text) in [
        ("brackets", "[".repeat(MEGABYTE)),
        ("equals", "=".repeat(MEGABYTE)),
        (
            "dots",
            format!("{head}{}a = 1\n", "a.".repeat(MEGABYTE / 2)),
        ),
        ("word", format!("{head}{} = 1\n", "k".repeat(MEGABYTE))),
        (
            "services",
            (0..MEGABYTE / 30).fold(head.to_owned(), |text, at| {
                text + &format!("[service.s{at}]\ncomand = \"x\"\n")
            }),
        ),
        ("noise", "\u{1}é\u{feff}".repeat(MEGABYTE / 6)),
        ("long", "#".repeat(5 * MEGABYTE)),
    ] {
        let err = check(name, &text).fails(1);
        assert!(err.contains("holdall.toml:"), "{name}: {err:.300}");
        assert!(err.len() < 40_000, "{name}: {} bytes are said", err.len());
    }
}

#[test]
fn a_malformed_reference_is_refused_where_it_is_given() {
    let env = Env::new();
    let err = env.run(["build", "-t", "Shop:one:two", "."]).fails(2);
    assert!(err.contains("Shop:one:two"), "{err}");
    let err = env.run(["run", "Not//Valid"]).fails(125);
    assert!(err.contains("Not//Valid"), "{err}");
}

#[test]
fn an_image_that_is_not_there_is_an_error_with_a_hint() {
    let env = Env::new();
    small::build(&env, "steady", "[service.a]\ncommand = \"sleep 1000\"\n");
    let err = env.run(["run", "stedy"]).fails(125);
    assert!(err.contains("stedy") && err.contains("help:"), "{err}");
}

#[test]
fn a_port_in_use_is_an_error_and_leaves_no_box() {
    let env = Env::new();
    small::build(&env, "steady", "[service.a]\ncommand = \"sleep 1000\"\n");
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = taken.local_addr().expect("a bound socket").port();
    let publish = format!("127.0.0.1:{port}:80");
    let err = env.run(["run", "-d", "-p", &publish, "steady"]).fails(125);
    assert!(
        err.contains(&port.to_string()) && err.contains("in use"),
        "{err}"
    );
    assert!(env.boxes().is_empty(), "no box is left");
}

#[test]
fn a_port_of_another_box_is_in_use() {
    let env = Env::new();
    small::build(&env, "steady", "[service.a]\ncommand = \"sleep 1000\"\n");
    let publish = format!("{}:80", free_port());
    let _name = env
        .run(["run", "-d", "--name", "one", "-p", &publish, "steady"])
        .ok();
    let err = env
        .run(["run", "-d", "--name", "two", "-p", &publish, "steady"])
        .fails(125);
    assert!(err.contains("in use") && err.contains("one"), "{err}");
    assert_eq!(env.boxes().len(), 1);
}

#[test]
fn a_name_in_use_is_an_error() {
    let env = Env::new();
    small::build(&env, "steady", "[service.a]\ncommand = \"sleep 1000\"\n");
    let _name = env.run(["run", "-d", "--name", "one", "steady"]).ok();
    let err = env.run(["run", "-d", "--name", "one", "steady"]).fails(125);
    assert!(
        err.contains("one") && err.contains("in use") && err.contains("help:"),
        "{err}"
    );
}

#[test]
fn without_root_the_error_says_that_root_is_needed() {
    let env = Env::new();
    small::build(&env, "steady", "[service.a]\ncommand = \"sleep 1000\"\n");
    // The binary's own folder may be closed to others.
    let open = tempfile::Builder::new()
        .prefix("holdall-open-")
        .tempdir()
        .expect("a folder");
    let holdall = open.path().join("holdall");
    std::fs::copy(env!("CARGO_BIN_EXE_holdall"), &holdall).expect("a copy");
    std::fs::set_permissions(open.path(), std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let mut command = Command::new(&holdall);
    command
        .args(["run", "steady"])
        .env("HOLDALL_ROOT", open.path().join("state"));
    let output = command
        .uid(65534)
        .gid(65534)
        .output()
        .expect("holdall can be started");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(0));
    assert!(err.contains("root"), "{err}");
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_made() {
    let env = Env::new();
    let mount = |args: &[&str]| {
        let done = Command::new("mount").args(args).arg(env.root()).status();
        assert!(done.expect("mount can be started").success());
    };
    mount(&["-t", "tmpfs", "-o", "size=3m", "holdall-e2e"]);
    let dir = small::project(&env, "big", "[service.a]\ncommand = \"sleep 1000\"\n");
    let ran = env.run(["build".as_ref(), dir.as_os_str()]);
    // Room again: the very next command works.
    mount(&["-o", "remount,size=300m"]);
    let again = env.run(["build".as_ref(), dir.as_os_str()]);
    let images = env.run(["images"]);
    let half = std::fs::read_dir(env.root().join("cache"))
        .into_iter()
        .flatten()
        .flatten();
    let half: Vec<_> = half
        .map(|e| e.file_name())
        .filter(|n| n.to_string_lossy().starts_with("tmp"))
        .collect();
    let done = Command::new("umount").arg(env.root()).status();
    assert!(done.expect("umount can be started").success());
    let err = ran.fails(1);
    assert!(
        err.contains("No space left") || err.contains("no space left"),
        "{err}"
    );
    let _built = again.ok();
    assert!(images.ok().contains("big"));
    assert!(half.is_empty(), "{half:?}");
}

#[test]
fn a_box_that_is_not_there_is_an_error_for_every_verb() {
    let env = Env::new();
    for verb in ["logs", "stop", "start", "restart", "kill", "rm", "inspect"] {
        let err = env.run([verb, "ghost"]).fails(1);
        assert!(err.contains("ghost"), "{verb}: {err}");
    }
    let err = env.run(["exec", "ghost", "true"]).fails(125);
    assert!(err.contains("ghost"), "{err}");
}

#[test]
fn an_empty_and_a_foreign_file_are_clear_errors() {
    let env = Env::new();
    let empty = env.project("empty", "");
    let err = env.run(["build".as_ref(), empty.as_os_str()]).fails(1);
    assert!(err.contains("holdall.toml"), "{err}");
    let garbage = env.project("garbage", "\u{0}\u{1}[[[");
    let err = env.run(["build".as_ref(), garbage.as_os_str()]).fails(1);
    assert!(err.contains("holdall.toml:1:"), "{err}");
    let nowhere = env.root().join("nowhere");
    let err = env.run(["build".as_ref(), nowhere.as_os_str()]).fails(1);
    assert!(err.contains("nowhere"), "{err}");
}
