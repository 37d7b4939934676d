//! Nothing escapes, and nobody else is touched.

use std::fs;
use std::path::PathBuf;

use crate::world::{Setup, alive, eventually, processes_running, program};

/// Starts a grandchild that is in another session, another group, without its
/// descriptors and as another user, and says its number.
const ESCAPE: &str = "/usr/bin/python3 ESCAPE";

#[test]
fn a_grandchild_that_did_everything_to_get_away_is_gone_after_stop() {
    let config = r#"
        [service.app]
        command = "ESCAPE"
        [service.other]
        command = "ESCAPE"
    "#;
    let config = config.replace("ESCAPE", &ESCAPE.replace("ESCAPE", &program("escape.py")));
    let mut init = Setup::new(&config).start();
    init.wait_for("escaped 2");
    let pids = |seen: &str, name: &str| -> Vec<i32> {
        let lines = seen.lines().filter(|line| line.starts_with(name));
        let pid = |line: &str| line.split_once("pid ")?.1.trim().parse().ok();
        lines.filter_map(pid).collect()
    };
    eventually("both have said all", || {
        init.wait_for("pid ");
        (init.seen.matches("escaped 2").count() == 2)
            .then_some(())
            .or_else(|| {
                let end = init.seen.len();
                init.wait_from(end, "escaped 2");
                None
            })
    });
    let (ours, others) = (pids(&init.seen, "app"), pids(&init.seen, "other"));
    assert_eq!((ours.len(), others.len()), (2, 2), "{}", init.seen);
    assert!(ours.iter().chain(&others).all(|pid| alive(*pid)));
    init.ask_ok(&["stop", "app"]);
    // `stop` returns once they are gone: no waiting here.
    assert!(
        ours.iter().all(|pid| !alive(*pid)),
        "{ours:?} of {}",
        init.seen
    );
    assert!(
        others.iter().all(|pid| alive(*pid)),
        "those of another service were hit"
    );
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn what_a_crashed_service_left_behind_is_gone_before_it_starts_again() {
    let config = format!(
        r#"
        [service.app]
        command = "/usr/bin/python3 {}"
        backoff = {{ initial = "10ms", max = "20ms" }}
        "#,
        program("escape.py")
    );
    let mut init = Setup::new(&config).start();
    init.wait_for("escaped 2");
    let first = init.number_after("pid ");
    init.ask_ok(&["signal", "KILL", "app"]);
    let place = init.wait_from(0, "restarts ");
    init.wait_from(place, "pid ");
    assert!(!alive(first));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn five_thousand_orphans_are_reaped() {
    let config = format!(
        r#"
        [service.app]
        command = "/usr/bin/python3 {}"
        "#,
        program("orphans.py")
    );
    for pid1 in [false, true] {
        let setup = Setup::new(&config);
        let mut init = if pid1 { setup.own_namespace() } else { setup }.start();
        init.wait_for("5000 orphans made");
        let pid = init.pid();
        let children = format!("/proc/{pid}/task/{pid}/children");
        eventually("only the service is left", || {
            let children = fs::read_to_string(&children).expect("it lives");
            (children.split_whitespace().count() == 1).then_some(())
        });
        assert_eq!(init.stop(), Some(0));
    }
}

/// A cgroup of our own, gone with the test.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        eventually("the cgroup is empty", || fs::remove_dir(&self.0).ok());
    }
}

#[test]
fn where_init_may_make_cgroups_each_service_has_its_own_and_it_is_removed_at_the_end() {
    let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let root = root
        .into_iter()
        .find(|root| root.join("cgroup.procs").exists());
    let root = root.expect("a version 2 hierarchy");
    let path = root.join(format!("holdall-init-test-{}", std::process::id()));
    fs::create_dir(&path).expect("root may make a cgroup");
    let group = Group(path);
    let config = format!(
        "[service.app]\ncommand = \"/usr/bin/python3 {}\"\n",
        program("escape.py")
    );
    let join = format!(
        "echo $$ > {}/cgroup.procs && exec \"$@\"",
        group.0.display()
    );
    let mut init = Setup::new(&config)
        .by(&["sh", "-c", &join, "sh"])
        .own_namespace()
        .start();
    init.wait_for("escaped 2");
    let folder = fs::read_dir(&group.0).expect("it is there").flatten();
    let mut folder = folder.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let folder = folder.next().expect("the folder of this init").path();
    let own = folder.join("service.app");
    let inside = fs::read_to_string(own.join("cgroup.procs")).expect("the service's own");
    assert_eq!(inside.lines().count(), 3, "{inside}");
    init.ask_ok(&["stop", "app"]);
    let inside = fs::read_to_string(own.join("cgroup.procs")).expect("the service's own");
    assert_eq!(inside, "");
    assert_eq!(init.stop(), Some(0));
    assert!(!own.exists() && !folder.exists());
}

#[test]
fn two_inits_in_one_cgroup_end_only_their_own() {
    let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let mut root = root.into_iter();
    let root = root.find(|root| root.join("cgroup.procs").exists());
    let root = root.expect("a version 2 hierarchy");
    let path = root.join(format!("holdall-init-two-{}", std::process::id()));
    fs::create_dir(&path).expect("root may make a cgroup");
    let group = Group(path);
    let join = format!(
        "echo $$ > {}/cgroup.procs && exec \"$@\"",
        group.0.display()
    );
    let start = || {
        let setup = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n");
        setup.by(&["sh", "-c", &join, "sh"]).own_namespace().start()
    };
    let (mut one, mut two) = (start(), start());
    one.wait_for("ready after");
    two.wait_for("ready after");
    let pid = two.pid_of("app");
    assert_eq!(one.stop(), Some(0));
    assert_eq!(two.status().services.first().map(|s| s.restarts), Some(0));
    assert_eq!(two.pid_of("app"), pid, "it is not touched");
    assert_eq!(two.stop(), Some(0));
}

#[test]
fn a_child_that_ignores_term_or_is_stopped_is_gone_after_stop() {
    let script = "(trap '' TERM; sleep 1001 & while :; do wait; done) & \
                  (kill -STOP $(sh -c 'echo $PPID'); sleep 1002) & \
                  trap '' TERM; echo runs; while :; do wait; done";
    let config = format!(
        "[service.app]\ncommand = [\"bash\", \"-c\", \"{script}\"]\nstop = {{ timeout = \"50ms\" }}\n"
    );
    let mut init = Setup::new(&config).start();
    init.wait_for("| runs");
    assert!(processes_running(&init, "sleep") + processes_running(&init, "bash") > 2);
    init.ask_ok(&["stop", "app"]);
    assert_eq!(processes_running(&init, "sleep"), 0);
    assert_eq!(processes_running(&init, "bash"), 0);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn an_init_within_a_service_keeps_its_own_and_dies_with_all_of_them() {
    let setup = Setup::without_config();
    let (inner, run) = (setup.path("inner.toml"), setup.path("inner-run"));
    let escape = format!(
        "[service.deep]\ncommand = \"/usr/bin/python3 {}\"\n",
        program("escape.py")
    );
    fs::write(&inner, escape).expect("write");
    let config = format!(
        "[service.nested]\ncommand = \"{} --config {inner} --run-dir {run}\"\n",
        crate::world::INIT
    );
    fs::write(setup.path("holdall.toml"), config).expect("write");
    let path = setup.path("holdall.toml");
    let mut init = setup.args(&["--config", &path]).start();
    init.wait_for("escaped 2");
    let deep = init.number_after("pid ");
    init.ask_ok(&["signal", "KILL", "nested"]);
    init.wait_for("nested: ended with SIGKILL");
    eventually("the innermost is gone", || (!alive(deep)).then_some(()));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn without_proc_it_says_so_once_and_kills_the_group() {
    let script = "umount -l /proc && exec \"$@\"";
    let config = "[service.app]\ncommand = \"sh -c 'sleep 1000 & echo runs; wait'\"\n";
    let mut init = Setup::new(config)
        .by(&["unshare", "--mount", "sh", "-c", script, "sh"])
        .start();
    init.wait_for("runs");
    assert_eq!(init.stop(), Some(0));
    assert_eq!(
        init.seen.matches("there is no /proc").count(),
        1,
        "{}",
        init.seen
    );
}

#[test]
fn a_probe_that_hangs_is_killed_with_all_that_it_started() {
    let config = format!(
        r#"
        [service.app]
        command = "sleep 1000"
        on_unhealthy = "ignore"
        health = {{ exec = "/usr/bin/python3 {}", interval = "50ms", timeout = "1500ms", retries = 1 }}
        "#,
        program("escape.py")
    );
    let mut init = Setup::new(&config).start();
    init.wait_for("unhealthy: `/usr/bin/python3");
    // Another one may be under way by now; none of an earlier one is left.
    eventually("no more than one probe's processes are there", || {
        (processes_running(&init, "escape.py") <= 3).then_some(())
    });
    assert_eq!(init.stop(), Some(0));
}
