//! An unchanged build spawns nothing and reads no unchanged file; counted by
//! strace, since counts don't drift.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::env::Env;
use crate::small;

const SERVICES: &str = "[service.a]\ncommand = \"sleep 1000\"\n";

/// System calls of a build, one a line.
fn trace(env: &Env, dir: &Path) -> String {
    let out = env.root().join("trace");
    let build = env.command(["build".as_ref(), dir.as_os_str()]);
    let status = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-s",
            "256",
            "-e",
            "trace=process,openat,openat2,open,read,pread64,mmap",
            "-o",
        ])
        .arg(&out)
        .arg(build.get_program())
        .args(build.get_args())
        .env("HOLDALL_ROOT", env.root())
        .output()
        .expect("strace is installed");
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    std::fs::read_to_string(out).expect("strace wrote")
}

/// Lines of system calls that start a process.
fn spawns(trace: &str) -> Vec<&str> {
    let calls = ["execve(", "fork(", "vfork(", "clone("];
    let starts = |line: &&str| {
        calls.iter().any(|call| line.contains(call))
            // Threads share the process.
            || (line.contains("clone3(") && !line.contains("CLONE_THREAD"))
    };
    // The first is strace starting holdall itself.
    trace
        .lines()
        .filter(starts)
        .filter(|line| !line.contains("CLONE_THREAD"))
        .skip(1)
        .collect()
}

/// Files below `dir` that were opened and read.
fn reads(trace: &str, dir: &Path) -> BTreeSet<String> {
    let dir = dir.to_str().expect("a temporary path is UTF-8");
    let content = |line: &&str| line.contains("read(") || line.contains("pread64(");
    let names = trace.lines().filter(content).filter_map(|line| {
        let (_, rest) = line.split_once('<')?;
        let (path, _) = rest.split_once('>')?;
        path.strip_prefix(dir).map(str::to_owned)
    });
    names.collect()
}

#[test]
fn an_unchanged_build_spawns_no_process_and_reads_no_content() {
    let env = Env::new();
    let dir = small::project(&env, "small", SERVICES);
    let first = env.run(["build".as_ref(), dir.as_os_str()]).ok();
    assert!(!first.contains(" 0 run"), "{first}");

    let trace = trace(&env, &dir);
    assert_eq!(spawns(&trace), Vec::<&str>::new());
    let read = reads(&trace, &dir);
    assert_eq!(
        read,
        BTreeSet::from(["/holdall.toml".to_owned()]),
        "only the recipe is read"
    );

    let second = env.run(["build".as_ref(), dir.as_os_str()]).ok();
    assert!(second.contains(" 0 run"), "{second}");
    let id = |line: &str| line.split(' ').nth(1).map(str::to_owned);
    assert_eq!(id(&first), id(&second));
}

#[test]
fn a_changed_file_runs_its_step_and_those_after_it_only() {
    let env = Env::new();
    let dir = small::project(&env, "small", SERVICES);
    let _first = env.run(["build".as_ref(), dir.as_os_str()]).ok();
    std::fs::write(dir.join("etc/motd"), "new\n").expect("a file below the root");
    let ran = env.run(["build".as_ref(), dir.as_os_str()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let cached = ran
        .err
        .lines()
        .filter(|line| line.ends_with("cached"))
        .count();
    assert!(cached >= 2, "the copies before it are cached:\n{}", ran.err);
    assert!(!ran.out.contains(" 0 run"), "{}", ran.out);
}

#[test]
fn dry_run_prints_the_plan_and_runs_nothing() {
    let env = Env::new();
    let dir = small::project(&env, "small", SERVICES);
    let plan = env
        .run(["build".as_ref(), "--dry-run".as_ref(), dir.as_os_str()])
        .ok();
    assert!(
        plan.contains("copy") && plan.contains("busybox --install"),
        "{plan}"
    );
    assert_eq!(env.run(["images", "-q"]).ok(), "");
}

#[test]
fn a_failing_command_shows_its_last_lines_and_tags_nothing() {
    let env = Env::new();
    let toml = format!(
        "name = \"bad\"\n{}\n{SERVICES}",
        small::IMAGE.replace("run = [", "run = [\n  \"echo about to fail; exit 3\",\n")
    );
    let dir = env.project("bad", &toml);
    small::fill(&dir);
    let err = env.run(["build".as_ref(), dir.as_os_str()]).fails(1);
    assert!(err.contains("about to fail") && err.contains('3'), "{err}");
    assert_eq!(env.run(["images", "-q"]).ok(), "");
}

#[test]
fn check_finds_what_build_would_refuse() {
    let env = Env::new();
    let dir = small::project(&env, "small", SERVICES);
    assert_eq!(env.run(["check".as_ref(), dir.as_os_str()]).ok(), "ok\n");
    let bad = small::project(&env, "bad", "[service.a]\ncommand = \"\"\n");
    let err = env.run(["check".as_ref(), bad.as_os_str()]).fails(1);
    assert!(err.contains("holdall.toml:"), "{err}");
}
