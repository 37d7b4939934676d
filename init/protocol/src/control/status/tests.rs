use super::*;
use crate::control::Response;
use crate::frame::encode;

fn status(services: Vec<ServiceStatus>) -> Status {
    Status {
        ready: true,
        has_been_ready: true,
        stopping: false,
        services,
        more: None,
    }
}

fn service(number: usize, message: &str) -> ServiceStatus {
    ServiceStatus {
        name: format!("service-{number}").parse().expect("a name"),
        state: State::Waiting,
        health: Some(HealthState::Unhealthy),
        pid: Some(4_000_000),
        since: Millis(u64::from(u32::MAX)),
        restarts: u32::MAX,
        last_exit: Some(Exit::Code(255)),
        out_of_memory: true,
        next_start: Some(Millis(1)),
        message: Some(message.to_owned()),
        status: Some("\"".repeat(300)),
        waits_for: Vec::new(),
        log_dropped: 0,
        counts: Counts {
            oom_kills: u64::MAX,
            stdout_lines: u64::MAX,
            stdout_bytes: u64::MAX,
            stderr_lines: u64::MAX,
            stderr_bytes: u64::MAX,
            probes_good: u64::MAX,
            probes_failed: u64::MAX,
            probe_time: Millis(u64::MAX),
        },
    }
}

/// All pages put together, each of which fits a frame.
fn through_frames(whole: &Status) -> Status {
    let mut read = whole.clone().page(0);
    let mut pages = 1;
    while let Some(from) = read.more {
        let page = whole.clone().page(from);
        encode(&Response::Status(page.clone())).expect("a page fits");
        read.append(page);
        pages += 1;
        assert!(pages < 1000, "no end of pages");
    }
    encode(&Response::Status(whole.clone().page(0))).expect("the first page fits");
    read
}

#[test]
fn a_thousand_services_come_in_pages_and_are_all_there() {
    for message in ["", "connection refused", &"\u{1}".repeat(1024)] {
        let services = (0..1000).map(|number| service(number, message));
        let whole = status(services.collect());
        let read = through_frames(&whole);
        assert_eq!(read.services, whole.services);
        assert_eq!(read.more, None);
    }
}

#[test]
fn an_exit_is_shown_as_a_shell_would_and_only_zero_is_well() {
    let (code, signal) = (Exit::Code(3), Exit::Signal(Signal::KILL));
    assert_eq!((code.code(), signal.code()), (3, 137));
    let words = [code.to_string(), signal.to_string()];
    assert_eq!(words, ["exit 3", "SIGKILL"]);
    assert!(Exit::Code(0).success());
    assert!(!code.success() && !signal.success());
}

#[test]
fn few_services_are_one_page_as_they_always_were() {
    let whole = status(vec![service(1, "x")]);
    assert_eq!(whole.clone().page(0), whole);
    assert_eq!(whole.clone().page(7).services, []);
}

#[test]
fn a_page_is_filled_to_its_last_byte() {
    let room = MAX_BODY - AROUND;
    let plain = service(1, "");
    // With the comma behind it.
    let least = serde_json::to_vec(&plain).expect("JSON").len() + 1;
    let of_length = |length: usize| service(1, &"x".repeat(length - least));
    let half = room / 2;
    for (second, services) in [(room - half, 2), (room - half + 1, 1)] {
        let whole = status(vec![of_length(half), of_length(second), plain.clone()]);
        let page = whole.page(0);
        assert_eq!(page.services.len(), services);
        assert_eq!(page.more, u32::try_from(services).ok());
    }
}

#[test]
fn who_fits_a_page_waits_for_all_that_it_says() {
    let mut some = service(1, "");
    some.waits_for = vec!["a".parse().expect("a name"); FEW + 1];
    let length = some.length();
    some.message = Some("x".repeat(MAX_BODY - AROUND - length));
    let whole = status(vec![some.clone()]);
    assert_eq!(whole.clone().page(0), whole);
    some.message = Some("x".repeat(MAX_BODY - AROUND - length + 1));
    let cut = status(vec![some]).page(0);
    assert_eq!(cut.services[0].waits_for.len(), FEW);
}

#[test]
fn zeros_do_not_travel() {
    let mut quiet = service(1, "");
    (quiet.out_of_memory, quiet.log_dropped) = (false, 0);
    quiet.counts = Counts::default();
    let json = serde_json::to_value(&quiet).expect("JSON");
    assert_eq!(json["counts"], serde_json::json!({}));
    for name in ["log_dropped", "out_of_memory", "waits_for"] {
        assert_eq!(json.get(name), None);
    }
    assert_eq!(
        serde_json::from_value::<ServiceStatus>(json).expect("it"),
        quiet
    );
}

#[test]
fn one_that_waits_for_all_others_fits_too() {
    let mut last = service(1000, "");
    let name = |number: u32| format!("{}-{number}", "x".repeat(58));
    let names = (1000..2000).map(|number| name(number).parse().expect("a name"));
    last.waits_for = names.collect();
    let read = through_frames(&status(vec![service(0, ""), last]));
    assert_eq!(read.services.len(), 2);
    assert_eq!(read.services[1].waits_for.len(), FEW);
}

#[test]
fn a_page_that_repeats_ends_the_reading() {
    let mut read = status(vec![service(1, "")]);
    let mut again = status(vec![service(1, "")]);
    again.more = Some(0);
    assert_eq!(read.append(again), None);
    assert_eq!(read.services.len(), 1);
}
