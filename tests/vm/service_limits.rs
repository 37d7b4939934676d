//! `limits` of services where version 2 of cgroups has its controllers: the
//! host of the tests has version 1 beside an empty version 2.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::disk::Tree;
use crate::guest::{printed, text};
use crate::machine::Machine;

const INIT: &str = "/target/holdall-init";
const CONFIG: &str = "/etc/limited.toml";
const RUN: &str = "/run/limited";

/// The group in which init is started.
const GROUP: &str = "/sys/fs/cgroup/box";

/// `app` starts more than it may, and goes on with as many as it was let.
/// `eater` keeps what it reads.
const SERVICES: &str = r#"
[service.app]
command = "sh -c '(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do sleep 1000 & done); echo multiplied; sleep 1000 & wait'"
limits = { pids = 12, memory = "32M", cpu = 0.5 }
stop = { timeout = "100ms" }

[service.eater]
command = "sh -c 'echo eats; exec tail -c 200000000 /dev/zero'"
limits = { memory = "8M" }
restart = "never"
essential = false
"#;

pub(crate) fn story() {
    let tree = Tree::new();
    let init = Path::new(env!("CARGO_BIN_EXE_holdall")).with_file_name("holdall-init");
    tree.copy(&init, INIT);
    fs::create_dir_all(tree.at("/etc")).expect("a folder");
    tree.write(CONFIG, SERVICES);
    let disk = tree.into_disk();
    Machine::boot(&disk, "service-limits").until_off();
}

pub(crate) fn in_machine() {
    let _ = fs::remove_dir(GROUP);
    // As an engine does for the group of a container.
    fs::write(
        "/sys/fs/cgroup/cgroup.subtree_control",
        "+cpu +memory +pids",
    )
    .expect("delegated");
    fs::create_dir(GROUP).expect("a group");
    // As PID 1 of a namespace each service has a group to be ended by; else
    // only its limits ask for one.
    for namespace in ["unshare --pid --fork --mount-proc", ""] {
        in_group(namespace);
    }
    fs::remove_dir(GROUP).expect("nothing is left in it");
}

fn in_group(namespace: &str) {
    // What makes the namespace stays outside: a group with a process that is
    // not init's can't have controllers below it.
    let start = format!(
        "exec {namespace} sh -c 'echo 0 > {GROUP}/cgroup.procs && exec {INIT} --config {CONFIG} --run-dir {RUN}'"
    );
    let mut init = Command::new("sh")
        .args(["-c", &start])
        .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut lines = BufReader::new(init.stdout.take().expect("it is piped")).lines();
    let said = until(&mut lines, &["eater: ended with SIGKILL", "multiplied"]);
    assert!(
        said.contains("out of memory: the kernel has killed"),
        "{said}"
    );
    let folder = folder().expect("init has made its folder");
    let app = folder.join("service.app");
    let value = |file: &str| text(app.join(file)).trim().to_owned();
    assert_eq!(value("pids.max"), "12");
    assert_eq!(value("memory.max"), (32 << 20).to_string());
    assert_eq!(value("cpu.max"), "50000 100000");
    let current: u32 = value("pids.current").parse().expect("a number");
    assert!((1..=12).contains(&current), "{current} processes");
    let _nothing = printed(Command::new(INIT).args(["--run-dir", RUN, "stop", "app"]));
    assert_eq!(value("cgroup.procs"), "", "all of them are gone");
    stop(&mut init);
    assert!(!folder.exists(), "{folder:?}");
}

/// Reads lines until all of these words were in one: all that were read.
fn until(lines: &mut impl Iterator<Item = std::io::Result<String>>, words: &[&str]) -> String {
    let mut said = String::new();
    for line in lines.by_ref() {
        let line = line.expect("text");
        println!("{line}");
        said += &line;
        said.push('\n');
        if words.iter().all(|words| said.contains(words)) {
            return said;
        }
    }
    panic!("init ended before it said {words:?}:\n{said}");
}

fn folder() -> Option<PathBuf> {
    let entries = fs::read_dir(GROUP).expect("a group").flatten();
    let mut folders =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("holdall."));
    folders.next().map(|entry| entry.path())
}

/// Ends init by the signal that an engine sends; it may have a shell or the
/// program that made its namespace before it.
fn stop(init: &mut Child) {
    let pids = text(folder().expect("its folder").join("init/cgroup.procs"));
    let pid = pids.lines().last().expect("init is in its leaf").to_owned();
    let _nothing = printed(Command::new("kill").args(["-TERM", &pid]));
    let ended = init.wait().expect("our own child");
    assert!(ended.success(), "{ended}");
}
