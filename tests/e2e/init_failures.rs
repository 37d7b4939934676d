//! Any system call of the init may fail, once or for a while: no process, no
//! descriptor, no memory, a broken disk, an interruption. It goes on, heals
//! what the fault broke when that is over, and ends only by order.
//!
//! A real init, as the subreaper that it is beneath another one, with a service
//! that runs, one that must be ready first, and one that is asked. CI takes a
//! few points of each; `make faults` takes every one.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually::{LONG, eventually};
use crate::failures::{DESCRIPTORS, DISK, MEMORY, PROCESSES, WAITS};
use crate::inject::{self, Ended, Fault, Point, Role};
use crate::kills::{tell, try_each};

/// The init that goes into every image.
const INIT: &str = env!("HOLDALL_INIT");

/// Quick to fail and quick to be back, and never given up.
const SERVICES: &str = r#"
[service.first]
command = "sleep 1000"
backoff = { initial = "10ms", max = "50ms" }
give_up = { failures = 1000, within = "1s" }

[service.second]
command = "sh -c 'while :; do echo word; sleep 0.1 & wait $!; done'"
depends_on = ["first"]
backoff = { initial = "10ms", max = "50ms" }
give_up = { failures = 1000, within = "1s" }

[service.asked]
command = "sleep 1000"
health = { exec = "true", interval = "100ms", start_period = "10s" }
backoff = { initial = "10ms", max = "50ms" }
give_up = { failures = 1000, within = "1s" }
"#;

/// What fails with what.
const FAILURES: [(&[i64], Errno); 9] = [
    (PROCESSES, Errno::EAGAIN),
    (PROCESSES, Errno::ENOMEM),
    (DESCRIPTORS, Errno::EMFILE),
    (DESCRIPTORS, Errno::ENFILE),
    (DISK, Errno::ENOSPC),
    (DISK, Errno::EIO),
    (WAITS, Errno::EINTR),
    (MEMORY, Errno::ENOMEM),
    (KERNEL, Errno::ENOMEM),
];

/// Other calls for which the kernel needs memory.
const KERNEL: &[i64] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_execve,
    libc::SYS_setsid,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_timerfd_settime,
    libc::SYS_bind,
    libc::SYS_listen,
];

/// How many calls in a row fail.
const TIMES: [u64; 2] = [1, 25];

/// Points of one failure in CI.
const SAMPLE: u64 = 1;

/// One life of an init with a fault in it.
struct Life<'a> {
    dir: &'a Path,
    init: Pid,
}

impl Life<'_> {
    fn ask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(INIT);
        command.arg("--run-dir").arg(self.dir.join("run"));
        command.args(args).output().expect("the init's client")
    }

    fn is_over(&self) -> bool {
        kill(self.init, None) == Err(Errno::ESRCH)
    }

    /// Until the client's answer pleases, or the init is over.
    fn until(&self, what: &str, args: &[&str], right: impl Fn(&Output) -> bool) {
        eventually(what, LONG, || {
            let output = self.ask(args);
            let done = right(&output) || self.is_over();
            done.then_some(()).ok_or_else(|| format!("{output:?}"))
        });
    }

    /// Everything that an init is for, whatever fails meanwhile; then the order
    /// to stop.
    fn live(&self) {
        let ready = |output: &Output| output.status.success();
        self.until("it is ready", &["health", "--ready"], ready);
        for service in ["first", "second", "asked"] {
            // It may be on its way up just now.
            self.until("it is signalled", &["signal", "KILL", service], ready);
        }
        self.until("all are back", &["ps", "--format", "json"], |output| {
            let Ok(status) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else {
                return false;
            };
            let services = status["services"].as_array().cloned().unwrap_or_default();
            let back = |one: &serde_json::Value| {
                one["restarts"].as_u64() > Some(0) && one["state"] == "ready"
            };
            services.len() == 3 && services.iter().all(back)
        });
        self.until("it shows its log", &["logs", "-n", "5"], ready);
        let _over = kill(self.init, Signal::SIGTERM);
    }
}

/// From the first process of an init to its end.
fn run(point: Point<'_>) -> Ended {
    let dir = tempfile::Builder::new().prefix("holdall-e2e-").tempdir();
    let dir = dir.expect("a folder");
    fs::write(dir.path().join("holdall.toml"), SERVICES).expect("written");
    let mut init = Command::new(INIT);
    init.arg("--config").arg(dir.path().join("holdall.toml"));
    init.arg("--run-dir").arg(dir.path().join("run"));
    init.env("HOLDALL_TEST", dir.path());
    let ended = inject::run_beside(&init, point, |init| {
        let dir = dir.path();
        Life { dir, init }.live();
    });
    nothing_lives(dir.path());
    ended
}

/// No process of its services is left, by the mark in their environment.
fn nothing_lives(dir: &Path) {
    let mark = [b"HOLDALL_TEST=", dir.as_os_str().as_encoded_bytes()].concat();
    eventually("nothing of it runs", LONG, || {
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|one| one == mark) {
                return Err(format!("{}", entry.path().display()));
            }
        }
        Ok(())
    });
}

/// It was ended by the order, and by nothing else; or it could not begin, said
/// so, and had started nothing.
fn ended_by_order(ended: &Ended, mute: bool, what: &str) -> bool {
    let code = ended.status.and_then(|status| status.code());
    let all = || format!("{what}: {ended:?}");
    assert!(!ended.err.contains("bug at"), "{}", all());
    let began = ended.made > 0;
    // 70 where it had only to begin to wait.
    if !began && matches!(code, Some(1 | 70)) {
        // Words that can't be written can't be read.
        let said = ended.err.contains("holdall-init: cannot") || mute;
        assert!(said, "{}", all());
        return false;
    }
    assert_eq!(code, Some(0), "{}", all());
    true
}

#[test]
fn an_init_whose_calls_fail_goes_on_and_heals() {
    for (calls, errno) in FAILURES {
        for times in TIMES {
            let point = |at| Point {
                role: Role::Named(INIT),
                calls,
                at,
                fault: Fault::Error(errno),
                times,
            };
            let undisturbed = run(point(u64::MAX));
            assert!(ended_by_order(&undisturbed, false, "undisturbed"));
            let (mut hit, mut refused) = (0, 0);
            try_each(undisturbed.counted, SAMPLE, |at| {
                let what = format!("{errno} {times} times from {at}");
                let ended = run(point(at));
                hit += u64::from(ended.hit.is_some());
                let mute = calls.contains(&libc::SYS_write);
                refused += u64::from(!ended_by_order(&ended, mute, &what));
            });
            tell(&format!(
                "init: {errno} {times} times at {hit} of {} calls, {refused} could not begin",
                undisturbed.counted
            ));
        }
    }
}

#[test]
fn an_init_whose_descriptors_clients_have_taken_heals_a_crash_and_answers_again() {
    let dir = tempfile::Builder::new().prefix("holdall-e2e-").tempdir();
    let dir = dir.expect("a folder");
    fs::write(dir.path().join("holdall.toml"), SERVICES).expect("written");
    let mut init = Command::new("/bin/sh");
    // Enough for three services and their logs.
    init.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", INIT]);
    init.arg("--config").arg(dir.path().join("holdall.toml"));
    init.arg("--run-dir").arg(dir.path().join("run"));
    init.env("HOLDALL_TEST", dir.path());
    init.stdout(Stdio::null()).stdin(Stdio::null());
    let mut init = init.spawn().expect("a shell");
    let life = Life {
        dir: dir.path(),
        init: Pid::from_raw(i32::try_from(init.id()).expect("a pid")),
    };
    let ready = |output: &Output| output.status.success();
    life.until("it is ready", &["health", "--ready"], ready);
    let status = life.ask(&["ps", "--format", "json"]).stdout;
    let status: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
    let services = status["services"].as_array().expect("services");
    let pid = services[0]["pid"].as_i64().expect("it runs");
    let socket = dir.path().join("run/control.sock");
    // Turned away, those that find no room; none of them waits.
    let held: Vec<_> = (0..200).map(|_| UnixStream::connect(&socket)).collect();
    assert!(held.iter().filter(|client| client.is_ok()).count() > 100);
    kill(
        Pid::from_raw(i32::try_from(pid).expect("a pid")),
        Signal::SIGKILL,
    )
    .expect("it runs");
    drop(held);
    life.until("it is back", &["ps", "--format", "json"], |output| {
        let status = serde_json::from_slice::<serde_json::Value>(&output.stdout);
        let status = status.unwrap_or_default();
        let first = &status["services"][0];
        first["restarts"].as_u64() > Some(0) && first["state"] == "ready"
    });
    kill(life.init, Signal::SIGTERM).expect("it runs");
    assert_eq!(init.wait().expect("our child").code(), Some(0));
    nothing_lives(dir.path());
}
