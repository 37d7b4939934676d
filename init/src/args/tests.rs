//! Command lines, and what they mean.

use super::*;

fn words(line: &str) -> Result<Invocation, UsageError> {
    parse(line.split_whitespace().map(OsString::from))
}

fn verb(line: &str) -> Verb {
    words(line).expect("well-formed").verb
}

fn run(command: Vec<OsString>, after_ready: bool) -> Verb {
    Verb::Run {
        command,
        after_ready,
        forwarding: Forwarding::default(),
        single_child: false,
    }
}

#[test]
fn signals_are_rewritten_as_said_and_go_to_the_command_alone_where_that_is_said() {
    let Verb::Run {
        forwarding,
        single_child,
        ..
    } = verb("--rewrite 15:3 run --rewrite=2:0 --single-child -- sh")
    else {
        panic!("it runs")
    };
    let of = |number| forwarding.of(Signal::from_number(number).expect("a signal"));
    assert_eq!(of(15), Signal::from_number(3));
    assert_eq!((of(2), of(1)), (None, Signal::from_number(1)));
    assert!(single_child);
    for bad in ["15", "0:3", "15:65", "TERM:3"] {
        assert!(words(&format!("--rewrite {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn a_supervisord_conf_stands_in_for_the_file_of_services() {
    let read = words("--supervisord /etc/s.conf").expect("well-formed");
    assert!(read.supervisord && read.config == Some("/etc/s.conf".into()));
    assert!(words("ps --supervisord x").is_err());
    let read = words("check --supervisord /etc/s.conf --format json").expect("well-formed");
    assert!(read.supervisord && read.json && read.config == Some("/etc/s.conf".into()));
    assert_eq!(read.verb, Verb::Check(None));
    assert!(words("check --supervisord /etc/s.conf other").is_err());
}

#[test]
fn nothing_at_all_runs_the_services() {
    assert_eq!(verb(""), run(vec![], false));
    assert_eq!(verb("run --"), run(vec![], false));
}

#[test]
fn what_follows_the_dashes_is_a_command_whatever_it_looks_like() {
    let command = vec!["sh".into(), "-c".into(), "--config".into()];
    let sh = run(command, false);
    assert_eq!(verb("run -- sh -c --config"), sh);
    assert_eq!(verb("-- sh -c --config"), sh);
    let ps = run(vec!["ps".into(), "aux".into()], true);
    assert_eq!(verb("run --after-ready -- ps aux"), ps);
}

#[test]
fn a_command_without_dashes_is_told_where_they_go() {
    let error = words("redis-server").expect_err("no verb").to_string();
    assert!(error.contains("/init -- redis-server"), "{error}");
    let error = words("run redis-server")
        .expect_err("no dashes")
        .to_string();
    assert!(error.contains("/init run -- redis-server"), "{error}");
}

#[test]
fn global_options_stand_before_or_after_the_verb() {
    for line in ["--run-dir /r ps", "ps --run-dir /r", "ps --run-dir=/r"] {
        assert_eq!(
            words(line).expect(line).run_dir,
            Some(PathBuf::from("/r")),
            "{line}"
        );
    }
}

#[test]
fn each_verb_takes_its_own_words_and_no_others() {
    let web: ServiceName = "web".parse().expect("a name");
    assert_eq!(
        verb("logs -f -n 20 web"),
        Verb::Logs {
            services: vec![web.clone()],
            tail: Some(20),
            since: None,
            timestamps: false,
            follow: true
        }
    );
    assert_eq!(verb("signal HUP web"), Verb::Signal(Signal::HUP, vec![web]));
    assert_eq!(verb("health --live"), Verb::Health(HealthKind::Live));
    assert_eq!(verb("ps --help"), Verb::Help(Some("ps")));
    for bad in [
        "ps web",
        "signal HUP",
        "signal",
        "signal NOPE web",
        "health --json",
        "logs -n",
        "logs -n x",
        "check a b",
        "start WEB",
        "ps --follow",
        "--nope",
        "version -- sh",
        "ps --format yaml",
        "logs --follow=1",
        "reload --dry-run web",
        "scale",
        "scale web",
        "scale web=x",
        "scale web=1001",
        "why",
        "why a b",
        "logs --since yesterday",
        "logs --since",
        "ps --since 10m",
        "events -n",
        "events --tail 3",
        "start --format json",
    ] {
        assert!(words(bad).is_err(), "{bad:?}");
    }
}
#[test]
fn what_is_changed_while_the_box_runs_is_said_in_one_way() {
    let web: ServiceName = "web".parse().expect("a name");
    let reload = |services: &[&ServiceName], dry_run| Verb::Reload {
        services: services.iter().copied().cloned().collect(),
        dry_run,
    };
    assert_eq!(verb("reload --dry-run"), reload(&[], true));
    assert_eq!(verb("reload web"), reload(&[&web], false));
    assert_eq!(verb("scale web=3"), Verb::Scale(vec![(web.clone(), 3)]));
    assert_eq!(verb("why web"), Verb::Why(web));
    for verb in ["ps", "logs", "events web", "check", "why web"] {
        let line = format!("{verb} --format json");
        assert!(words(&line).expect("well-formed").json, "{verb}");
    }
    let events = |last, follow| Verb::Events {
        services: vec![],
        last,
        follow,
    };
    assert_eq!(verb("events"), events(None, true));
    assert_eq!(verb("events --last 5"), events(Some(5), false));
    assert_eq!(verb("events -f -n 5"), events(Some(5), true));
}

#[test]
fn lines_are_wanted_since_a_time_or_for_so_long() {
    let since = |line: &str| match verb(line) {
        Verb::Logs { since, .. } => since,
        other => panic!("{other:?}"),
    };
    let ten_minutes = Since::Ago(Millis::from_secs(600));
    assert_eq!(since("logs --since 10m"), Some(ten_minutes));
    let at = Since::At(Moment(1_795_381_207_000_000));
    assert_eq!(since("logs --since=2026-11-22T21:00:07Z web"), Some(at));
    assert!(words("logs -t --format json").expect("well-formed").json);
}
