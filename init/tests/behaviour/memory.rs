//! An init that gets no more memory.

use std::fs;
use std::process::Command;

use crate::world::{Init, Setup};

/// Services that the limit of their init does not bind.
const CONFIG: &str = r#"
    [service.app]
    command = "sh -c 'echo runs; exec sleep 1000'"
    backoff = { initial = "10ms", max = "20ms" }
    give_up = { failures = 0 }
    limits = { address_space = "unlimited" }
    [service.talker]
    command = "sh -c 'seq 1 300000; exec sleep 1000'"
    start = "manual"
    limits = { address_space = "unlimited" }
"#;

/// Gives an init so much address space and no more; none takes the limit away.
fn limit(init: &Init, bytes: Option<usize>) {
    let bytes = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &init.pid().to_string()]);
    prlimit.arg(format!("--as={bytes}:unlimited"));
    assert!(prlimit.status().expect("start").success());
}

/// The address space that an init has.
fn size(init: &Init) -> usize {
    let pages = fs::read_to_string(format!("/proc/{}/statm", init.pid())).expect("it lives");
    let pages = pages
        .split(' ')
        .next()
        .and_then(|n| n.parse::<usize>().ok());
    pages.expect("a number") * 4096
}

#[test]
fn an_init_that_gets_no_more_memory_keeps_fewer_lines_and_heals_a_crash() {
    for pid1 in [false, true] {
        let setup = Setup::new(CONFIG);
        let mut init = if pid1 { setup.own_namespace() } else { setup }.start();
        init.wait_for("| runs");
        init.wait_for_socket();
        limit(&init, Some(size(&init)));
        init.ask_ok(&["start", "talker"]);
        init.wait_for("| 300000\n");
        let mut place = init.wait_from(0, "out of memory: keeps half as many lines");
        for _ in 0..5 {
            init.ask_ok(&["signal", "KILL", "app"]);
            place = init.wait_from(place, "app: ended with SIGKILL");
            place = init.wait_from(place, "| runs");
        }
        // Old lines are gone, new ones are there.
        let kept = init.ask_ok(&["logs", "talker"]);
        assert!(kept.ends_with("| 300000\n"), "{kept}");
        assert!(kept.lines().count() > 1000, "{kept}");
        limit(&init, None);
        assert_eq!(init.stop(), Some(0));
    }
}

#[test]
fn a_file_that_there_is_no_memory_to_read_changes_nothing() {
    let mut init = Setup::new(CONFIG).start();
    init.wait_for("| runs");
    init.wait_for_socket();
    let pid = init.pid_of("app");
    let mut more = CONFIG.to_owned();
    for number in 0..2000 {
        more.push_str(&format!("[service.s{number}]\ncommand = \"sleep 1\"\n"));
    }
    fs::write(init.path("holdall.toml"), more).expect("write");
    limit(&init, Some(size(&init) + 512 * 1024));
    let refused = init.ask(&["reload"]);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(
        words.contains("there is too little memory for it"),
        "{words}"
    );
    assert_eq!(init.pid_of("app"), pid);
    limit(&init, None);
    fs::write(init.path("holdall.toml"), CONFIG).expect("write");
    init.ask_ok(&["reload"]);
    assert_eq!(init.stop(), Some(0));
}
