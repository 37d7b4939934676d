//! Ctrl-C during build and run leaves nothing behind, and a later run works.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::env::Env;
use crate::{small, status};

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("a child that is not reaped");
}

/// Reads `child`'s standard error up to the line with `needle`.
fn until_said(child: &mut Child, needle: &str) -> BufReader<std::process::ChildStderr> {
    let mut reader = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        let read = reader.read_line(&mut line).expect("text");
        assert_ne!(read, 0, "ended before {needle:?}:\n{seen}");
        seen.push_str(&line);
        if line.contains(needle) {
            return reader;
        }
    }
}

const SLOW: &str = "echo now running; sleep 1000";

fn slow_project(env: &Env) -> std::path::PathBuf {
    let image = small::IMAGE.replace("run = [", &format!("run = [\n  \"{SLOW}\",\n"));
    let dir = env.project(
        "slow",
        &format!("name = \"slow\"\n{image}\n[service.a]\ncommand = \"sleep 9\"\n"),
    );
    small::fill(&dir);
    dir
}

/// Sends a signal to a build in the middle of a step; then the same project
/// with a quick step builds. What is left of the first is found at the end.
/// There is no exit `code` where the signal itself ends the build.
fn a_build_ended_by(by: Signal, code: Option<i32>) {
    let env = Env::new();
    let dir = slow_project(&env);
    let mut build = env.command(["build".as_ref(), dir.as_os_str()]);
    let mut child = build
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("holdall");
    let rest = until_said(&mut child, "now running");
    signal(&child, by);
    drop(rest);
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), code);
    assert_eq!(env.run(["images", "-q"]).ok(), "");
    let toml = std::fs::read_to_string(dir.join("holdall.toml")).expect("the recipe");
    std::fs::write(dir.join("holdall.toml"), toml.replace("sleep 1000", "true")).expect("written");
    let _built = env.run(["build".as_ref(), dir.as_os_str()]).ok();
}

#[test]
fn ctrl_c_during_a_build_step_ends_it_and_a_later_build_works() {
    a_build_ended_by(Signal::SIGINT, Some(130));
}

#[test]
fn sigkill_during_a_build_step_leaves_nothing_running_and_a_later_build_works() {
    a_build_ended_by(Signal::SIGKILL, None);
}

#[test]
fn ctrl_c_during_run_stops_the_box_in_order_and_a_later_run_works() {
    let env = Env::new();
    small::build(
        &env,
        "polite",
        "[service.a]\ncommand = \"sh -c 'trap \\\"echo a got TERM; exit 0\\\" TERM; echo up; while :; do sleep 0.1; done'\"\n",
    );
    let mut run = env.command(["run", "--rm", "--name", "polite", "polite"]);
    let mut child = run
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("holdall");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let up = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("up")));
    assert!(up.is_some());
    signal(&child, Signal::SIGINT);
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let status = child.wait().expect("it ends");
    assert!(
        rest.iter().any(|line| line.contains("a got TERM")),
        "{rest:?}"
    );
    assert_eq!(status.code(), Some(0));
    assert!(env.boxes().is_empty(), "--rm removed it");

    let _name = env.run(["run", "-d", "--name", "polite", "polite"]).ok();
    status::until_ready(&env, "polite");
}
