//! What services say of themselves: that they are ready, alive, about to end.

use std::fs;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::world::{Init, Setup, alive, eventually, program};

/// A service `app` that takes these steps, with more keys.
fn saying(steps: &[&str], keys: &str) -> Setup {
    let setup = Setup::without_config();
    let dir = setup.dir.path().display().to_string();
    let steps: Vec<String> = steps
        .iter()
        .map(|step| format!("{:?}", step.replace("DIR", &dir)))
        .collect();
    let config = format!(
        "[service.app]\ncommand = [\"/usr/bin/python3\", {:?}, {}]\n\
         backoff = {{ initial = \"10ms\", max = \"20ms\" }}\n{keys}\n",
        setup.path("saying.py"),
        steps.join(", ")
    );
    // Other users may not be let into the folder of this tree.
    fs::copy(program("saying.py"), setup.path("saying.py")).expect("copy");
    fs::write(setup.path("holdall.toml"), config).expect("write");
    for name in ["go", "on"] {
        mkfifo(setup.path(name).as_str(), Mode::from_bits_truncate(0o666)).expect("a FIFO");
    }
    let path = setup.path("holdall.toml");
    setup.args(&["--config", &path])
}

/// Lets a service that waits `until:DIR/NAME` go on.
fn go(init: &Init, name: &str) {
    fs::write(init.path(name), "").expect("write");
}

fn state(init: &Init) -> String {
    let status = init.status();
    let app = status.services.first().expect("a service");
    format!("{:?}", app.state).to_lowercase()
}

fn says(init: &Init) -> Option<String> {
    let status = init.status();
    status.services.first().expect("a service").status.clone()
}

const NOTIFY: &str = "ready = \"notify\"";

#[test]
fn a_service_is_ready_when_it_says_so() {
    let steps = [
        "STATUS=warming up",
        "barrier",
        "until:DIR/go",
        "READY=1|STATUS=serves",
        "stay",
    ];
    let mut init = saying(&steps, NOTIFY).start();
    init.wait_for("heeded");
    assert_eq!(state(&init), "starting");
    assert_eq!(says(&init).as_deref(), Some("warming up"));
    assert!(init.ask_ok(&["ps"]).contains("warming up"));
    let asked = init.ask(&["health", "--ready"]);
    assert_eq!(asked.status.code(), Some(1));
    go(&init, "go");
    init.wait_for("app: ready");
    assert_eq!(says(&init).as_deref(), Some("serves"));
    assert!(init.ask_ok(&["why", "app"]).contains("it says: serves"));
    assert_eq!(init.ask(&["health", "--ready"]).status.code(), Some(0));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_descriptor_of_its_choice_is_where_it_writes_a_line_and_nothing_less() {
    let steps = ["fd:7:al", "until:DIR/go", "fd:7:most|", "stay"];
    let mut init = saying(&steps, "ready = { fd = 7 }").start();
    init.wait_for_socket();
    assert_eq!(state(&init), "starting");
    go(&init, "go");
    init.wait_for("app: ready");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_descriptor_that_is_closed_without_a_line_is_told_of() {
    let steps = ["fd:3:x", "close:3", "stay"];
    let mut init = saying(&steps, "ready = { fd = 3 }\non_unhealthy = \"ignore\"").start();
    init.wait_for("closed the descriptor of its `ready` without a line");
    assert_eq!(state(&init), "starting");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_descriptor_beside_sockets_comes_after_them_and_nothing_else_is_open() {
    let steps = ["given", "fd:9:x|", "stay"];
    let keys = "listen = [\"DIR/one.sock\"]\nready = { fd = 9 }";
    let setup = saying(&steps, "");
    let dir = setup.dir.path().display().to_string();
    let path = setup.path("holdall.toml");
    let config =
        fs::read_to_string(&path).expect("it") + &keys.replace("DIR/", &format!("one={dir}/"));
    fs::write(&path, config).expect("write");
    let mut init = setup.start();
    init.wait_for("given 1: one");
    init.wait_for("app: ready");
    let pid = init.pid_of("app").expect("it runs");
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
    let mut fds: Vec<i32> = fds
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    fds.sort_unstable();
    assert_eq!(fds, [0, 1, 2, 3, 9]);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_line_of_the_log_that_fits_makes_it_ready() {
    let steps = [
        "print:port 80 is taken",
        "until:DIR/go",
        "print:listening on port 8080",
        "stay",
    ];
    let mut init = saying(&steps, "ready = { log = \"listening*80\" }").start();
    init.wait_for("is taken");
    assert_eq!(state(&init), "starting");
    go(&init, "go");
    init.wait_for("app: ready");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_probe_of_ready_is_asked_before_that_of_health() {
    let steps = ["until:DIR/go", "stay"];
    let setup = saying(&steps, "");
    let path = setup.path("holdall.toml");
    let flag = setup.path("flag");
    let config = fs::read_to_string(&path).expect("it")
        + &format!(
            "ready = {{ file = \"{flag}\" }}\n\
             health = {{ exec = \"test -e {flag}\", interval = \"50ms\", retries = 1 }}\n"
        );
    fs::write(&path, config).expect("write");
    let mut init = setup.start();
    init.wait_for_socket();
    let reason = format!("file {flag}: no such file");
    eventually("the probe has failed", || {
        let why = init.ask_ok(&["why", "app"]);
        why.contains(&reason).then_some(())
    });
    fs::write(&flag, "").expect("write");
    init.wait_for("app: ready");
    fs::remove_file(&flag).expect("remove");
    init.wait_for("app: unhealthy: `test -e");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn one_that_is_not_ready_in_time_is_started_again() {
    let keys = "ready = { notify = true, timeout = \"300ms\" }\ngive_up = { failures = 3 }";
    let mut init = saying(&["stay"], keys).start();
    init.wait_for("app: unhealthy: not ready within 3");
    init.wait_for("given up after 3 failures");
    assert_eq!(init.wait().0.code(), Some(143), "TERM ended it");
}

#[test]
fn a_message_of_a_process_that_is_gone_is_heeded() {
    // Its sender is a zombie, and then the main process is one.
    let setup = saying(&["child:READY=1|STATUS=by a child", "stay"], NOTIFY);
    let mut init = setup.start();
    init.wait_for("app: ready");
    assert_eq!(says(&init).as_deref(), Some("by a child"));
    assert_eq!(init.stop(), Some(0));
    let mut init = saying(&["READY=1"], &format!("{NOTIFY}\nrestart = \"never\"")).start();
    assert_eq!(init.wait().0.code(), Some(0));
    assert!(init.seen.contains("app: ready"), "{}", init.seen);
}

#[test]
fn a_message_of_a_process_that_is_reaped_before_it_is_read_is_heeded() {
    let steps = [
        "until:DIR/go",
        "reaped:READY=1|STATUS=by a child",
        "until:DIR/on",
        "stay",
    ];
    let mut init = saying(&steps, NOTIFY).start();
    init.wait_for_socket();
    eventually("it runs", || init.pid_of("app"));
    // While init hears nothing its sender speaks, ends and is waited for.
    init.signal(Signal::SIGSTOP);
    go(&init, "go");
    go(&init, "on");
    init.signal(Signal::SIGCONT);
    init.wait_for("app: ready");
    assert_eq!(says(&init).as_deref(), Some("by a child"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn who_left_the_session_is_of_the_service_and_a_stranger_is_not() {
    let steps = [
        "grandchild:STATUS=from afar",
        "env:NOTIFY_SOCKET",
        "until:DIR/go",
        "READY=1",
        "stay",
    ];
    let mut init = saying(&steps, NOTIFY).start();
    let line = init.line_with("NOTIFY_SOCKET is @");
    eventually("the grandchild is heard", || {
        says(&init).filter(|words| words == "from afar")
    });
    let name = line.strip_prefix("NOTIFY_SOCKET is @").expect("a name");
    let address = {
        use std::os::linux::net::SocketAddrExt;
        std::os::unix::net::SocketAddr::from_abstract_name(name).expect("an address")
    };
    let stranger = UnixDatagram::unbound().expect("a socket");
    stranger.send_to_addr(b"READY=1", &address).expect("sent");
    init.wait_for("is not heeded: it is none of its own");
    assert_eq!(state(&init), "starting");
    go(&init, "go");
    init.wait_for("app: ready");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn any_user_can_say_it_without_a_folder_to_write_to() {
    let setup = saying(
        &["READY=1", "barrier", "stay"],
        &format!("{NOTIFY}\nuser = \"65534\""),
    );
    fs::set_permissions(
        setup.dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("its own folder");
    let mut init = setup.start();
    init.wait_for("heeded");
    init.wait_for("app: ready");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_watchdog_that_falls_silent_is_found_and_one_that_speaks_is_left_alone() {
    let steps = [
        "env:WATCHDOG_USEC",
        "env:WATCHDOG_PID",
        "READY=1",
        "alive:50",
        "stay",
    ];
    let keys = format!("{NOTIFY}\nwatchdog = \"2s\"\nstop = {{ timeout = \"300ms\" }}");
    let mut init = saying(&steps, &keys).start();
    init.wait_for("WATCHDOG_USEC is 2000000");
    let pid = init.number_after("WATCHDOG_PID is ");
    let place = init.wait_from(0, "app: ready");
    assert_eq!(
        init.pid_of("app").and_then(|pid| pid.try_into().ok()),
        Some(pid)
    );
    init.ask_ok(&["signal", "STOP", "app"]);
    init.wait_from(place, "app: unhealthy: no WATCHDOG=1 within 2s");
    init.wait_from(place, "app: ready");
    assert!(!alive(pid));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn one_that_says_it_is_stuck_says_so_in_why() {
    let steps = ["READY=1", "until:DIR/go", "WATCHDOG=trigger", "stay"];
    let keys = format!("{NOTIFY}\non_unhealthy = \"ignore\"");
    let mut init = saying(&steps, &keys).start();
    init.wait_for("app: ready");
    go(&init, "go");
    init.wait_for("app: unhealthy: says that it is stuck");
    let why = init.ask_ok(&["why", "app"]);
    assert!(
        why.contains("says that it is stuck (WATCHDOG=trigger)"),
        "{why}"
    );
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn one_that_stops_by_itself_is_not_ready_any_more() {
    let steps = ["READY=1", "until:DIR/go", "STOPPING=1", "until:DIR/on"];
    let mut init = saying(&steps, NOTIFY).start();
    let place = init.wait_from(0, "app: ready");
    go(&init, "go");
    eventually("it stops", || (state(&init) == "stopping").then_some(()));
    go(&init, "on");
    init.wait_from(place, "app: ready");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_reload_that_it_tells_of_is_shown_and_it_stays_ready() {
    let steps = [
        "READY=1",
        "RELOADING=1|MONOTONIC_USEC=1",
        "barrier",
        "until:DIR/go",
        "READY=1",
        "barrier",
        "print:done",
        "stay",
    ];
    let mut init = saying(&steps, NOTIFY).start();
    init.wait_for("heeded");
    assert_eq!(
        (state(&init).as_str(), says(&init).as_deref()),
        ("ready", Some("reloading"))
    );
    go(&init, "go");
    init.wait_for("done");
    assert_eq!(says(&init), None);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn another_main_process_lives_on_when_the_first_is_gone_and_its_end_is_the_end() {
    let steps = ["main", "READY=1", "until:DIR/go", "print:ends"];
    let mut init = saying(&steps, &format!("{NOTIFY}\nrestart = \"never\"")).start();
    let main = init.number_after("main is ");
    init.wait_for("app: ready");
    eventually("the first one is gone", || {
        let children = fs::read_to_string(format!("/proc/{}/task/{0}/children", init.pid()));
        children
            .is_ok_and(|line| line.trim() == main.to_string())
            .then_some(())
    });
    assert_eq!(
        init.pid_of("app").and_then(|pid| pid.try_into().ok()),
        Some(main)
    );
    assert_eq!(state(&init), "ready");
    go(&init, "go");
    assert_eq!(init.wait().0.code(), Some(0));
    assert!(init.seen.contains("ends"));
}

#[test]
fn a_main_process_that_is_none_of_its_own_is_refused() {
    let own = std::process::id();
    let steps = [&format!("MAINPID={own}"), "READY=1", "barrier", "stay"];
    let mut init = saying(&steps, NOTIFY).start();
    init.wait_for(&format!("process {own} can't be its main one"));
    init.wait_for("heeded");
    assert_ne!(init.pid_of("app"), Some(own));
    assert_eq!(init.stop(), Some(0), "and is not signalled");
}

#[test]
fn stored_descriptors_come_back_after_a_crash_and_not_after_a_stop() {
    let steps = ["given", "store:pipe", "READY=1", "barrier", "stay"];
    let mut init = saying(&steps, NOTIFY).start();
    let mut place = init.wait_from(0, "given 0: -");
    place = init.wait_from(place, "heeded");
    init.ask_ok(&["signal", "KILL", "app"]);
    place = init.wait_from(place, "given 2: pipe:pipe-end");
    place = init.wait_from(place, "in it: kept");
    place = init.wait_from(place, "heeded");
    init.ask_ok(&["stop", "app"]);
    init.ask_ok(&["start", "app"]);
    init.wait_from(place, "given 0: -");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn stored_descriptors_are_bounded_taken_back_and_gone_when_they_hang_up() {
    let steps = [
        "given",
        "stores:60",
        "stores:60",
        "FDSTOREREMOVE=1|FDNAME=many",
        "stores:3",
        "READY=1",
        "barrier",
        "until:DIR/go",
    ];
    let mut init = saying(&steps, NOTIFY).start();
    init.wait_for("a descriptor is not stored: there are too many");
    init.wait_for("app: ready");
    go(&init, "go");
    init.wait_for("given 3: many:many:many");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_flood_of_one_service_delays_nobody() {
    let setup = saying(&["READY=1", "flood"], NOTIFY);
    let path = setup.path("holdall.toml");
    let config = fs::read_to_string(&path).expect("it")
        + "[service.other]\ncommand = \"sleep 1000\"\nbackoff = { initial = \"1ms\", max = \"1ms\" }\n\
           give_up = { failures = 0 }\n";
    fs::write(&path, config).expect("write");
    let mut init = setup.start();
    init.wait_for("app: ready");
    let mut place = init.wait_from(0, "other: ready");
    for _ in 0..10 {
        init.ask_ok(&["signal", "KILL", "other"]);
        place = init.wait_from(place, "other: ready");
    }
    let resident = fs::read_to_string(format!("/proc/{}/status", init.pid())).expect("it lives");
    let line = resident
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .expect("a line");
    let kilobytes: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert!(kilobytes < 40_000, "{line}");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn garbage_and_what_is_too_long_is_not_heeded_and_told_of_once() {
    let long = "x".repeat(5000);
    let steps = [
        long.as_str(),
        long.as_str(),
        "NONSENSE",
        "=|=|",
        "READY=1",
        "barrier",
        "stay",
    ];
    let mut init = saying(&steps, NOTIFY).start();
    init.wait_for("heeded");
    init.wait_for("app: ready");
    assert_eq!(init.seen.matches("too long").count(), 1, "{}", init.seen);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn the_engine_is_told_that_the_box_is_ready_and_that_it_stops() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("engine.sock");
    let engine = UnixDatagram::bind(&path).expect("a socket");
    engine
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .expect("a limit");
    let hear = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let read = engine.recv(&mut buffer).expect("a message in time");
            let said = String::from_utf8_lossy(buffer.get(..read).expect("read")).into_owned();
            if said == wanted {
                return;
            }
        }
    };
    let setup = saying(&["until:DIR/go", "READY=1", "stay"], NOTIFY);
    let mut init = setup
        .env("NOTIFY_SOCKET", path.to_str().expect("text"))
        .start();
    init.wait_for_socket();
    go(&init, "go");
    hear("READY=1\n");
    hear("STATUS=ready\n");
    init.signal(nix::sys::signal::Signal::SIGTERM);
    hear("STOPPING=1\n");
    assert_eq!(init.wait().0.code(), Some(0));
}

#[test]
fn redis_says_itself_that_it_is_ready() {
    let setup = Setup::without_config();
    let socket = setup.path("redis.sock");
    let config = format!(
        "[service.redis]\ncommand = \"redis-server --supervised systemd --port 0 \
         --unixsocket {socket} --save '' --dir {}\"\nready = \"notify\"\n\
         health = {{ exec = \"redis-cli -s {socket} ping\", interval = \"1s\" }}\n",
        setup.dir.path().display()
    );
    fs::write(setup.path("holdall.toml"), config).expect("write");
    let path = setup.path("holdall.toml");
    let mut init = setup.args(&["--config", &path]).start();
    init.wait_for("redis: ready");
    assert_eq!(says(&init).as_deref(), Some("Ready to accept connections"));
    assert_eq!(init.stop(), Some(0));
}
