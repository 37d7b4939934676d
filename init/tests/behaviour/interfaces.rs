//! docs/interfaces.md says which keys are printed, and those are.

use std::collections::{BTreeMap, BTreeSet};

use holdall_protocol::control::ServiceStatus;
use serde_json::Value;

use crate::world::{Setup, eventually};

const PAGE: &str = include_str!("../../../docs/interfaces.md");

/// The keys in the table below the heading of each verb; whether they may be
/// missing.
fn documented() -> BTreeMap<String, BTreeMap<String, bool>> {
    let mut verbs: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    let mut verb = None;
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            verb = heading
                .strip_prefix('`')
                .and_then(|rest| rest.strip_suffix('`'));
        } else if line.starts_with("## ") {
            verb = None;
        } else if let (Some(verb), Some(row)) = (verb, line.strip_prefix("| `")) {
            let (key, meaning) = row.split_once("` | ").expect("two columns");
            let maybe = meaning.starts_with("*maybe*") || meaning.starts_with("*rarely*");
            let keys = verbs.entry(verb.to_owned()).or_default();
            assert_eq!(keys.insert(key.to_owned(), maybe), None, "{verb}: {key}");
        }
    }
    verbs
}

/// The paths of all keys, with `[]` for what is in a list.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{key}");
                found.insert(path.clone());
                keys(value, &path, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                let path = format!("{path}[]");
                if !item.is_object() {
                    found.insert(path.clone());
                }
                keys(item, &path, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_that_is_printed_is_in_the_page_and_every_key_of_the_page_is_printed() {
    let config = r#"
        [service.web]
        command = "sh -c 'printf %020000d 0; echo; echo bad >&2; exec sleep 1000'"
        instances = 2
        health = { exec = "sleep 0.02", interval = "1h" }
        [service.once]
        command = "sh -c 'exit 3'"
        type = "oneshot"
        restart = "never"
        essential = false
        [service.after]
        command = "sleep 1000"
        depends_on = { once = "done" }
        essential = false
        [service.killed]
        command = "sh -c 'kill -9 $$'"
        restart = "never"
        essential = false
    "#;
    let mut init = Setup::new(config).start();
    init.wait_for_socket();
    eventually("both have failed", || {
        let ps = init.ask_ok(&["ps"]);
        (ps.contains("exit 3") && ps.contains("SIGKILL")).then_some(())
    });
    eventually("they were asked, and what they wrote is counted", || {
        let counted = |s: &ServiceStatus| s.counts.probes_good > 0 && s.counts.stderr_lines > 0;
        let services = init.status().services;
        (services.iter().filter(|s| counted(s)).count() == 2).then_some(())
    });
    let file = init.path("holdall.toml");
    let broken = init.path("broken.toml");
    std::fs::write(&broken, "[service.a]\ncomand = \"x\"\n").expect("write");
    let printed = |args: &[&str]| {
        let output = init.ask(&[args, &["--format", "json"]].concat());
        let text = String::from_utf8(output.stdout).expect("text");
        let mut found = BTreeSet::new();
        for line in text.lines() {
            keys(&serde_json::from_str(line).expect("JSON"), "", &mut found);
        }
        found
    };
    let documented = documented();
    let check = |verb: &str, found: BTreeSet<String>| {
        let known = documented.get(verb).expect("a table");
        for key in &found {
            assert!(known.contains_key(key), "{verb} prints {key}");
        }
        let rare = format!("| `{}` | *rarely*", "KEY");
        for key in known
            .keys()
            .filter(|key| !PAGE.contains(&rare.replace("KEY", key)))
        {
            assert!(found.contains(key), "{verb} never prints {key}");
        }
    };
    check("ps", printed(&["ps"]));
    check("logs", printed(&["logs"]));
    check("events", printed(&["events", "--last", "1000"]));
    let mut checked = printed(&["check", &file]);
    checked.extend(printed(&["check", &broken]));
    check("check", checked);
    check("health", printed(&["health"]));
    check("version", printed(&["version"]));
    check("reload", {
        std::fs::write(&file, config.replace("sleep 1000", "sleep 999")).expect("write");
        printed(&["reload", "--dry-run"])
    });
    let of_why = |found: &BTreeSet<String>| -> BTreeSet<String> {
        let own = found.iter().filter(|key| !key.contains(['[', '.']));
        own.cloned().collect()
    };
    let of_one = documented["ps"].iter();
    let of_one = of_one.filter_map(|(key, maybe)| Some((key.strip_prefix("services[].")?, maybe)));
    let mut expected: BTreeSet<String> = documented["why"].keys().cloned().collect();
    let plain = of_one.filter(|(key, maybe)| !**maybe && !key.contains(['[', '.']));
    expected.extend(plain.map(|(key, _)| key.to_owned()));
    assert_eq!(of_why(&printed(&["why", "once"])), expected);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn the_exit_codes_are_those_of_the_page() {
    let mut init = Setup::new("[service.a]\ncommand = \"sleep 1000\"\n").start();
    init.wait_for_socket();
    let code = |args: &[&str]| init.ask(args).status.code();
    for (args, expected) in [
        (&["health", "--live"][..], Some(0)),
        (&["stop", "a"], Some(0)),
        (&["health", "--ready"], Some(1)),
        (&["stop", "nobody"], Some(1)),
        (&["check", "/nowhere"], Some(1)),
        (&["stop", "--nope"], Some(2)),
        (&["no-verb"], Some(2)),
    ] {
        assert_eq!(code(args), expected, "{args:?}");
    }
    for code in ["| 0 |", "| 1 |", "| 2 |"] {
        assert!(PAGE.contains(code));
    }
    assert_eq!(init.stop(), Some(0));
}
