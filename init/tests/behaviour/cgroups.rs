//! `limits.memory`, `.cpu` and `.pids`, and the groups that hold them.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::world::{Init, Setup, eventually, processes_running, program};

/// The group of a service, in the hierarchy that has a controller.
fn group_of(init: &Init, service: &str, controller: &str) -> PathBuf {
    let pid = init.pid_of(service).expect("it runs");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let named = |line: &&str| {
        let list = line.split(':').nth(1).expect("a list");
        list.split(',').any(|name| name == controller)
    };
    let legacy = groups.lines().find(named);
    let unified = groups.lines().find(|line| line.starts_with("0::"));
    let line = legacy.or(unified).expect("a hierarchy");
    let below = line
        .splitn(3, ':')
        .nth(2)
        .expect("a path")
        .trim_start_matches('/');
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let mount = mounts.lines().find(|mount| {
        let (_, tail) = mount.split_once(" - ").expect("well-formed");
        let mut tail = tail.split(' ');
        let (kind, options) = (tail.next(), tail.nth(1).unwrap_or_default());
        match legacy {
            Some(_) => kind == Some("cgroup") && options.split(',').any(|o| o == controller),
            None => kind == Some("cgroup2"),
        }
    });
    let point = mount
        .expect("it is mounted")
        .split(' ')
        .nth(4)
        .expect("a place");
    Path::new(point).join(below)
}

fn value(group: &Path, files: &[&str]) -> String {
    let read = |file: &&str| fs::read_to_string(group.join(file)).ok();
    let found = files.iter().find_map(read);
    found.expect("one of the files is there").trim().to_owned()
}

const LIMITED: &str = r#"
    [service.app]
    command = "sleep 1000"
    limits = { pids = 20, memory = "32M", cpu = 0.5 }
"#;

#[test]
fn the_limits_are_those_of_the_manifest_and_the_groups_go_with_init() {
    let mut init = Setup::new(LIMITED).start();
    init.wait_for("ready after");
    let [pids, memory, cpu] = ["pids", "memory", "cpu"].map(|name| group_of(&init, "app", name));
    assert_eq!(value(&pids, &["pids.max"]), "20");
    let bytes = (32_u64 << 20).to_string();
    assert_eq!(
        value(&memory, &["memory.max", "memory.limit_in_bytes"]),
        bytes
    );
    let share = value(&cpu, &["cpu.max", "cpu.cfs_quota_us"]);
    assert!(share == "50000 100000" || share == "50000", "{share}");
    assert!(pids.ends_with("service.app"), "{pids:?}");
    assert_eq!(init.stop(), Some(0));
    for group in [pids, memory, cpu] {
        assert!(!group.exists(), "{group:?}");
        assert!(!group.parent().expect("a folder").exists(), "{group:?}");
    }
}

#[test]
fn one_that_multiplies_is_held_by_pids_and_gone_after_stop() {
    let config = format!(
        "[service.app]\ncommand = \"/usr/bin/python3 {}\"\nlimits = {{ pids = 20 }}\n\
         stop = {{ timeout = \"100ms\" }}\n",
        program("multiply.py")
    );
    let mut init = Setup::new(&config).start();
    init.wait_for("was refused");
    let there = processes_running(&init, "multiply.py");
    assert!((2..=20).contains(&there), "{there} processes");
    init.ask_ok(&["stop", "app"]);
    assert_eq!(processes_running(&init, "multiply.py"), 0);
    // It is held again, and not by what was there before.
    let at = init.seen.len();
    init.ask_ok(&["start", "app"]);
    init.wait_from(at, "was refused");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn what_the_kernel_kills_for_want_of_memory_is_said() {
    let eats = "import sys; print('eats', flush=True); b = bytearray(256 << 20); print('ate')";
    let config = format!(
        "[service.app]\ntype = \"oneshot\"\ncommand = [\"/usr/bin/python3\", \"-c\", \"{eats}\"]\n\
         restart = \"never\"\nlimits = {{ memory = \"32M\" }}\n"
    );
    let mut init = Setup::new(&config).start();
    assert_eq!(init.wait().0.code(), Some(137));
    let said = "out of memory: the kernel has killed what was above `limits.memory`";
    assert_eq!(init.seen.matches(said).count(), 1, "{}", init.seen);
}

#[test]
fn one_that_the_kernel_killed_for_want_of_memory_is_told_from_any_other_kill() {
    let eats = "import os; os.path.exists('/proc') and bytearray(256 << 20)";
    let config = format!(
        "[service.app]\ncommand = [\"/usr/bin/python3\", \"-c\", \"{eats}\"]\nrestart = \"never\"\n\
         essential = false\nlimits = {{ memory = \"32M\" }}\n\
         [service.other]\ncommand = \"sh -c 'kill -9 $$'\"\nrestart = \"never\"\nessential = false\n\
         [service.last]\ncommand = \"sleep 1000\"\n"
    );
    let mut init = Setup::new(&config).start();
    init.wait_for("other: ended with SIGKILL");
    init.wait_for("app: ended with SIGKILL");
    let why = init.ask_ok(&["why", "app"]);
    assert!(
        why.contains("it ended last with SIGKILL: the kernel killed it for want of memory"),
        "{why}"
    );
    assert!(why.contains("(SIGKILL, out of memory)"), "{why}");
    assert!(!init.ask_ok(&["why", "other"]).contains("memory"));
    let ps = init.ask_ok(&["ps"]);
    assert!(ps.contains("SIGKILL, out of memory"), "{ps}");
    let services = init.status().services;
    let seen = services
        .iter()
        .map(|s| (s.out_of_memory, s.counts.oom_kills));
    assert_eq!(
        seen.collect::<Vec<_>>(),
        [(true, 1), (false, 0), (false, 0)]
    );
    let events = init.ask_ok(&["events", "--last", "100", "--format", "json"]);
    let marked = events
        .lines()
        .filter(|line| line.contains("\"out_of_memory\":true"));
    assert!(marked.count() >= 1, "{events}");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn what_a_killed_init_has_left_is_removed_by_the_next() {
    // With its namespace all that it had started ends too.
    let mut first = Setup::new(LIMITED).own_namespace().start();
    first.wait_for("ready after");
    let inside = first.pid();
    let children = fs::read_to_string(format!("/proc/{inside}/task/{inside}/children"));
    let child: i32 = children
        .expect("it lives")
        .split_whitespace()
        .next()
        .and_then(|pid| pid.parse().ok())
        .expect("its service");
    let groups = fs::read_to_string(format!("/proc/{child}/cgroup")).expect("it lives");
    let folders = folders_in(&groups);
    assert!(!folders.is_empty());
    first.signal(Signal::SIGKILL);
    let _ = first.wait();
    assert!(folders.iter().all(|folder| folder.exists()));
    let mut second = Setup::new(LIMITED).start();
    second.wait_for("ready after");
    let left: Vec<_> = folders.iter().filter(|folder| folder.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(second.stop(), Some(0));
}

/// The folders of an init that a process is below, wherever they are mounted.
fn folders_in(groups: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let points = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let points: Vec<&str> = points
        .map(|line| line.split(' ').nth(4).expect("a place"))
        .collect();
    let mut found = Vec::new();
    for line in groups.lines().filter(|line| line.contains("/holdall.")) {
        let below = line.splitn(3, ':').nth(2).expect("a path");
        let folder = Path::new(below.trim_start_matches('/'))
            .parent()
            .expect("a folder");
        found.extend(
            points
                .iter()
                .map(|point| Path::new(point).join(folder))
                .filter(|path| path.exists()),
        );
    }
    found
}

#[test]
fn where_no_group_can_be_made_each_limit_is_said_once_and_the_services_run() {
    let config = r#"
        [service.app]
        command = "sleep 1000"
        limits = { pids = 20, memory = "32M" }
        [service.other]
        command = "sleep 1000"
        limits = { pids = 30 }
    "#;
    let hide = "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"";
    let mut init = Setup::new(config)
        .by(&["unshare", "--mount", "sh", "-c", hide, "sh"])
        .start();
    init.wait_for("app: ready after");
    init.wait_for("other: ready after");
    init.ask_ok(&["restart"]);
    assert_eq!(init.stop(), Some(0));
    for key in ["pids", "memory"] {
        let said = format!("`limits.{key}` is not held: cannot make /");
        assert_eq!(init.seen.matches(&said).count(), 1, "{}", init.seen);
    }
}

#[test]
fn a_service_without_limits_has_no_group_of_its_own() {
    let mut init = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n").start();
    init.wait_for("ready after");
    let pid = init.pid_of("app").expect("it runs");
    let of = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    assert_eq!(of(pid), of(std::process::id()));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_limit_that_a_reload_takes_away_is_gone() {
    let mut init = Setup::new(LIMITED).start();
    init.wait_for("ready after");
    let pids = group_of(&init, "app", "pids");
    let unlimited = LIMITED.replace("pids = 20, ", "");
    fs::write(init.path("holdall.toml"), unlimited).expect("write");
    init.ask_ok(&["reload"]);
    eventually("it runs outside of the group", || {
        init.pid_of("app")?;
        (group_of(&init, "app", "pids") != pids).then_some(())
    });
    assert_eq!(init.stop(), Some(0));
    assert!(!pids.exists());
}
