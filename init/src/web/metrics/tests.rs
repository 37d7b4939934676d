//! The metrics, read by a strict reader of the format, and by the page about
//! them.

use std::collections::{BTreeMap, BTreeSet};

use holdall_protocol::control::Status;

use super::*;

/// Samples by name and labels, read as the exposition format 0.0.4 has it:
/// HELP and TYPE once and before the samples of their name, which stand
/// together; every line ends in a line feed.
fn samples(text: &str) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    assert!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains('\r'));
    let (mut found, mut types) = (BTreeMap::new(), BTreeMap::new());
    let (mut helped, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let mut current = String::new();
    for line in text.lines() {
        let name = match line.strip_prefix("# ") {
            Some(rest) => {
                let words: Vec<&str> = rest.splitn(3, ' ').collect();
                let [what, name, said] = words[..] else {
                    panic!("{line}");
                };
                match what {
                    "HELP" => assert!(helped.insert(name.to_owned()), "{line}"),
                    "TYPE" => {
                        assert!(["counter", "gauge"].contains(&said), "{line}");
                        assert_eq!(said == "counter", name.ends_with("_total"), "{line}");
                        assert_eq!(types.insert(name.to_owned(), said.to_owned()), None);
                    }
                    _ => panic!("{line}"),
                }
                name.to_owned()
            }
            None => {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.strip_suffix('}').expect("an end of labels");
                let labels = labels.split(',').filter(|label| !label.is_empty());
                let labels: BTreeMap<String, String> = labels
                    .map(|label| {
                        let (label, value) = label.split_once("=\"").expect("a label");
                        let value = value.strip_suffix('"').expect("a quote");
                        assert!(!value.contains(['"', '\\']), "{line}");
                        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
                        assert!(label.chars().all(plain), "{line}");
                        (label.to_owned(), value.to_owned())
                    })
                    .collect();
                assert!(types.contains_key(name) && helped.contains(name), "{line}");
                let value: f64 = value.parse().expect("a number");
                let key = (name.to_owned(), labels);
                assert_eq!(found.insert(key, value), None, "{line} stands twice");
                name.to_owned()
            }
        };
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(name.chars().all(plain), "{line}");
        if name != current {
            assert!(ended.insert(current.clone()), "{current} is torn apart");
            assert!(!ended.contains(&name), "{name} is torn apart");
            current = name;
        }
    }
    found
}

fn service(name: &str, state: State) -> ServiceStatus {
    ServiceStatus {
        name: name.parse().expect("a name"),
        state,
        health: Some(HealthState::Healthy).filter(|_| state == State::Ready),
        pid: Some(std::process::id()).filter(|_| state == State::Ready),
        since: Millis(1_042),
        restarts: 3,
        last_exit: Some(Exit::Signal("KILL".parse().expect("a signal"))),
        out_of_memory: true,
        next_start: None,
        message: Some("any \"words\"\nat all".to_owned()),
        status: None,
        waits_for: vec![],
        log_dropped: 0,
        counts: Counts {
            oom_kills: 2,
            stdout_lines: 5,
            stderr_bytes: 60,
            probes_good: u64::from(state == State::Ready) * 7,
            probe_time: Millis(1_250),
            ..Counts::default()
        },
    }
}

fn said() -> String {
    let services = vec![
        service("web@2", State::Ready),
        service("a.b-c_d", State::Backoff),
    ];
    let snapshot = Snapshot {
        status: Status {
            ready: false,
            has_been_ready: true,
            stopping: false,
            services,
            more: None,
        },
        healthy: Ok(()),
        ready: Err("not yet".to_owned()),
        live: Ok(()),
    };
    text(&snapshot, Units::of_this_kernel())
}

#[test]
fn the_text_is_well_formed_and_says_what_a_status_says() {
    let samples = samples(&said());
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        samples
            .get(&(format!("holdall_{name}"), labels.collect()))
            .copied()
    };
    assert_eq!(value("ready", &[]), Some(0.0));
    assert_eq!(value("live", &[]), Some(1.0));
    let web = ("service", "web@2");
    assert_eq!(
        value("service_state", &[web, ("state", "ready")]),
        Some(1.0)
    );
    assert_eq!(
        value("service_state", &[web, ("state", "fatal")]),
        Some(0.0)
    );
    assert_eq!(value("service_state_seconds", &[web]), Some(1.042));
    assert_eq!(value("service_restarts_total", &[web]), Some(3.0));
    assert_eq!(value("service_last_exit_code", &[web]), Some(137.0));
    assert_eq!(value("service_oom_kills_total", &[web]), Some(2.0));
    let (out, err) = (("stream", "stdout"), ("stream", "stderr"));
    assert_eq!(value("service_log_lines_total", &[web, out]), Some(5.0));
    assert_eq!(value("service_log_lines_total", &[web, err]), Some(0.0));
    assert_eq!(value("service_log_bytes_total", &[web, err]), Some(60.0));
    let (good, failed) = (("result", "good"), ("result", "failed"));
    assert_eq!(value("service_probes_total", &[web, good]), Some(7.0));
    assert_eq!(value("service_probes_total", &[web, failed]), Some(0.0));
    assert_eq!(value("service_probe_seconds_total", &[web]), Some(1.25));
    assert!(value("service_process_resident_bytes", &[web]) > Some(100_000.0));
    assert!(value("service_process_uptime_seconds", &[web]).is_some());
    let other = ("service", "a.b-c_d");
    assert_eq!(value("service_healthy", &[other]), None);
    assert_eq!(value("service_probes_total", &[other, good]), None);
    assert_eq!(value("service_process_cpu_seconds_total", &[other]), None);
}

#[test]
fn the_page_of_interfaces_has_each_metric_and_no_other() {
    let page = include_str!("../../../../docs/interfaces.md");
    let rows = page.lines().filter(|line| line.starts_with("| `holdall_"));
    let rows: Vec<String> = rows.map(str::to_owned).collect();
    let expected: Vec<String> = ALL
        .iter()
        .map(|Metric { name, kind, help }| format!("| `{PREFIX}{name}` | {kind} | {help} |"))
        .collect();
    assert_eq!(rows, expected);
    let text = said();
    for Metric { name, .. } in ALL {
        assert!(
            text.contains(&format!("# TYPE {PREFIX}{name} ")),
            "{name} is not said"
        );
    }
}
