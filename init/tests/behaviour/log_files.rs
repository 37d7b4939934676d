//! Log files of the services' own.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::world::{Init, Setup, eventually};

/// A place for logs without a symbolic link on its path.
fn place(setup: &Setup) -> PathBuf {
    setup.dir.path().canonicalize().expect("a folder")
}

/// With these services; `LOGS` in them is a folder that no link leads to.
fn setup(config: &str) -> (Setup, PathBuf) {
    let setup = Setup::new("");
    let logs = place(&setup);
    let config = config.replace("LOGS", logs.to_str().expect("text"));
    fs::write(logs.join("holdall.toml"), config).expect("write");
    (setup, logs)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until a file has this text in it; all of it.
fn wait_in(path: &Path, text: &str) -> String {
    eventually(&format!("{text:?} is in {}", path.display()), || {
        Some(read(path)).filter(|found| found.contains(text))
    })
}

#[test]
fn lines_go_to_a_file_as_they_come_and_not_with_those_of_the_box() {
    let (setup, logs) = setup(
        r#"
        [service.app]
        command = "sh -c 'echo out; echo err >&2; printf last; exec sleep 1000'"
        log = { file = "LOGS/app.log" }
        [service.both]
        command = "sh -c 'echo twice; exec sleep 1000'"
        log = { file = "LOGS/both.log", tee = true }
        [service.json]
        command = "sh -c 'echo counted; exec sleep 1000'"
        log = { file = "LOGS/json.log", format = "json" }
        "#,
    );
    let mut init = setup.start();
    init.wait_for("both | twice\n");
    assert_eq!(wait_in(&logs.join("both.log"), "\n"), "twice\n");
    let json = wait_in(&logs.join("json.log"), "\n");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["text"], "counted");
    assert_eq!(
        (&value["service"], &value["stream"]),
        (&"json".into(), &"stdout".into())
    );
    let text = wait_in(&logs.join("app.log"), "err\n");
    assert!(text.contains("out\n"), "{text}");
    assert_eq!(init.stop(), Some(0));
    // Its last words came when it ended, and got an end of line.
    assert!(read(&logs.join("app.log")).ends_with("last\n"));
    assert!(!init.seen.contains("app  | "), "{}", init.seen);
    assert!(!init.seen.contains("json | "), "{}", init.seen);
}

#[test]
fn what_is_in_a_file_is_in_the_ring_as_well() {
    let (setup, logs) = setup(
        r#"
        [service.app]
        command = "sh -c 'echo hidden; exec sleep 1000'"
        log = { file = "LOGS/app.log" }
        "#,
    );
    let mut init = setup.start();
    wait_in(&logs.join("app.log"), "hidden\n");
    let shown = init.ask_ok(&["logs", "app"]);
    assert!(shown.contains("app  | hidden\n"), "{shown}");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_file_is_begun_anew_by_its_size_and_no_line_is_lost() {
    let (setup, logs) = setup(
        r#"
        [service.app]
        type = "oneshot"
        command = "seq 100000"
        log = { file = "LOGS/app.log", size = "64K", count = 100 }
        [service.next]
        command = "sh -c 'echo all written; exec sleep 1000'"
        depends_on = { app = "done" }
        "#,
    );
    let mut init = setup.start();
    init.wait_for("all written");
    assert_eq!(init.stop(), Some(0));
    let old = |number: u32| logs.join(format!("app.log.{number}"));
    let kept = (1..).take_while(|number| old(*number).exists()).count();
    assert_eq!(kept, 588_895 / 65_536);
    let mut files: Vec<PathBuf> = (1..=8).rev().map(old).collect();
    files.push(logs.join("app.log"));
    let text: String = files.iter().map(|file| read(file)).collect();
    assert!(
        text.lines()
            .map(str::to_owned)
            .eq((1..=100_000).map(|n: u32| n.to_string()))
    );
    for file in files {
        assert!(fs::metadata(&file).expect("a file").len() <= 65_536);
    }
}

#[test]
fn usr1_opens_the_files_anew_and_hup_does_not() {
    let (setup, logs) = setup(
        r#"
        [service.app]
        command = "sh -c 'while read line; do echo $line; done <> LOGS/fifo'"
        log = { file = "LOGS/app.log" }
        "#,
    );
    nix::unistd::mkfifo(&logs.join("fifo"), Mode::S_IRWXU).expect("a fifo");
    let say = |line: &str| {
        let mut fifo = fs::File::options()
            .write(true)
            .open(logs.join("fifo"))
            .expect("a fifo");
        std::io::Write::write_all(&mut fifo, line.as_bytes()).expect("written");
    };
    let mut init = setup.start();
    init.wait_for("ready after");
    say("one\n");
    wait_in(&logs.join("app.log"), "one\n");
    fs::rename(logs.join("app.log"), logs.join("moved")).expect("renamed");
    fs::write(logs.join("holdall.toml"), "[service.app]\n").expect("write");
    init.signal(Signal::SIGHUP);
    init.wait_for("cannot reload:");
    say("two\n");
    wait_in(&logs.join("moved"), "two\n");
    init.signal(Signal::SIGUSR1);
    init.wait_for("SIGUSR1: 1 log file opened anew");
    say("three\n");
    assert_eq!(wait_in(&logs.join("app.log"), "three\n"), "three\n");
    assert_eq!(read(&logs.join("moved")), "one\ntwo\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_file_belongs_to_init_and_is_read_by_the_group_of_the_service() {
    let (setup, logs) = setup(
        r#"
        [service.app]
        command = "sh -c 'echo runs; exec sleep 1000'"
        user = "nobody"
        log = { file = "LOGS/app.log" }
        "#,
    );
    let mut init = setup.start();
    wait_in(&logs.join("app.log"), "runs\n");
    let found = fs::metadata(logs.join("app.log")).expect("a file");
    assert_eq!(
        (found.uid(), found.gid(), found.mode() & 0o777),
        (0, 65_534, 0o640)
    );
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_link_that_a_service_put_in_the_place_of_its_log_is_not_followed() {
    let (setup, logs) = setup(
        r#"
        [service.app]
        command = "sh -c 'echo evil; exec sleep 1000'"
        log = { file = "LOGS/app.log", tee = true }
        "#,
    );
    fs::write(logs.join("dear"), "dear").expect("write");
    symlink("dear", logs.join("app.log")).expect("a link");
    let mut init = setup.start();
    init.wait_for("app.log: a symbolic link is not followed");
    init.wait_for("app  | evil");
    assert_eq!(read(&logs.join("dear")), "dear");
    let status = init.status().services;
    assert_eq!(status.first().map(|service| service.log_dropped), Some(1));
    let why = init.ask_ok(&["why", "app"]);
    assert!(why.contains("1 line of its log did not arrive"), "{why}");
    assert_eq!(init.stop(), Some(0));
}

/// An init whose LOGS lie on a disk of 128 KiB, which nobody else sees.
fn on_a_small_disk(config: &str) -> (Init, PathBuf) {
    let (setup, logs) = setup(&config.replace("LOGS", "LOGS/disk"));
    let disk = logs.join("disk");
    fs::create_dir(&disk).expect("a folder");
    for name in ["said", "go"] {
        nix::unistd::mkfifo(&logs.join(name), Mode::S_IRWXU).expect("a fifo");
    }
    let script = r#"mount -t tmpfs -o size=128k none "$0" && exec "$@""#;
    let path = disk.to_str().expect("text").to_owned();
    let init = setup
        .by(&["unshare", "--mount", "sh", "-c", script, &path])
        .start();
    (init, disk)
}

/// A path on its disk, seen from here.
fn seen(init: &Init, path: &Path) -> PathBuf {
    let below = path.strip_prefix("/").expect("an absolute path");
    PathBuf::from(format!("/proc/{}/root", init.pid())).join(below)
}

const FILLS_THE_DISK: &str = r#"
    [service.app]
    command = """sh -c '
        head -c 16384 /dev/zero > LOGS/ballast
        seq -f "line %09g" 20000
        echo full > LOGS/../said; read x < LOGS/../go
        rm LOGS/ballast
        echo after; exec sleep 1000'"""
    log = { file = "LOGS/app.log" }
    [service.other]
    command = "sh -c 'exec sleep 1000'"
"#;

#[test]
fn a_full_disk_is_told_once_and_again_when_there_is_room() {
    let (mut init, disk) = on_a_small_disk(FILLS_THE_DISK);
    let outside = disk.parent().expect("a folder").to_owned();
    init.wait_for("app.log: no space left on device");
    assert_eq!(read(&outside.join("said")), "full\n");
    // Supervision goes on as if nothing were.
    let other = init.pid_of("other").expect("it runs");
    init.ask_ok(&["restart", "other"]);
    assert!(init.pid_of("other").is_some_and(|pid| pid != other));
    let inside = seen(&init, &disk);
    fs::write(outside.join("go"), "go\n").expect("it waits");
    init.wait_for("app.log is written again; ");
    let text = wait_in(&inside.join("app.log"), "after\n");
    // Half a line at most, and it ends where the next one begins.
    let whole = |line: &&str| line.len() == "line 000000001".len() && line.starts_with("line ");
    let odd: Vec<&str> = text.lines().filter(|line| !whole(line)).collect();
    assert!(odd.len() <= 2 && odd.last() == Some(&"after"), "{odd:?}");
    assert!(text.starts_with("line 000000001\nline 000000002\n"));
    let lost = init.status().services;
    let lost = lost.iter().find(|service| service.name.as_str() == "app");
    assert!(lost.is_some_and(|app| app.log_dropped > 10_000), "{lost:?}");
    assert_eq!(init.stop(), Some(0));
    assert_eq!(init.seen.matches("no space left on device").count(), 1);
}

#[test]
fn a_stdout_on_a_full_disk_stops_nobody_and_is_told_once() {
    let (setup, logs) = setup(
        r#"
        [service.app]
        type = "oneshot"
        command = "seq 100000"
        [service.next]
        command = "sleep 1000"
        depends_on = { app = "done" }
        "#,
    );
    let disk = logs.join("disk");
    fs::create_dir(&disk).expect("a folder");
    let script = r#"mount -t tmpfs -o size=128k none "$0" && exec "$@" > "$0/out""#;
    let path = disk.to_str().expect("text").to_owned();
    let mut init = setup
        .by(&["unshare", "--mount", "sh", "-c", script, &path])
        .start();
    eventually("all lines are written", || {
        let answers = init.ask(&["ps"]).status.success();
        answers.then(|| init.pid_of("next")).flatten()
    });
    let kept = init.ask_ok(&["logs"]);
    let told = "init | cannot write the log: no space left on device";
    assert_eq!(kept.matches(told).count(), 1, "{kept}");
    assert!(kept.contains("app  | 100000\n"), "{kept}");
    init.signal(Signal::SIGTERM);
    let (status, stderr) = init.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        stderr.matches("cannot write the log").count(),
        1,
        "{stderr}"
    );
}
