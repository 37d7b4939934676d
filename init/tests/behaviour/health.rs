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

#[test]
fn http_is_asked_over_a_unix_socket_with_headers_and_a_range_that_is_good() {
    let setup = Setup::without_config();
    let socket = setup.path("app.sock");
    let service = |name: &str, socket: &str, header: &str| {
        format!(
            "[service.{name}]\ncommand = \"/usr/bin/python3 {} {socket}\"\n\
             on_unhealthy = \"ignore\"\nessential = false\n\
             health = {{ http = {{ url = \"/healthz?full\", unix = \"{socket}\", \
             headers = {{ X-Probe = \"{header}\" }}, status = \"200-299\" }}, \
             interval = \"100ms\", retries = 1, start_period = \"5s\" }}\n",
            program("unix_http.py")
        )
    };
    let config =
        service("right", &socket, "let me in") + &service("wrong", &setup.path("b.sock"), "no");
    std::fs::write(setup.path("holdall.toml"), config).expect("write");
    let path = setup.path("holdall.toml");
    let mut init = setup.args(&["--config", &path]).start();
    init.wait_for("right: ready");
    init.wait_for("wrong: unhealthy: GET /healthz?full at ");
    init.wait_for("answered 302 Found");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_file_is_looked_for_as_the_service_would_see_it() {
    let setup = Setup::without_config();
    let hidden = setup.path("hidden");
    std::fs::create_dir(&hidden).expect("a folder");
    std::fs::write(format!("{hidden}/ok"), "").expect("write");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&hidden, closed).expect("its own folder");
    let config = format!(
        "[service.root]\ncommand = \"sleep 1000\"\n\
         health = {{ file = \"{hidden}/ok\", interval = \"50ms\", retries = 1 }}\n\
         [service.nobody]\ncommand = \"sleep 1000\"\nuser = \"65534\"\nessential = false\n\
         on_unhealthy = \"ignore\"\n\
         health = {{ file = \"{hidden}/ok\", interval = \"50ms\", retries = 1 }}\n"
    );
    std::fs::write(setup.path("holdall.toml"), config).expect("write");
    let path = setup.path("holdall.toml");
    let mut init = setup.args(&["--config", &path]).start();
    init.wait_for("root: ready");
    init.wait_for(&format!(
        "nobody: unhealthy: file {hidden}/ok: permission denied"
    ));
    std::fs::remove_file(format!("{hidden}/ok")).expect("remove");
    init.wait_for(&format!("root: unhealthy: file {hidden}/ok: no such file"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn what_a_failed_command_printed_is_in_why() {
    let config = r#"
        [service.app]
        command = "sleep 1000"
        on_unhealthy = "ignore"
        essential = false
        health = { exec = "sh -c 'seq 5000; echo the reason; exit 4'", interval = "50ms", retries = 1 }
        "#;
    let mut init = Setup::new(config).start();
    init.wait_for("app: unhealthy: `sh -c");
    let why = init.ask_ok(&["why", "app"]);
    assert!(why.contains("exit 4: the reason\n"), "{why}");
    assert!(why.contains("\n  4999\n  5000\n  the reason\n"), "{why}");
    assert!(!why.contains("\n  4000\n"), "only the end: {why}");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn so_many_good_answers_in_a_row_are_wanted_as_it_says() {
    let setup = Setup::without_config();
    let count = setup.path("count");
    // Good, good, bad, and good from then on.
    let config = format!(
        "[service.app]\ncommand = \"sleep 1000\"\n\
         health = {{ exec = \"sh -c 'echo >> {count}; test $(wc -l < {count}) -ne 3'\", \
         interval = \"20ms\", successes = 3, retries = 100 }}\n"
    );
    std::fs::write(setup.path("holdall.toml"), config).expect("write");
    let path = setup.path("holdall.toml");
    let mut init = setup.args(&["--config", &path]).start();
    init.wait_for("app: ready");
    let asked = std::fs::read_to_string(&count).expect("it").lines().count();
    assert!(asked >= 6, "{asked}");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn health_of_an_init_that_is_not_there_or_hangs_is_no() {
    let mut init = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n").start();
    init.wait_for_socket();
    init.signal(nix::sys::signal::Signal::SIGSTOP);
    let asked = init.ask(&["health", "--live"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("does not answer"));
    init.signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(init.stop(), Some(0));
    let asked = init.ask(&["health", "--live"]);
    assert_eq!(
        asked.status.code(),
        Some(1),
        "never 2, which docker reserves"
    );
    assert!(String::from_utf8_lossy(&asked.stderr).contains("no init answers"));
}
