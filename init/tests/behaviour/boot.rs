//! Boots of every kind, and the files that they begin with.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::world::{INIT, Setup, eventually, said};

const ONE: &str = "[service.app]\ncommand = \"sh -c 'echo runs; exec sleep 1000'\"\n";

#[test]
fn process_one_of_a_bare_namespace_finds_its_own_proc() {
    let script = "umount -l /proc; umount -l /proc; exec \"$@\"";
    let mut init = Setup::new(ONE)
        .own_namespace()
        .by(&["sh", "-c", script, "sh"])
        .start();
    init.wait_for("runs");
    assert!(!init.seen.contains("there is no /proc"), "{}", init.seen);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn any_user_can_run_it_on_a_read_only_root() {
    let setup = Setup::new(ONE);
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(setup.dir.path(), open).expect("chmod");
    let dir = setup.path("");
    let script = format!(
        "mount --make-rprivate / && mount --bind {dir} {dir} && \
         mount -o remount,bind,ro / && exec setpriv --reuid 4321 --regid 4321 \
         --clear-groups --no-new-privs --bounding-set=-all \"$@\""
    );
    let mut init = setup
        .by(&["unshare", "--mount", "sh", "-c", &script, "sh"])
        .start();
    init.wait_for("runs");
    assert!(init.ask_ok(&["ps"]).contains("app"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn without_privilege_another_user_is_an_error_with_words() {
    let config =
        "[service.app]\ncommand = \"true\"\nuser = \"daemon\"\ngive_up = { failures = 1 }\n";
    let setup = Setup::new(config);
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(setup.dir.path(), open).expect("chmod");
    let mut init = setup
        .by(&["setpriv", "--reuid", "4321", "--clear-groups"])
        .start();
    let (status, _) = init.wait();
    assert!(
        init.seen
            .contains("app: cannot become user daemon: operation not permitted"),
        "{}",
        init.seen
    );
    assert_eq!(status.code(), Some(125));
}

#[test]
fn a_file_that_is_wrong_is_shown_with_its_places() {
    let setup = Setup::new("[service.app]\ncomand = \"x\"\n");
    let mut init = setup.start();
    let (status, stderr) = init.wait();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("holdall.toml:2:1"), "{stderr}");
    assert!(stderr.contains("command"), "{stderr}");
    let path = init.path("holdall.toml");
    let check = Command::new(INIT)
        .args(["check", &path])
        .output()
        .expect("start");
    assert_eq!(check.status.code(), Some(1));
    assert!(said(&check).contains("holdall.toml:2:1"));
}

#[test]
fn a_file_that_is_not_there_and_nothing_to_run_are_errors() {
    let output = Command::new(INIT)
        .args(["--config", "/no/such.toml"])
        .output()
        .expect("start");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("cannot read /no/such.toml: No such file"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_profile_lays_its_values_over_and_an_unknown_one_is_refused() {
    let config = r#"
        [service.app]
        command = "sh -c 'echo level $LEVEL; exec sleep 1000'"
        env = { LEVEL = "debug" }
        [profile.production]
        env = { LEVEL = "warning" }
    "#;
    let mut init = Setup::new(config)
        .env("HOLDALL_PROFILE", "production")
        .start();
    init.wait_for("level warning");
    assert_eq!(init.stop(), Some(0));
    let mut init = Setup::new(config).args(&["--profile", "prodution"]).start();
    let (status, stderr) = init.wait();
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("prodution") && stderr.contains("production"),
        "{stderr}"
    );
}

#[test]
fn two_inits_never_share_a_run_directory() {
    let mut init = Setup::new(ONE).start();
    init.wait_for("runs");
    let second = Command::new(INIT)
        .arg("--run-dir")
        .arg(&init.run_dir)
        .args(["--config", &init.path("holdall.toml"), "run", "--", "true"])
        .output()
        .expect("start");
    assert!(
        said(&second).contains("another init answers there"),
        "{}",
        said(&second)
    );
    assert!(init.ask_ok(&["ps"]).contains("app"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_run_directory_behind_a_symbolic_link_is_not_used() {
    let setup = Setup::new(ONE);
    let other = setup.path("other");
    std::fs::create_dir(&other).expect("mkdir");
    std::os::unix::fs::symlink(&other, setup.path("run")).expect("link");
    let mut init = setup.start();
    init.wait_for("no control socket: cannot open");
    init.wait_for("runs");
    assert_eq!(std::fs::read_dir(&other).expect("a folder").count(), 0);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn whoever_started_it_is_told_when_it_is_ready() {
    let setup = Setup::new(ONE);
    let path = setup.path("notify");
    let socket = UnixDatagram::bind(&path).expect("bind");
    let mut init = setup.env("NOTIFY_SOCKET", &path).start();
    let mut buffer = [0; 64];
    let read = socket.recv(&mut buffer).expect("a message");
    assert_eq!(buffer.get(..read).expect("what was read"), b"READY=1\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn signals_that_ask_for_words_get_words() {
    let mut init = Setup::new(ONE).start();
    init.wait_for("runs");
    init.signal(Signal::SIGHUP);
    init.wait_for("reloaded: 0 services changed");
    init.signal(Signal::SIGUSR2);
    init.wait_for("SERVICE");
    init.wait_for("app       ready");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn it_sleeps_when_nothing_happens_and_stays_small() {
    let services: String = (0..10)
        .map(|n| format!("[service.s{n}]\ncommand = \"sleep 1000\"\n"))
        .collect();
    let mut init = Setup::new(&services).start();
    init.wait_for("ready after");
    init.wait_for_socket();
    let pid = init.pid();
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt"))
            .expect("it");
        line.to_owned()
    };
    // A second during which it has nothing to do: the one thing that only time
    // can show. (The first may still see the end of the client above.)
    eventually("it sleeps for a whole second", || {
        let before = switches();
        let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(1000_u16));
        (switches() == before).then_some(())
    });
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn services_of_a_megabyte_are_read_or_refused_in_a_few_lines() {
    const MEGABYTE: usize = 1 << 20;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("holdall.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("write");
        Command::new(INIT)
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .expect("start")
    };
    let many: String = (0..MEGABYTE / 40)
        .map(|at| format!("[service.s{at}]\ncommand = 'sleep 1000'\n"))
        .collect();
    let output = check(&many);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for text in [
        "[".repeat(MEGABYTE),
        many.replace("command", "comand"),
        format!("{}a = 1", "a.".repeat(MEGABYTE / 2)),
        "#".repeat(5 * MEGABYTE),
        "\0".repeat(MEGABYTE),
    ] {
        let output = check(&text);
        assert_eq!(output.status.code(), Some(1));
        let said = said(&output);
        assert!(
            said.contains("holdall.toml") && said.len() < 40_000,
            "{said:.300}"
        );
    }
}
