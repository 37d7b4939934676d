//! Lines on their way out.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use holdall_protocol::log::{LogRecord, Stream};
use nix::sys::signal::Signal;

use crate::world::{INIT, Setup, eventually, program};

#[test]
fn lines_carry_the_name_of_their_service_and_stay_whole() {
    let mut init = Setup::new(
        r#"
        [service.a]
        command = "sh -c 'printf one; printf two\\\\n; echo err >&2; printf tail; exit 0'"
        restart = "never"
        [service.longer]
        command = "sleep 1000"
        "#,
    )
    .start();
    init.wait_for("a      | onetwo\n");
    init.wait_for("a      | err\n");
    init.wait_for("a      | tail\n");
    init.wait_for("init   | ready");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn nothing_is_lost_while_somebody_reads() {
    let mut init = Setup::new(
        r#"
        [service.app]
        type = "oneshot"
        command = "seq 300000"
        [service.other]
        command = "sleep 1000"
        "#,
    )
    .start();
    init.wait_for_socket();
    init.wait_for("| 300000\n");
    let lines = init.seen.lines();
    let lines = lines.filter_map(|line| line.strip_prefix("app   | "));
    for (number, line) in (1..=300_000).zip(lines) {
        assert_eq!(line, number.to_string());
    }
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_blocked_sink_stops_nobody_and_its_reader_is_told_what_it_missed() {
    let config = r#"
        [service.app]
        type = "oneshot"
        command = "seq 1000000"
        [service.next]
        command = "sleep 1000"
        depends_on = ["app"]
    "#;
    let mut init = Setup::new(config).start();
    init.wait_for_socket();
    let mut output = init.leave_output();
    eventually("a million lines are written", || {
        init.pid_of("next").map(drop)
    });
    init.signal(Signal::SIGTERM);
    let mut text = String::new();
    output.read_to_string(&mut text).expect("text");
    assert_eq!(init.wait().0.code(), Some(0));
    assert!(text.contains("lines of the log dropped"), "{}", text.len());
    assert!(text.contains("init | stopping"));
}

#[test]
fn a_log_reader_that_dies_stops_nobody() {
    let config = r#"
        [service.app]
        type = "oneshot"
        command = "seq 100000"
        [service.next]
        command = "sleep 1000"
        depends_on = ["app"]
    "#;
    let mut init = Setup::new(config).start();
    init.wait_for_socket();
    drop(init.leave_output());
    eventually("all lines are written", || init.pid_of("next").map(drop));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn the_flags_of_an_inherited_stdout_are_left_alone() {
    let (read, write) = std::io::pipe().expect("a pipe");
    let copy = write.try_clone().expect("a copy");
    let mut init = Setup::new("[service.app]\ncommand = \"sh -c 'echo runs; exec sleep 1000'\"\n")
        .stdout(Stdio::from(write))
        .start();
    let mut lines = BufReader::new(read).lines();
    assert!(lines.any(|line| line.expect("text").contains("runs")));
    let flags = nix::fcntl::fcntl(&copy, nix::fcntl::FcntlArg::F_GETFL).expect("open");
    assert_eq!(flags & libc::O_NONBLOCK, 0);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_log_line_without_end_is_cut_and_its_pieces_say_so() {
    let mut init = Setup::new(
        r#"
        [service.app]
        type = "oneshot"
        command = "/usr/bin/python3 -c 'print(20000 * \"Q\")'"
        [service.other]
        command = "sleep 1000"
        "#,
    )
    .start();
    init.wait_for("Q …\n");
    let place = init.wait_from(0, "Q …\n");
    init.wait_from(place, "Q\n");
    let text = init.ask_ok(&["logs", "app"]);
    assert_eq!(text.matches('Q').count(), 20_000);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn the_ring_is_shown_by_service_by_number_and_as_it_grows() {
    let mut init = Setup::new(
        r#"
        [service.a]
        command = "sh -c 'seq 5; exec sleep 1000'"
        [service.b]
        command = "sh -c 'echo b speaks; read x; exec sleep 1000'"
        depends_on = ["a"]
        "#,
    )
    .start();
    init.wait_for("b speaks");
    init.wait_for("a    | 5\n");
    let two = init.ask_ok(&["logs", "-n", "2", "a"]);
    assert!(
        two.lines().count() == 2 && !two.contains("b speaks"),
        "{two}"
    );
    let all = init.ask_ok(&["logs"]);
    assert!(
        all.contains("a    | 1\n") && all.contains("b    | b speaks"),
        "{all}"
    );
    let mut follow = std::process::Command::new(INIT);
    follow
        .arg("--run-dir")
        .arg(&init.run_dir)
        .args(["logs", "-f", "-n", "0", "a"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().expect("start");
    let output = follow.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(output).lines();
    // It is connected once this comes, whenever that is.
    eventually("the follower has its first line", || {
        init.ask_ok(&["restart", "a"]);
        let line = lines.next().expect("it goes on").expect("text");
        line.contains("a").then_some(())
    });
    assert_eq!(init.stop(), Some(0));
    drop(lines);
    follow.wait().expect("a child");
}

#[test]
fn a_log_descriptor_of_its_own_gets_records_and_stdout_nothing() {
    let setup = Setup::new(
        r#"
        [service.app]
        command = "sh -c 'echo \"init | not from init\"; echo oops >&2; exec sleep 1000'"
        "#,
    );
    let fifo = setup.path("log");
    let made = std::process::Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .expect("start");
    assert!(made.success());
    let reader = File::options()
        .read(true)
        .write(true)
        .open(&fifo)
        .expect("a fifo");
    let helper = program("handing.py");
    let mut init = setup.by(&["/usr/bin/python3", &helper, &fifo, "-"]).start();
    let mut lines = BufReader::new(reader).lines();
    let mut next = || -> LogRecord {
        serde_json::from_str(&lines.next().expect("open").expect("text")).expect("a record")
    };
    let mut wait = |text: &str| loop {
        let record = next();
        if record.text.contains(text) {
            break record;
        }
    };
    let record = wait("not from init");
    assert_eq!(
        record.service.as_ref().map(|name| name.as_str()),
        Some("app")
    );
    assert_eq!(record.stream, Stream::Stdout);
    assert!(record.time > 1_700_000_000_000_000);
    assert_eq!(wait("oops").stream, Stream::Stderr);
    init.signal(Signal::SIGTERM);
    assert_eq!(wait("stopping").stream, Stream::Init);
    assert_eq!(init.wait().0.code(), Some(0));
    assert_eq!(init.seen, "");
}
