//! Following the states of services.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use holdall_protocol::control::{Exit, Request, Response, State};
use holdall_protocol::event::EventRecord;
use holdall_protocol::frame::encode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wire::Wire;
use crate::world::{INIT, Init, Setup, eventually, said};

const CRASHES: &str = r#"
    [service.app]
    command = "sh -c 'echo app runs; exec sleep 1000'"
    backoff = { initial = "1ms", max = "1ms" }
    give_up = { failures = 0 }
    [service.other]
    command = "sleep 1000"
"#;

/// A client that follows, line by line. It is killed with the test.
struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Follower {
    fn start(init: &Init, args: &[&str]) -> Self {
        let mut command = Command::new(INIT);
        command.arg("--run-dir").arg(&init.run_dir).args(args);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start");
        let stdout = child.stdout.take().expect("its output is a pipe");
        Self {
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("another line").expect("text")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn crash(init: &Init, service: &str) {
    let pid = init.pid_of(service).expect("it runs");
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    kill(pid, Signal::SIGKILL).expect("it was alive");
}

fn records(json: &str) -> Vec<EventRecord> {
    let lines = json.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("an event"))
        .collect()
}

#[test]
fn a_crash_is_followed_from_ready_to_ready_with_its_reason_and_exit() {
    let mut init = Setup::new(CRASHES).start();
    init.wait_for_socket();
    init.wait_for("app runs");
    let newest = init.ask_ok(&["events", "--last", "1", "app", "--format", "json"]);
    let mut follower = Follower::start(
        &init,
        &["events", "-f", "--last", "1", "app", "--format", "json"],
    );
    assert_eq!(follower.line(), newest.trim_end());
    crash(&init, "app");
    let mut seen = records(&newest);
    while seen.len() < 6 {
        seen.extend(records(&follower.line()));
    }
    let states: Vec<(State, State)> = seen.iter().map(|event| (event.from, event.to)).collect();
    use State::{Backoff, Ready, Starting, Stopping, Waiting};
    assert_eq!(
        states,
        [
            (Starting, Ready),
            (Ready, Stopping),
            (Stopping, Backoff),
            (Backoff, Waiting),
            (Waiting, Starting),
            (Starting, Ready),
        ]
    );
    let [_, ended, backoff, ..] = seen.as_slice() else {
        panic!("six were read");
    };
    let killed = Some(Exit::Signal("KILL".parse().expect("a signal")));
    assert_eq!((ended.exit, backoff.exit), (killed, killed));
    assert_eq!(ended.reason.as_deref(), Some("its main process ended"));
    let said = backoff.reason.as_deref().unwrap_or_default();
    assert!(said.starts_with("next start in "), "{said}");
    assert!(seen.is_sorted_by_key(|event| (event.number, event.time)));
    let text = init.ask_ok(&["events", "--last", "5", "app"]);
    assert!(text.contains(" app ready → stopping: its main process ended (SIGKILL)"));
    let why = init.ask_ok(&["why", "app"]);
    assert!(
        why.contains("ready → stopping") && why.contains("app runs"),
        "{why}"
    );
    let why = init.ask_ok(&["why", "app", "--format", "json"]);
    let why: serde_json::Value = serde_json::from_str(&why).expect("JSON");
    assert!(
        why["events"]
            .as_array()
            .is_some_and(|events| events.len() == 8),
        "{why}"
    );
    assert_eq!(why["name"], "app");
    drop(follower);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn instances_are_told_apart_and_asked_for_together() {
    let config = "[service.web]\ncommand = \"sleep 1000\"\ninstances = 2\n\
                  [service.other]\ncommand = \"sleep 1000\"\n";
    let mut init = Setup::new(config).start();
    init.wait_for_socket();
    eventually("all are ready", || init.status().ready.then_some(()));
    let web = records(&init.ask_ok(&["events", "--last", "100", "web", "--format", "json"]));
    let mut numbers: Vec<Option<u32>> = web.iter().map(|event| event.instance).collect();
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        [Some(1), Some(1), Some(1), Some(2), Some(2), Some(2)]
    );
    assert!(web.iter().all(|event| event.service.service() == "web"));
    let unknown = init.ask(&["events", "--last", "1", "othr"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(said(&unknown).contains("other"), "{}", said(&unknown));
    assert_eq!(init.stop(), Some(0));
}

fn follow(init: &Init) -> Wire {
    let mut wire = Wire::open(&init.run_dir);
    let request = Request::Events {
        services: vec![],
        last: Some(1),
        follow: true,
    };
    wire.send(&request, &[]);
    // It is heard once its first answer is here.
    assert!(matches!(wire.next(), Some(Response::Event(_))));
    wire
}

#[test]
fn one_that_reads_too_slowly_is_told_how_much_it_missed_and_delays_nobody() {
    let mut init = Setup::new(CRASHES).start();
    init.wait_for_socket();
    init.wait_for("app runs");
    let mut slow = follow(&init);
    nix::sys::socket::setsockopt(&slow.stream, nix::sys::socket::sockopt::RcvBuf, &2048)
        .expect("a socket");
    let mut busy = Wire::open(&init.run_dir);
    // More than are kept and than its socket and init's buffer hold.
    let events = || {
        let newest = init.ask_ok(&["events", "--last", "1", "--format", "json"]);
        records(&newest).first().map_or(0, |event| event.number)
    };
    let (mut rounds, first) = (0, events());
    while events() < first + 8000 {
        for _ in 0..50 {
            let services = vec!["other".parse().expect("a name")];
            let done = busy.ask(&Request::Restart { services });
            assert_eq!(done, Response::Done);
        }
        rounds += 1;
        assert!(rounds < 200, "no events come");
    }
    let end = events();
    let (mut missed, mut last) = (0, 0);
    while last < end {
        match slow.next() {
            Some(Response::Event(event)) => last = event.number,
            Some(Response::Missed { events }) => missed += events,
            other => panic!("{other:?}"),
        }
    }
    assert!(missed > 0, "it was told of everything");
    assert_eq!(init.ask(&["health"]).status.code(), Some(0));
    drop((slow, busy));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn hundreds_follow_and_all_are_told() {
    let mut init = Setup::new(CRASHES).start();
    init.wait_for_socket();
    init.wait_for("app runs");
    let mut followers: Vec<Wire> = (0..300).map(|_| follow(&init)).collect();
    crash(&init, "app");
    for follower in &mut followers {
        let mut states = Vec::new();
        while states.len() < 5 {
            match follower.next() {
                Some(Response::Event(event)) if event.service.as_str() == "app" => {
                    states.push(event.to);
                }
                Some(Response::Event(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(states.contains(&State::Backoff), "{states:?}");
    }
    drop(followers);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_thousand_services_are_told_page_by_page() {
    let mut config = String::new();
    for number in 0..1000 {
        config.push_str(&format!(
            "[service.a-service-with-quite-a-long-name-{number}]\ncommand = \"true\"\nstart = \"manual\"\n"
        ));
    }
    let mut init = Setup::new(&config).start();
    init.wait_for_socket();
    let status = init.status();
    assert_eq!(status.services.len(), 1000);
    assert_eq!(status.more, None);
    assert_eq!(init.ask_ok(&["ps"]).lines().count(), 1001);
    let mut wire = Wire::open(&init.run_dir);
    let Response::Status(page) = wire.ask(&Request::Status) else {
        panic!("no status");
    };
    assert!(page.more.is_some() && page.services.len() < 1000);
    // One that knows of no pages is not given a part for the whole.
    let mut old = Wire::silent(&init.run_dir);
    old.raw(&encode(&serde_json::json!({"version": 1, "program": "old"})).expect("short"));
    old.hello();
    assert!(matches!(old.ask(&Request::Status), Response::Error { .. }));
    drop((wire, old));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn what_a_log_says_is_one_json_object_a_line() {
    let config = "[service.app]\ncommand = \"sh -c 'echo hi; exec sleep 1000'\"\n";
    let mut init = Setup::new(config).start();
    init.wait_for_socket();
    init.wait_for("hi");
    let json = init.ask_ok(&["logs", "app", "--format", "json"]);
    let first = json.lines().find(|line| line.contains("\"text\":\"hi\""));
    let record: holdall_protocol::log::LogRecord =
        serde_json::from_str(first.expect("its line")).expect("a record");
    assert_eq!(
        record.service.map(|s| s.to_string()).as_deref(),
        Some("app")
    );
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_file_is_checked_for_programs_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("holdall.toml");
    let check = || {
        let mut command = Command::new(INIT);
        command.args(["check", "--format", "json"]).arg(&file);
        let output = command.output().expect("start");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), json)
    };
    std::fs::write(&file, "[service.a]\ncommand = \"true\"\n").expect("write");
    let (code, json) = check();
    assert_eq!((code, &json["services"]), (Some(0), &1.into()));
    std::fs::write(&file, "[service.a]\ncomand = \"true\"\n").expect("write");
    let (code, json) = check();
    assert_eq!(code, Some(1));
    let problem = &json["problems"][0];
    let missing = json["problems"].as_array().expect("a list").iter();
    assert!(
        missing.into_iter().any(|problem| problem["line"] == 2),
        "{problem}"
    );
    assert!(json["services"].is_null());
}
