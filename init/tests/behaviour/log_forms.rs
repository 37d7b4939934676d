//! The forms that lines have, who is told what, and who waits for whom.

use std::io::Read;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::world::{Init, Setup, eventually};

const SAYS: &str = r#"
    [service.app]
    command = "sh -c 'echo one; printf two; echo said >&2; exec sleep 1000'"
    [service.longer]
    command = "sleep 1000"
"#;

fn setup(first: &str) -> Setup {
    Setup::new(&format!("{first}\n{SAYS}"))
}

#[test]
fn prefix_with_timestamps_has_the_time_first() {
    let mut init = setup("[init]\nlog = { format = \"prefix\", timestamps = true }").start();
    init.wait_for("app    | said\n");
    init.wait_for("init   | ready");
    assert_eq!(init.stop(), Some(0));
    for line in init.seen.lines() {
        let (time, rest) = line.split_once(' ').expect("two words");
        let time: holdall_protocol::Moment = time.parse().expect("a time");
        assert!(
            time.0 > 1_700_000_000_000_000 && rest.contains(" | "),
            "{line}"
        );
    }
}

#[test]
fn json_says_time_service_stream_and_text() {
    let mut init = setup("[init]\nlog = \"json\"").start();
    init.wait_for("\"text\":\"said\"");
    init.wait_for("ready after");
    assert_eq!(init.stop(), Some(0));
    let lines: Vec<serde_json::Value> = init
        .seen
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of = |text: &str| {
        let found = lines.iter().find(|line| line["text"] == text);
        found.expect("it was said").clone()
    };
    let one = of("one");
    assert_eq!(
        (&one["service"], &one["stream"]),
        (&"app".into(), &"stdout".into())
    );
    let time = one["time"].as_str().expect("a text");
    assert!(time.parse::<holdall_protocol::Moment>().is_ok(), "{time}");
    assert_eq!(of("stopping")["stream"], "init");
    // Its last line had no end.
    assert_eq!(of("two")["service"], "app");
}

#[test]
fn what_passes_through_is_as_it_came_and_init_still_says_who_it_is() {
    let mut init = setup("[init]\nlog = \"passthrough\"").start();
    init.wait_for("said\n");
    init.wait_for("init   | ready after");
    assert_eq!(init.stop(), Some(0));
    assert!(init.seen.lines().any(|line| line == "one"), "{}", init.seen);
    assert!(init.seen.lines().any(|line| line == "two"), "{}", init.seen);
}

#[test]
fn a_service_has_its_own_form_among_others() {
    let mut init = Setup::new(
        r#"
        [service.app]
        command = "sh -c 'echo plain; exec sleep 1000'"
        [service.json]
        command = "sh -c 'echo counted; exec sleep 1000'"
        log = "json"
        [service.raw]
        command = "sh -c 'echo bare; exec sleep 1000'"
        log = "passthrough"
        "#,
    )
    .start();
    init.wait_for("app  | plain\n");
    init.wait_for("\"service\":\"json\",\"stream\":\"stdout\",\"text\":\"counted\"}\n");
    init.wait_for("bare\n");
    assert_eq!(init.stop(), Some(0));
    assert!(
        init.seen.lines().any(|line| line == "bare"),
        "{}",
        init.seen
    );
}

fn restarts(init: &Init) -> u32 {
    let services = init.status().services;
    let crashes = services.iter().find(|s| s.name.as_str() == "crashes");
    crashes.expect("it is there").restarts
}

/// One that waits and one that doesn't say more than any buffer takes.
const FLOODS: &str = r#"
    [service.waits]
    type = "oneshot"
    command = "seq 400000"
    log = { when_full = "block" }
    [service.has-waited]
    command = "sleep 1000"
    depends_on = { waits = "done" }
    [service.goes-on]
    type = "oneshot"
    command = "seq 400000"
    [service.has-gone-on]
    command = "sleep 1000"
    depends_on = { goes-on = "done" }
"#;

#[test]
fn a_stuck_reader_is_waited_for_by_who_chose_to_and_others_are_told_what_was_dropped() {
    let mut init = Setup::new(FLOODS).start();
    init.wait_for_socket();
    let mut output = init.leave_output();
    eventually("one goes on, as the reader is stuck", || {
        init.pid_of("has-gone-on")
    });
    assert_eq!(init.pid_of("has-waited"), None, "the other one waits");
    let dropped = |name: &str| {
        let services = init.status().services;
        let found = services.into_iter().find(|s| s.name.as_str() == name);
        found.expect("it is there").log_dropped
    };
    assert!(dropped("goes-on") > 100_000, "{}", dropped("goes-on"));
    assert_eq!(dropped("waits"), 0);
    let why = init.ask_ok(&["why", "goes-on"]);
    assert!(why.contains(" lines of its log did not arrive"), "{why}");
    // Now somebody reads, in a thread of its own, to the end.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).expect("text");
        text
    });
    eventually("all is said", || init.pid_of("has-waited"));
    init.signal(Signal::SIGTERM);
    assert_eq!(init.wait().0.code(), Some(0));
    let text = reader.join().expect("a text");
    assert!(text.contains("of the log dropped, as nobody took them: goes-on "));
    let said = text
        .lines()
        .filter_map(|line| line.strip_prefix("waits       | "));
    assert!(
        said.map(str::to_owned)
            .eq((1..=400_000).map(|n: u32| n.to_string()))
    );
}

#[test]
fn a_flood_and_a_stuck_reader_delay_no_restart() {
    let mut init = Setup::new(
        r#"
        [service.flood]
        command = "yes"
        [service.crashes]
        command = "sh -c 'kill $$'"
        backoff = { initial = "1ms", max = "1ms" }
        give_up = { failures = 0 }
        "#,
    )
    .start();
    init.wait_for_socket();
    // While its reader reads,
    eventually("it is restarted under the flood", || {
        (restarts(&init) > 3).then_some(())
    });
    let before = restarts(&init);
    // and while it doesn't.
    let output = init.leave_output();
    eventually("it is restarted again", || {
        (restarts(&init) > before + 20).then_some(())
    });
    drop(output);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_chatty_service_leaves_the_lines_of_a_quiet_one_in_the_ring() {
    let mut init = Setup::new(
        r#"
        [service.quiet]
        command = "sh -c 'echo rare and dear; exec sleep 1000'"
        [service.chatty]
        type = "oneshot"
        command = "seq 1000000"
        depends_on = ["quiet"]
        [service.after]
        command = "sh -c 'echo over; exec sleep 1000'"
        depends_on = { chatty = "done" }
        "#,
    )
    .start();
    init.wait_for("after  | over\n");
    let shown = init.ask_ok(&["logs", "quiet"]);
    assert!(shown.contains("quiet | rare and dear\n"), "{shown}");
    let newest = init.ask_ok(&["logs", "-n", "2", "chatty"]);
    assert!(newest.contains("chatty | 1000000\n"), "{newest}");
    let all = init.ask_ok(&["logs"]);
    assert!(
        all.len() < 1_000_000 && all.contains("rare and dear"),
        "{}",
        all.len()
    );
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn logs_begin_at_a_time_and_show_it_and_are_json_where_asked() {
    let mut init = setup("").start();
    init.wait_for("app    | one\n");
    init.wait_for("init   | ready");
    let stamped = init.ask_ok(&["logs", "-t", "app"]);
    let line = stamped
        .lines()
        .find(|line| line.ends_with("| one"))
        .expect("a line");
    let (time, _) = line.split_once(' ').expect("two words");
    let at: holdall_protocol::Moment = time.parse().expect("a time");
    let since = |time: &str| init.ask_ok(&["logs", "--since", time]);
    assert!(since("1h").contains("| one\n"));
    assert!(since(time).contains("| one\n"));
    assert!(!since("2100-01-01T00:00:00Z").contains('|'));
    let json = init.ask_ok(&["logs", "--format", "json", "app"]);
    let mut records = json
        .lines()
        .map(|line| serde_json::from_str::<holdall_protocol::log::LogRecord>(line).expect("JSON"));
    assert!(records.any(|record| record.text == "one" && record.time == at.0));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn stdout_and_stderr_can_be_opened_by_a_service_of_another_user() {
    // As a shell opens it, as Python's logging does (which looks for the end),
    // as nginx does (for appending), and by the number.
    let mut init = Setup::new(
        r#"
        [service.shell]
        command = "sh -c 'echo out > /dev/stdout; echo err > /dev/stderr; exec sleep 1000'"
        user = "nobody"
        [service.python]
        command = ["python3", "-c", """
import logging, time
logging.basicConfig(filename='/dev/stdout', level='INFO', format='%(message)s')
logging.info('logged')
open('/dev/stderr', 'a').write('appended\\n')
time.sleep(1000)
"""]
        user = "daemon"
        [service.number]
        command = "sh -c 'echo numbered >> /proc/self/fd/1; exec sleep 1000'"
        user = "12345"
        group = "12345"
        "#,
    )
    .start();
    init.wait_for("shell  | out\n");
    init.wait_for("shell  | err\n");
    init.wait_for("python | logged\n");
    init.wait_for("python | appended\n");
    init.wait_for("number | numbered\n");
    assert_eq!(init.stop(), Some(0));
    assert!(!init.seen.contains("Illegal seek"), "{}", init.seen);
    assert!(!init.seen.contains("denied"), "{}", init.seen);
}

#[test]
fn a_pipe_held_by_a_grandchild_after_exit_delays_nothing_and_last_words_come_first() {
    let mut init = Setup::new(
        r#"
        [service.app]
        type = "oneshot"
        command = "sh -c 'sleep 1000 & seq 5000; printf last; exit 0'"
        [service.after]
        command = "sleep 1000"
        depends_on = { app = "done" }
        "#,
    )
    .start();
    let at = init.wait_from(0, "app   | last\n");
    init.wait_from(at, "with exit 0");
    init.wait_from(at, "after: ready");
    assert!(init.seen.contains("app   | 5000\n"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn every_kind_of_stdout_gets_the_log() {
    const CONFIG: &str = "[service.app]\ncommand = \"sh -c 'echo here; exec sleep 1000'\"\n";
    // A file.
    let setup = Setup::new(CONFIG);
    let path = setup.path("out");
    let file = std::fs::File::create(&path).expect("a file");
    let mut init = setup.stdout(Stdio::from(file)).start();
    let read = || std::fs::read_to_string(&path).expect("a file");
    eventually("it is written", || {
        read().contains("app  | here\n").then_some(())
    });
    assert_eq!(init.stop(), Some(0));
    // A socket.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let theirs = std::os::fd::OwnedFd::from(theirs);
    let mut init = Setup::new(CONFIG).stdout(Stdio::from(theirs)).start();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(ours));
    assert!(lines.any(|line| line.expect("text") == "app  | here"));
    assert_eq!(init.stop(), Some(0));
    // A terminal.
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let mut init = Setup::new(CONFIG).stdout(Stdio::from(pty.slave)).start();
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(std::fs::File::from(pty.master)));
    assert!(lines.any(|line| line.expect("text").contains("app  | here")));
    assert_eq!(init.stop(), Some(0));
    // None.
    let mut init = Setup::new(CONFIG)
        .by(&["sh", "-c", "exec \"$0\" \"$@\" >&-"])
        .start();
    init.wait_for_socket();
    eventually("it is kept", || {
        init.ask_ok(&["logs", "app"])
            .contains("app  | here\n")
            .then_some(())
    });
    assert_eq!(init.stop(), Some(0));
}
