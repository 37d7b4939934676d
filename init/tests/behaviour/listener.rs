//! The listener of `[init]`: what it answers, to whom, and what it is.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use holdall_protocol::control::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Init, Setup, eventually};

const NAME: &str = "holdall-listener";

/// A port of loopback that was free a moment ago.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// An init with these services and a listener on a port.
pub(crate) fn with_listener(services: &str) -> (Init, u16) {
    let port = port();
    let config = format!("[init]\nlistener = \"127.0.0.1:{port}\"\n{services}");
    let init = Setup::new(&config).start();
    init.wait_for_socket();
    (init, port)
}

pub(crate) const SERVICES: &str = r#"
    [service.app]
    command = "sleep 1000"
    [service.ill]
    command = "sh -c 'exit 3'"
    type = "oneshot"
    essential = false
    restart = "never"
"#;

#[test]
fn metrics_count_what_services_write_and_what_their_probes_answer() {
    let services = r#"
        [service.app]
        command = "sh -c 'echo one; echo two; echo bad >&2; printf %020000d 0; echo; exec sleep 1000'"
        health = { exec = "sleep 0.05", interval = "100ms" }
        [service.sick]
        command = "sleep 1000"
        health = { file = "/nowhere/at/all", interval = "100ms", retries = 1000 }
    "#;
    let (mut init, port) = with_listener(services);
    let value = |text: &str, series: &str| -> f64 {
        let found = text.lines().find_map(|line| line.strip_prefix(series));
        let found = found.unwrap_or_else(|| panic!("{series} in {text}"));
        found.trim().parse().expect("a number")
    };
    eventually("everything is counted", || {
        let text = get(port, "/metrics").body;
        let log = |what, stream| {
            let labels = format!("{{service=\"app\",stream=\"{stream}\"}}");
            value(&text, &format!("holdall_service_log_{what}_total{labels}"))
        };
        let asked = |service| text.contains(&format!("probes_total{{service=\"{service}\""));
        if log("lines", "stdout") < 3.0 || !asked("sick") || !asked("app") {
            return None;
        }
        // The long line came in pieces.
        assert_eq!(
            (log("lines", "stdout"), log("bytes", "stdout")),
            (3.0, 20_009.0)
        );
        assert_eq!((log("lines", "stderr"), log("bytes", "stderr")), (1.0, 4.0));
        let probes = |service, result| {
            let labels = format!("{{service=\"{service}\",result=\"{result}\"}}");
            value(&text, &format!("holdall_service_probes_total{labels}"))
        };
        assert_eq!(probes("sick", "good"), 0.0);
        assert!(probes("sick", "failed") >= 1.0, "{text}");
        let good = probes("app", "good");
        assert_eq!(probes("app", "failed"), 0.0);
        let took = value(
            &text,
            "holdall_service_probe_seconds_total{service=\"app\"}",
        );
        assert!(took >= good * 0.049, "{good} took {took}");
        (good >= 2.0).then_some(())
    });
    assert_eq!(init.stop(), Some(0));
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("init listens");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("a socket");
    stream.set_write_timeout(patience).expect("a socket");
    stream
}

/// Sends raw bytes; what comes back until the end.
fn send(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port);
    // It may have been refused before the last byte of it.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("text")
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn split(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

fn get(port: u16, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: box\r\n\r\n");
    let answer = split(&send(port, request.as_bytes()));
    let length = format!("Content-Length: {}\r\n", answer.body.len());
    assert!(answer.head.contains(&length), "{}", answer.head);
    answer
}

fn pid(init: &Init) -> i32 {
    let pid = eventually("the listener runs", || init.pid_of(NAME));
    i32::try_from(pid).expect("a pid")
}

#[test]
fn probes_metrics_and_the_page_say_how_the_services_are() {
    let (mut init, port) = with_listener(SERVICES);
    eventually("the ill one is given up", || {
        let services = init.status().services;
        let ill = services.iter().find(|s| s.name.as_str() == "ill")?;
        (ill.state == State::Fatal).then_some(())
    });
    for path in ["/healthz", "/readyz", "/livez"] {
        let answer = eventually("the answer is of now", || {
            Some(get(port, path)).filter(|answer| answer.status == 200)
        });
        assert_eq!(answer.body, "ok\n", "{path}");
    }
    let verbose = get(port, "/readyz?verbose").body;
    for line in ["[+]app ready", "[-]ill fatal", "readyz check passed"] {
        assert!(verbose.contains(line), "{verbose}");
    }
    let metrics = get(port, "/metrics");
    assert!(metrics.head.contains("text/plain; version=0.0.4"));
    for sample in [
        "holdall_ready 1\n",
        "holdall_service_state{service=\"ill\",state=\"fatal\"} 1\n",
        "holdall_service_last_exit_code{service=\"ill\"} 3\n",
        "holdall_service_restarts_total{service=\"app\"} 0\n",
        "holdall_service_process_resident_bytes{service=\"app\"} ",
    ] {
        assert!(
            metrics.body.contains(sample),
            "{sample:?} in {}",
            metrics.body
        );
    }
    let page = get(port, "/");
    assert!(
        page.head
            .contains("Content-Security-Policy: default-src 'none'")
    );
    assert!(page.body.contains("<td>app</td>") && page.body.contains(">fatal</span>"));
    let head = split(&send(port, b"HEAD / HTTP/1.1\r\nHost: box\r\n\r\n"));
    assert!(head.status == 200 && head.body.is_empty());
    assert!(!head.head.contains("Content-Length: 0"));
    assert_eq!(get(port, "/etc/passwd").status, 404);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_service_that_fails_its_probe_turns_readiness_and_liveness_to_503() {
    let (mut init, port) = with_listener(
        r#"
        [service.app]
        command = "sleep 1000"
        health = { exec = "test ! -e SICK", interval = "50ms", retries = 1 }
        on_unhealthy = "ignore"
        "#
        .replace("SICK", "/proc/self/cwd/none")
        .as_str(),
    );
    let wait = |path: &str, status: u16| {
        eventually(&format!("{path} is {status}"), || {
            Some(get(port, path)).filter(|answer| answer.status == status)
        })
    };
    wait("/readyz", 200);
    init.ask_ok(&["stop", "app"]);
    let body = wait("/readyz", 503).body;
    assert!(
        body.contains("readyz check failed: `app` is stopped"),
        "{body}"
    );
    assert_eq!(get(port, "/livez").status, 200);
    init.ask_ok(&["start", "app"]);
    wait("/readyz", 200);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn it_is_nobody_without_privileges_descriptors_or_an_environment() {
    let (mut init, port) = with_listener(SERVICES);
    assert_eq!(get(port, "/livez").status, 200);
    let pid = pid(&init);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a field").trim().to_owned()
    };
    let nobody = ["65534"; 4].join("\t");
    assert_eq!((field("Uid:"), field("Gid:")), (nobody.clone(), nobody));
    assert_eq!(field("Groups:"), "");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    let env = fs::read_to_string(format!("/proc/{pid}/environ")).expect("it runs");
    assert!(
        !env.contains("HOLDALL_TEST") && !env.contains("PATH"),
        "{env:?}"
    );
    // 0 to 2, two that it was given, its epoll.
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .count();
    assert_eq!(open, 6);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let words: Vec<String> = line
            .expect("a limit")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        words[1].clone()
    };
    assert_eq!(limit("Max processes"), "0");
    assert_eq!(limit("Max file size"), "0");
    assert_eq!(limit("Max core file size"), "0");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn it_is_started_again_and_its_socket_loses_nobody_meanwhile() {
    let (mut init, port) = with_listener(SERVICES);
    assert_eq!(get(port, "/livez").status, 200);
    let first = pid(&init);
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("it was alive");
    // It waits in the backlog until the next one is there.
    assert_eq!(get(port, "/livez").status, 200);
    assert_ne!(pid(&init), first);
    assert!(init.ask_ok(&["logs", NAME]).contains("restart 1"));
    assert_eq!(init.stop(), Some(0));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn garbage_is_refused_and_harms_nobody() {
    let (mut init, port) = with_listener(SERVICES);
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(10_000));
    let wide = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n", "b".repeat(20_000));
    for (bytes, status) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
            400,
        ),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
            405,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
            413,
        ),
        (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (long.as_bytes(), 414),
        (wide.as_bytes(), 431),
    ] {
        let answer = split(&send(port, bytes));
        assert_eq!(
            answer.status,
            status,
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    // One that says nothing, or half of it, and hangs up.
    for bytes in [&b""[..], b"GET / HT"] {
        let mut stream = connect(port);
        stream.write_all(bytes).expect("it reads");
        stream.shutdown(Shutdown::Write).expect("a socket");
        let mut rest = Vec::new();
        assert_eq!(stream.read_to_end(&mut rest).expect("the end"), 0);
    }
    assert_eq!(get(port, "/livez").status, 200);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn three_hundred_slow_ones_keep_nobody_from_an_answer() {
    let (mut init, port) = with_listener(SERVICES);
    assert_eq!(get(port, "/livez").status, 200);
    let first = pid(&init);
    let mut slow: Vec<TcpStream> = (0..300).map(|_| connect(port)).collect();
    for round in 0..20 {
        for stream in &mut slow {
            // Some were hung up on to make room.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a"[round..=round].as_ref());
        }
        assert_eq!(get(port, "/livez").status, 200, "round {round}");
        assert_eq!(init.ask(&["health"]).status.code(), Some(0));
    }
    assert_eq!(pid(&init), first, "it went on");
    // What is never whole is hung up on in the end, without an answer.
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn it_comes_goes_and_moves_with_a_reload() {
    let (one, other) = (port(), port());
    let config =
        |listener: &str| format!("[init]\n{listener}\n[service.app]\ncommand = \"sleep 1000\"\n");
    let mut init = Setup::new(&config("")).start();
    init.wait_for_socket();
    let file = init.path("holdall.toml");
    let reload = |listener: &str| {
        fs::write(&file, config(listener)).expect("write");
        init.ask_ok(&["reload"])
    };
    let app = init.pid_of("app");
    let said = reload(&format!("listener = \"127.0.0.1:{one}\""));
    assert!(said.contains("holdall-listener: is new"), "{said}");
    assert_eq!(get(one, "/livez").status, 200);
    let said = reload(&format!(
        "listener = {{ at = \"127.0.0.1:{other}\", user = \"daemon\" }}"
    ));
    assert!(
        said.contains("holdall-listener: is started again"),
        "{said}"
    );
    eventually("it has moved", || {
        TcpStream::connect(("127.0.0.1", other)).ok()
    });
    assert_eq!(get(other, "/livez").status, 200);
    eventually("the first is closed", || {
        TcpStream::connect(("127.0.0.1", one))
            .is_err()
            .then_some(())
    });
    let status = fs::read_to_string(format!("/proc/{}/status", pid(&init))).expect("it runs");
    assert!(!status.contains("65534"), "{status}");
    let said = reload("");
    assert!(said.contains("holdall-listener: is gone"), "{said}");
    eventually("it is closed", || {
        TcpStream::connect(("127.0.0.1", other))
            .is_err()
            .then_some(())
    });
    assert_eq!(init.pid_of("app"), app, "the app was not touched");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn it_listens_on_a_unix_socket_too() {
    let setup = Setup::without_config();
    let socket = setup.path("status.sock");
    let file = setup.path("holdall.toml");
    let config =
        format!("[init]\nlistener = \"{socket}\"\n[service.a]\ncommand = \"sleep 1000\"\n");
    fs::write(&file, config).expect("write");
    let mut init = setup.args(&["--config", &file]).start();
    init.wait_for_socket();
    let mut stream = UnixStream::connect(&socket).expect("init listens");
    stream
        .write_all(b"GET /livez HTTP/1.0\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn an_init_that_hangs_is_not_alive_and_comes_back() {
    let (mut init, port) = with_listener(SERVICES);
    assert_eq!(get(port, "/livez").status, 200);
    init.signal(Signal::SIGSTOP);
    let answer = eventually("liveness is lost", || {
        Some(get(port, "/livez")).filter(|answer| answer.status == 503)
    });
    assert!(
        answer.body.contains("init does not answer"),
        "{}",
        answer.body
    );
    assert_eq!(get(port, "/metrics").status, 503);
    assert!(get(port, "/").body.contains("init does not answer"));
    init.signal(Signal::SIGCONT);
    eventually("it is alive again", || {
        (get(port, "/livez").status == 200).then_some(())
    });
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_thousand_services_are_shown_and_measured() {
    let mut services = String::new();
    for number in 0..1000 {
        services.push_str(&format!(
            "[service.service-{number}]\ncommand = \"true\"\nstart = \"manual\"\n"
        ));
    }
    let (mut init, port) = with_listener(&services);
    let metrics = get(port, "/metrics").body;
    let states = metrics
        .lines()
        .filter(|line| line.contains("state=\"stopped\"} 1"));
    assert_eq!(states.count(), 1000);
    let page = get(port, "/").body;
    assert!(page.contains("<td>service-999</td>"));
    assert_eq!(init.stop(), Some(0));
}
