//! The messages as they travel: a newer host drives an older init, so a change
//! here is a change of [`holdall_protocol::PROTOCOL_VERSION`].
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly shall fail"
)]

use holdall_protocol::control::{
    Counts, ErrorKind, Exec, Exit, HealthKind, HealthState, Hello, Request, Response,
    ServiceStatus, State, Status, WindowSize,
};
use holdall_protocol::event::EventRecord;
use holdall_protocol::log::{LogRecord, Stream};
use holdall_protocol::{Millis, Moment, ServiceName, Signal, frame};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn name(name: &str) -> ServiceName {
    name.parse().expect("a name")
}

/// The message as one line, after it was looked at to read back as itself.
fn line<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) -> String {
    let framed = frame::encode(message).expect("short");
    let mut decoder = frame::Decoder::default();
    decoder.push(&framed);
    assert_eq!(
        decoder.next::<T>().expect("well-formed").as_ref(),
        Some(message)
    );
    String::from_utf8_lossy(&framed[frame::HEADER..]).into_owned()
}

#[track_caller]
fn assert_lines(snapshot: &str, lines: &[String]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(snapshot, lines.join("\n")));
}

#[test]
fn requests_keep_their_form() {
    let services = || vec![name("app"), name("web")];
    let exec = Exec {
        argv: vec!["sh".into(), "-c".into(), "exit 3".into()],
        env: vec!["A=b".into()],
        dir: Some("/srv".into()),
        user: Some("app:app".into()),
        tty: Some(WindowSize {
            rows: 24,
            columns: 80,
        }),
    };
    let mut lines = vec![line(&Hello {
        version: 1,
        program: "holdall 0.1.0".into(),
    })];
    lines.extend(
        [
            Request::Status,
            Request::Start {
                services: services(),
            },
            Request::Stop { services: vec![] },
            Request::Restart {
                services: services(),
            },
            Request::Signal {
                services: services(),
                signal: Signal::HUP,
            },
            Request::Health {
                kind: HealthKind::Auto,
            },
            Request::Logs {
                services: services(),
                tail: Some(10),
                since: None,
                follow: true,
            },
            Request::Logs {
                services: Vec::new(),
                tail: None,
                since: Some(1_700_000_000_000_000),
                follow: false,
            },
            Request::MoreStatus { from: 250 },
            Request::Events {
                services: services(),
                last: Some(10),
                follow: true,
            },
            Request::Exec(exec),
            Request::ExecSignal {
                signal: Signal::INT,
            },
            Request::Version,
        ]
        .iter()
        .map(line),
    );
    assert_lines("wire_requests", &lines);
}

#[test]
fn responses_keep_their_form() {
    let service = ServiceStatus {
        name: name("app"),
        state: State::Backoff,
        health: Some(HealthState::Unhealthy),
        pid: Some(17),
        since: Millis(1500),
        restarts: 2,
        last_exit: Some(Exit::Signal(Signal::KILL)),
        out_of_memory: true,
        next_start: Some(Millis::from_secs(4)),
        message: Some("connection refused".into()),
        status: None,
        waits_for: Vec::new(),
        log_dropped: 12,
        counts: Counts {
            oom_kills: 1,
            stdout_lines: 2,
            stdout_bytes: 30,
            stderr_lines: 4,
            stderr_bytes: 50,
            probes_good: 6,
            probes_failed: 7,
            probe_time: Millis(80),
        },
    };
    let status = Status {
        ready: false,
        has_been_ready: true,
        stopping: false,
        services: vec![service],
        more: Some(1),
    };
    let event = EventRecord {
        number: 7,
        time: Moment(1_700_000_000_000_000),
        service: name("app@2"),
        instance: Some(2),
        from: State::Ready,
        to: State::Stopping,
        reason: Some("it ended".into()),
        exit: Some(Exit::Code(3)),
        out_of_memory: true,
    };
    let bare = EventRecord {
        instance: None,
        reason: None,
        exit: None,
        out_of_memory: false,
        ..event.clone()
    };
    assert_eq!(
        event.to_string(),
        "2023-11-14T22:13:20.000000Z app@2 ready → stopping: it ended (exit 3, out of memory)"
    );
    assert_eq!(
        bare.to_string(),
        "2023-11-14T22:13:20.000000Z app@2 ready → stopping"
    );
    let record = LogRecord {
        time: 1_700_000_000_000_000,
        service: Some(name("app")),
        stream: Stream::Stderr,
        text: "hällo \"you\"".into(),
        partial: true,
    };
    let lines: Vec<String> = [
        Response::Done,
        Response::Error {
            kind: ErrorKind::UnknownService,
            message: "no".into(),
        },
        Response::Status(status),
        Response::Health {
            healthy: false,
            reason: "`app` is starting".into(),
        },
        Response::Log(record),
        Response::Event(event),
        Response::Event(bare),
        Response::Missed { events: 12 },
        Response::Started { pid: 18 },
        Response::Exited { code: 137 },
        Response::Version {
            release: "0.1.0".into(),
            protocol: 1,
        },
    ]
    .iter()
    .map(line)
    .collect();
    assert_lines("wire_responses", &lines);
}

#[test]
fn a_stream_goes_on_after_what_it_carries_and_ends_with_an_answer() {
    assert!(!Response::Missed { events: 1 }.is_last());
    assert!(!Response::Started { pid: 7 }.is_last());
    assert!(Response::Done.is_last());
}

#[test]
fn a_box_that_is_up_for_years_still_tells_its_status() {
    let year = Millis(366 * 24 * 3600 * 1000);
    for uptime in [year, Millis(3 * year.0 + 1), Millis(40 * year.0)] {
        assert_eq!(uptime.to_string().parse(), Ok(uptime));
    }
}

#[test]
fn what_is_no_message_is_an_error() {
    for bad in [
        "{}",
        "[]",
        "null",
        "{\"op\":\"dance\"}",
        "{\"op\":\"start\"}",
        "{\"op\":\"start\",\"services\":[\"../x\"]}",
        "{\"op\":\"signal\",\"services\":[],\"signal\":\"65\"}",
        "{\"op\":\"logs\",\"services\":[],\"tail\":-1,\"follow\":false}",
        "{\"op\":\"logs\",\"services\":[],\"tail\":1,\"follow\":false,\"more\":1}",
        "{\"op\":\"exec\",\"argv\":\"sh\"}",
    ] {
        assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
    }
    let deep = format!("{{\"op\":{}1{}}}", "[".repeat(30_000), "]".repeat(30_000));
    assert!(
        serde_json::from_str::<Request>(&deep).is_err(),
        "and no stack is lost on it"
    );
}
