//! A command beside the services.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::world::{Setup, program, said};

#[test]
fn the_box_ends_with_its_command_and_with_its_code() {
    for pid1 in [false, true] {
        let setup = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n");
        let setup = setup.args(&["run", "--", "sh", "-c", "echo from the command; exit 3"]);
        let mut init = if pid1 { setup.own_namespace() } else { setup }.start();
        let (status, _) = init.wait();
        assert_eq!(status.code(), Some(3));
        assert!(init.seen.contains("\nfrom the command\n") || init.seen.starts_with("from"));
        assert!(
            init.seen.contains("app: stopped with SIGTERM"),
            "{}",
            init.seen
        );
    }
}

#[test]
fn without_services_it_stands_in_for_tini() {
    let code = |script: &str| {
        let setup = Setup::without_config().args(&["--", "sh", "-c", script]);
        setup.own_namespace().start().wait().0.code()
    };
    assert_eq!(code("exit 3"), Some(3));
    assert_eq!(code("kill -9 $$"), Some(137));
    let mut missing = Setup::without_config()
        .args(&["--", "/no/such/program"])
        .start();
    let (status, stderr) = missing.wait();
    assert_eq!(status.code(), Some(127));
    assert!(
        stderr.contains("cannot execute /no/such/program: no such file"),
        "{stderr}"
    );
}

#[test]
fn without_services_the_command_gets_every_signal_as_it_was_sent() {
    let script = "trap 'echo got INT' INT; trap 'echo got HUP' HUP; trap 'echo got USR2' USR2; \
                  trap 'echo got TERM; exit 4' TERM; echo up; while :; do sleep 0.01; done";
    let mut init = Setup::without_config()
        .args(&["--", "sh", "-c", script])
        .start();
    init.wait_for("up");
    for (signal, said) in [
        (Signal::SIGINT, "got INT"),
        (Signal::SIGHUP, "got HUP"),
        (Signal::SIGUSR2, "got USR2"),
    ] {
        init.signal(signal);
        init.wait_for(said);
    }
    assert_eq!(init.stop(), Some(4));
    assert!(init.seen.contains("got TERM"));
}

#[test]
fn beside_services_other_signals_go_to_the_command() {
    let script = "trap 'echo got WINCH' WINCH; echo up; while :; do sleep 0.01; done";
    let mut init = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n")
        .args(&["run", "--", "sh", "-c", script])
        .start();
    init.wait_for("up");
    init.signal(Signal::SIGWINCH);
    init.wait_for("got WINCH");
    init.signal(Signal::SIGTERM);
    assert_eq!(init.wait().0.code(), Some(143));
}

#[test]
fn after_ready_waits_for_the_services() {
    let mut init = Setup::new(
        r#"
        [service.job]
        type = "oneshot"
        command = "sh -c 'sleep 0.2; echo job done'"
        "#,
    )
    .args(&["run", "--after-ready", "--", "echo", "the command"])
    .start();
    assert_eq!(init.wait().0.code(), Some(0));
    let at = |text| init.seen.find(text).expect(text);
    assert!(at("job done") < at("\nthe command"), "{}", init.seen);
}

#[test]
fn a_command_on_a_terminal_has_job_control_and_no_log_over_it() {
    let config = "[service.app]\ncommand = \"sh -c 'echo noise; exec sleep 1000'\"\n";
    for leader in ["leader", "shell"] {
        let setup = Setup::new(config);
        let helper = program("foreground.py");
        let mut init = setup
            .by(&["/usr/bin/python3", &helper, leader])
            .args(&["run", "--", "bash", "--norc", "--noprofile", "-i"])
            .start();
        let (status, stderr) = init.wait();
        assert_eq!(status.code(), Some(6), "{leader}: {}{stderr}", init.seen);
        assert!(init.seen.contains("Running"), "{leader}: {}", init.seen);
        assert!(
            !init.seen.contains("no job control"),
            "{leader}: {}",
            init.seen
        );
        assert!(!init.seen.contains("noise"), "{leader}: {}", init.seen);
    }
}

#[test]
fn a_command_line_that_is_wrong_teaches_the_right_one() {
    let usage = |args: &[&str]| {
        let output = Command::new(crate::world::INIT)
            .args(args)
            .output()
            .expect("start");
        assert_eq!(output.status.code(), Some(2));
        said(&output)
    };
    assert!(usage(&["redis-server"]).contains("/init -- redis-server"));
    assert!(usage(&["run", "redis-server"]).contains("/init run -- redis-server"));
    assert!(usage(&["ps", "--nope"]).contains("--help"));
}
