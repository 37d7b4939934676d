//! Stopping, in order and in time.

use nix::sys::signal::Signal;

use crate::world::Setup;

const PAIR: &str = r#"
    [service.below]
    command = "sh -c 'trap \"echo below stops; exit\" TERM; echo below runs; while :; do sleep 0.01; done'"
    [service.above]
    command = "sh -c 'trap \"echo above stops; exit\" TERM; echo above runs; while :; do sleep 0.01; done'"
    depends_on = ["below"]
"#;

#[test]
fn dependants_stop_before_what_they_need() {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGPWR,
        Signal::SIGQUIT,
    ] {
        let mut init = Setup::new(PAIR).start();
        init.wait_for("above runs");
        init.wait_for("below runs");
        init.signal(signal);
        assert_eq!(init.wait().0.code(), Some(0));
        let at = |text| init.seen.find(text).expect(text);
        assert!(at("above stops") < at("below stops"), "{}", init.seen);
    }
}

#[test]
fn the_container_worlds_halt_is_an_ordered_stop_of_process_one() {
    let mut init = Setup::new(PAIR).own_namespace().start();
    init.wait_for("above runs");
    init.wait_for("below runs");
    // RTMIN+3, which nix has no name for.
    let halt = format!("kill -37 {}", init.pid());
    let done = std::process::Command::new("sh")
        .args(["-c", &halt])
        .status()
        .expect("start");
    assert!(done.success());
    assert_eq!(init.wait().0.code(), Some(0));
    assert!(init.seen.contains("below stops"), "{}", init.seen);
}

#[test]
fn a_service_that_does_not_listen_is_killed_in_time() {
    let mut init = Setup::new(
        r#"
        [service.deaf]
        command = "sh -c 'trap \"\" TERM; echo runs; while :; do sleep 0.01; done'"
        stop = { timeout = "200ms" }
        "#,
    )
    .start();
    init.wait_for("runs");
    assert_eq!(init.stop(), Some(0));
    assert!(
        init.seen
            .contains("deaf: did not stop in time and is killed"),
        "{}",
        init.seen
    );
}

#[test]
fn a_chain_that_hears_nothing_ends_within_the_bound_of_the_box() {
    // Their own timeouts would take longer than a test waits.
    let mut init = Setup::new(
        r#"
        [init]
        stop_timeout = "1s"
        [service.below]
        command = "sh -c 'trap \"\" TERM; echo below runs; while :; do sleep 0.01; done'"
        stop = { timeout = "40s" }
        [service.above]
        command = "sh -c 'trap \"\" TERM; echo above runs; while :; do sleep 0.01; done'"
        stop = { timeout = "40s" }
        depends_on = ["below"]
        "#,
    )
    .start();
    init.wait_for("above runs");
    init.wait_for("below runs");
    assert_eq!(init.stop(), Some(0));
    let at = |name: &str| {
        let words = format!("{name}: did not stop in time and is killed");
        init.seen.find(&words).expect(name)
    };
    assert!(at("above") < at("below"), "{}", init.seen);
}

#[test]
fn a_second_term_does_not_wait() {
    let mut init = Setup::new(
        r#"
        [service.deaf]
        command = "sh -c 'trap \"\" TERM; echo runs; while :; do sleep 0.01; done'"
        stop = { timeout = "20s" }
        "#,
    )
    .start();
    init.wait_for("runs");
    init.signal(Signal::SIGTERM);
    init.wait_for("stopping");
    init.signal(Signal::SIGTERM);
    assert_eq!(init.wait().0.code(), Some(0));
}

#[test]
fn a_stopped_process_hears_the_stop() {
    let mut init = Setup::new(
        r#"
        [service.app]
        command = "sh -c 'trap \"echo heard it; exit\" TERM; echo runs; while :; do sleep 0.01; done'"
        "#,
    )
    .start();
    init.wait_for("runs");
    init.ask_ok(&["signal", "STOP", "app"]);
    assert_eq!(init.stop(), Some(0));
    assert!(init.seen.contains("heard it"), "{}", init.seen);
}

#[test]
fn stop_and_start_by_name_leave_the_rest_alone() {
    let mut init = Setup::new(PAIR).start();
    init.wait_for("above runs");
    init.wait_for("below runs");
    let below = init.pid_of("below");
    init.ask_ok(&["stop", "above"]);
    assert_eq!(init.pid_of("above"), None);
    init.ask_ok(&["start", "above"]);
    assert!(init.pid_of("above").is_some());
    assert_eq!(init.pid_of("below"), below);
    assert_eq!(init.stop(), Some(0));
}
