//! Probes, and what follows from them.

use std::net::TcpListener;

use crate::world::{Setup, eventually, program};

#[test]
fn a_service_that_hangs_is_found_and_restarted() {
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("it")
        .port();
    let config = format!(
        r#"
        [service.app]
        command = "/usr/bin/python3 -m http.server --bind 127.0.0.1 {port}"
        health = {{ http = ":{port}/", interval = "100ms", timeout = "300ms", retries = 2, start_period = "3s" }}
        backoff = {{ initial = "10ms", max = "20ms" }}
        stop = {{ timeout = "300ms" }}
        "#
    );
    let mut init = Setup::new(&config).start();
    init.wait_for("app: ready");
    let first = init.pid_of("app");
    init.ask_ok(&["signal", "STOP", "app"]);
    let place = init.wait_from(0, "app: unhealthy: GET http://127.0.0.1");
    init.wait_from(place, "app: ready");
    assert_ne!(init.pid_of("app"), first);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn each_kind_of_probe_says_why_it_failed() {
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("it")
        .port();
    let config = format!(
        r#"
        [service.command]
        command = "sleep 1000"
        on_unhealthy = "ignore"
        essential = false
        health = {{ exec = "sh -c 'echo first; echo the reason >&2; exit 4'", interval = "50ms", retries = 1 }}
        [service.tcp]
        command = "sleep 1000"
        on_unhealthy = "ignore"
        essential = false
        health = {{ tcp = {port}, interval = "50ms", retries = 1 }}
        [service.silent]
        command = "/usr/bin/python3 {} {port}"
        on_unhealthy = "ignore"
        essential = false
        listen = ["x=127.0.0.2:{port}"]
        health = {{ http = "127.0.0.2:{port}/x", interval = "50ms", timeout = "200ms", retries = 1 }}
        "#,
        program("escape.py")
    );
    let mut init = Setup::new(&config).start();
    init.wait_for("command: unhealthy: `sh -c");
    init.wait_for("exit 4: the reason");
    init.wait_for(&format!(
        "tcp: unhealthy: tcp 127.0.0.1:{port}: connection refused"
    ));
    init.wait_for("no answer within 200ms");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn health_answers_by_its_exit_code_and_says_why_not() {
    let setup = Setup::without_config();
    let flag = setup.path("healthy");
    let config = format!(
        r#"
        [service.app]
        command = "sleep 1000"
        on_unhealthy = "ignore"
        health = {{ exec = "test -e {flag}", interval = "30ms", retries = 1, start_period = "1h" }}
        "#
    );
    std::fs::write(setup.path("holdall.toml"), config).expect("write");
    let path = setup.path("holdall.toml");
    let mut init = setup.args(&["--config", &path]).start();
    init.wait_for_socket();
    let health = |init: &crate::world::Init, how| init.ask(&["health", how]).status.code();
    assert_eq!(health(&init, "--started"), Some(1));
    assert_eq!(health(&init, "--live"), Some(0));
    std::fs::write(&flag, "").expect("write");
    eventually("it is ready", || {
        (health(&init, "--ready") == Some(0)).then_some(())
    });
    std::fs::remove_file(&flag).expect("remove");
    eventually("it is unhealthy", || {
        (health(&init, "--ready") == Some(1)).then_some(())
    });
    assert_eq!(health(&init, "--started"), Some(0));
    // Once it was ready the bare question is --live, and nobody but the engine
    // would act on a service that init was told to leave alone.
    assert_eq!(init.ask(&["health"]).status.code(), Some(1));
    let said = init.ask(&["health", "--ready"]);
    assert!(
        String::from_utf8_lossy(&said.stdout).contains("app"),
        "{said:?}"
    );
    assert_eq!(init.stop(), Some(0));
}
