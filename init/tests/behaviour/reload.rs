//! Another set of services while the box runs.

use std::fs;

use nix::sys::signal::Signal;

use crate::world::{Init, Setup, eventually};

const OLD: &str = r#"
    [service.stays]
    command = "sleep 1001"
    [service.changes]
    command = "sleep 1002"
    [service.goes]
    command = "sleep 1003"
"#;

const NEW: &str = r#"
    [service.stays]
    command = "sleep 1001"
    give_up = { failures = 9 }
    [service.changes]
    command = "sleep 2002"
    [service.comes]
    command = "sleep 1004"
"#;

/// A box that is ready. `SOCKET` is a path in its folder.
fn begin(config: &str) -> Init {
    let setup = Setup::without_config();
    let path = setup.path("holdall.toml");
    let config = config.replace("SOCKET", &setup.path("socket"));
    fs::write(&path, config).expect("write");
    let init = setup.args(&["--config", &path]).start();
    init.wait_for_socket();
    eventually("the box is ready", || {
        init.ask(&["health", "--ready"])
            .status
            .success()
            .then_some(())
    });
    init
}

fn pids(init: &Init, names: &[&str]) -> Vec<Option<u32>> {
    names.iter().map(|name| init.pid_of(name)).collect()
}

#[test]
fn a_reload_touches_only_what_changed_and_a_dry_run_nothing() {
    let mut init = begin(OLD);
    let before = pids(&init, &["stays", "changes", "goes"]);
    assert_eq!(init.ask_ok(&["reload", "--dry-run"]), "nothing changes\n");
    fs::write(init.path("holdall.toml"), NEW).expect("write");
    let changes = "stays: goes on, and changes give_up\n\
                   changes: is started again (command)\n\
                   comes: is new, and is started\n\
                   goes: is gone, and is stopped\n";
    assert_eq!(init.ask_ok(&["reload", "--dry-run"]), changes);
    assert_eq!(pids(&init, &["stays", "changes", "goes"]), before);
    assert_eq!(init.ask_ok(&["reload"]), changes);
    init.wait_for("reload: goes: is gone, and is stopped");
    eventually("it is as the file says", || {
        let status = init.status();
        let names: Vec<&str> = status.services.iter().map(|s| s.name.as_str()).collect();
        (status.ready && names == ["stays", "changes", "comes"]).then_some(())
    });
    let after = pids(&init, &["stays", "changes", "comes"]);
    assert_eq!(after.first(), before.first());
    assert!(after.get(1) != before.get(1) && after.iter().all(Option::is_some));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_file_with_mistakes_changes_nothing_and_a_hangup_reloads_too() {
    let mut init = begin(OLD);
    let before = pids(&init, &["stays", "changes", "goes"]);
    fs::write(init.path("holdall.toml"), "[service.stays]\ncomand = 'x'\n").expect("write");
    let output = init.ask(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("did you mean `command`?"), "{said}");
    init.signal(Signal::SIGHUP);
    init.wait_for("cannot reload:");
    assert_eq!(pids(&init, &["stays", "changes", "goes"]), before);
    fs::write(init.path("holdall.toml"), NEW).expect("write");
    init.signal(Signal::SIGHUP);
    init.wait_for("reloaded: 4 services changed");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn instances_share_their_sockets_and_are_scaled_while_they_run() {
    let mut init = begin(
        r#"
        [service.web]
        command = "sh -c 'echo web ${INSTANCE} $HOLDALL_INSTANCE $LISTEN_FDNAMES; exec sleep 1000'"
        listen = ["http=SOCKET"]
        instances = 2
        "#,
    );
    init.wait_for("web 1 1 http\n");
    init.wait_for("web 2 2 http\n");
    let before = pids(&init, &["web@1", "web@2"]);
    let added = "web@3: is new, and is started\n";
    assert_eq!(init.ask_ok(&["scale", "web=3"]), added);
    init.wait_for("web 3 3 http\n");
    assert_eq!(pids(&init, &["web@1", "web@2"]), before);
    let gone = "web@2: is gone, and is stopped\nweb@3: is gone, and is stopped\n";
    assert_eq!(init.ask_ok(&["scale", "web=1"]), gone);
    eventually("one is left", || {
        (init.status().services.len() == 1).then_some(())
    });
    assert_eq!(pids(&init, &["web@1"]), before[..1]);
    let refused = init.ask(&["scale", "wob=2"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("did you mean `web`?"), "{said}");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_service_is_made_to_read_its_own_files_again() {
    let mut init = begin(
        r#"
        [service.told]
        command = "sh -c 'trap \"echo heard\" HUP; echo runs; while :; do sleep 0.01; done'"
        reload = "HUP"
        [service.asked]
        command = "sleep 1000"
        reload = { command = "sh -c 'echo asked by command; test -n \"$MAINPID\"'" }
        [service.refuses]
        command = "sleep 1000"
        reload = { command = "false" }
        "#,
    );
    init.wait_for("| runs");
    let before = pids(&init, &["told", "asked"]);
    init.ask_ok(&["reload", "told", "asked"]);
    init.wait_for("heard");
    init.wait_for("asked by command");
    assert_eq!(pids(&init, &["told", "asked"]), before);
    let refused = init.ask(&["reload", "refuses"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("cannot reload `refuses`: the command ended with exit 1"),
        "{said}"
    );
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_client_is_told_why_a_service_is_as_it_is() {
    let mut init = begin(
        r#"
        [service.never]
        type = "oneshot"
        command = "sh -c 'echo last words; exit 3'"
        essential = false
        restart = "never"
        [service.runs]
        command = "sleep 1000"
        [service.waits]
        command = "sleep 1000"
        depends_on = ["never"]
        essential = false
        "#,
    );
    init.wait_for("last words");
    eventually("it has ended", || {
        init.ask_ok(&["why", "never"])
            .contains("fatal")
            .then_some(())
    });
    let why = init.ask_ok(&["why", "never"]);
    assert!(
        why.contains("it ended last with exit 3") && why.contains("last words"),
        "{why}"
    );
    let why = init.ask_ok(&["why", "waits"]);
    assert!(why.contains("it waits for never"), "{why}");
    let json = init.ask_ok(&["why", "waits", "--format", "json"]);
    assert!(json.contains(r#""waits_for":["never"]"#), "{json}");
    assert_eq!(init.stop(), Some(0));
}
