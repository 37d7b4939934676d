//! What a docker user does all day, each verb for real.

use std::io::Write as _;
use std::process::Stdio;

use crate::env::Env;
use crate::{small, status};

const SLEEPER: &str = "[service.a]\ncommand = \"sleep 1000\"\n";

#[test]
fn run_rm_gives_the_commands_output_and_code_and_leaves_no_box() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let ran = env.run([
        "run",
        "--rm",
        "tool",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 3",
    ]);
    assert_eq!((ran.code, ran.out.as_str()), (3, "out\n"), "{}", ran.err);
    assert!(ran.err.contains("err\n"), "{}", ran.err);
    assert!(env.boxes().is_empty());
    let ran = env.run(["run", "--rm", "tool", "no-such-program"]);
    assert_eq!(ran.code, 127, "{}", ran.err);
}

#[test]
fn many_short_runs_never_lose_their_output_or_code() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    for round in 0..20 {
        let code = (round % 3).to_string();
        let script = format!("echo round {round}; exit {code}");
        let ran = env.run(["run", "--rm", "tool", "sh", "-c", &script]);
        assert_eq!(ran.code.to_string(), code, "{}", ran.err);
        assert_eq!(ran.out, format!("round {round}\n"));
    }
}

#[test]
fn environment_comes_from_flags_and_files_and_the_profile() {
    let env = Env::new();
    let services = "[service.a]\ncommand = \"sh -c 'echo level=$LEVEL who=$WHO; sleep 1000'\"\nenv = { LEVEL = \"low\", WHO = \"file\" }\n[profile.production]\nenv = { LEVEL = \"high\" }\n";
    small::build(&env, "env", services);
    let file = env.root().join("projects/vars");
    std::fs::write(&file, "FROM_FILE=yes\n").expect("a file below the root");
    let file = file.to_str().expect("UTF-8").to_owned();
    let script = "echo $FROM_FILE $FLAG";
    let args = [
        "run",
        "--rm",
        "--env-file",
        &file,
        "-e",
        "FLAG=set",
        "env",
        "sh",
        "-c",
        script,
    ];
    assert_eq!(env.run(args).ok(), "yes set\n");

    let _name = env
        .run(["run", "-d", "--name", "p", "--profile", "production", "env"])
        .ok();
    // The profile's value is used.
    status::until_logged(&env, "p/a", "level=high who=file");
    let err = env
        .run(["run", "-d", "--profile", "prodution", "env"])
        .fails(125);
    assert!(
        err.contains("prodution") && err.contains("production"),
        "{err}"
    );
}

#[test]
fn exec_passes_streams_user_directory_and_code() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let _name = env.run(["run", "-d", "--name", "tool", "tool"]).ok();
    status::until_ready(&env, "tool");
    assert_eq!(
        env.run([
            "exec",
            "-u",
            "web",
            "-w",
            "/data",
            "tool",
            "sh",
            "-c",
            "id -u; pwd"
        ])
        .ok(),
        "101\n/data\n"
    );
    assert_eq!(
        env.run(["exec", "-e", "A=b c", "tool", "sh", "-c", "echo $A; exit 9"])
            .code,
        9
    );
    assert_eq!(env.run(["exec", "tool", "no-such-program"]).code, 127);
    assert_eq!(env.run(["exec", "tool", "/etc/passwd"]).code, 126);

    let mut cat = env.command(["exec", "-i", "tool", "wc", "-c"]);
    let mut child = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("holdall");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&vec![b'x'; 1_000_000]).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1000000");
}

#[test]
fn exec_with_a_terminal_is_on_a_terminal_of_the_box() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let _name = env.run(["run", "-d", "--name", "tool", "tool"]).ok();
    status::until_ready(&env, "tool");
    // script(1) gives holdall a terminal of its own to pass on.
    let exec = env.command(["exec", "-it", "tool", "sh", "-c", "tty; stty size; exit 5"]);
    let line = format!(
        "{} exec -it tool sh -c 'tty; exit 5'",
        exec.get_program().display()
    );
    let mut script = std::process::Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .env("HOLDALL_ROOT", env.root())
        .stdin(Stdio::null());
    let output = script.output().expect("script is part of Debian's base");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("/dev/pts/"), "{out}");
    assert_eq!(output.status.code(), Some(5), "{out}");
}

#[test]
fn a_stopped_box_keeps_its_files_and_rm_removes_them() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let _name = env.run(["run", "-d", "--name", "tool", "tool"]).ok();
    status::until_ready(&env, "tool");
    let _out = env
        .run(["exec", "tool", "sh", "-c", "echo kept > /data/file"])
        .ok();
    let err = env.run(["rm", "tool"]).fails(1);
    assert!(err.contains("running") && err.contains("help:"), "{err}");
    let _name = env.run(["restart", "tool"]).ok();
    status::until_ready(&env, "tool");
    assert_eq!(
        env.run(["exec", "tool", "cat", "/data/file"]).ok(),
        "kept\n"
    );
    let _name = env.run(["stop", "tool"]).ok();
    let _name = env.run(["stop", "tool"]).ok();
    let _name = env.run(["rm", "tool"]).ok();
    assert!(env.boxes().is_empty());
}

#[test]
fn volumes_outlive_their_box_and_a_read_only_root_is_read_only() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let write = [
        "run",
        "--rm",
        "--read-only",
        "-v",
        "keep:/data",
        "tool",
        "sh",
        "-c",
    ];
    let both = "echo x > /data/f; touch /etc/no 2>/dev/null || echo read-only";
    assert_eq!(
        env.run(write.iter().copied().chain([both])).ok(),
        "read-only\n"
    );
    assert_eq!(
        env.run([
            "run",
            "--rm",
            "-v",
            "keep:/data:ro",
            "tool",
            "cat",
            "/data/f"
        ])
        .ok(),
        "x\n"
    );
    let host = env.root().join("projects/shared");
    std::fs::create_dir_all(&host).expect("a folder below the root");
    std::fs::write(host.join("f"), "from the host\n").expect("a file");
    let bind = format!("{}:/mnt:ro", host.display());
    assert_eq!(
        env.run(["run", "--rm", "-v", &bind, "tool", "cat", "/mnt/f"])
            .ok(),
        "from the host\n"
    );
}

#[test]
fn one_service_stops_starts_and_restarts_while_the_other_stays() {
    let env = Env::new();
    small::build(
        &env,
        "two",
        "[service.a]\ncommand = \"sleep 1000\"\n[service.b]\ncommand = \"sleep 1000\"\n",
    );
    let _name = env.run(["run", "-d", "--name", "two", "two"]).ok();
    status::until_ready(&env, "two");
    let pid =
        |which: &str| status::service(&env, "two", which).expect("init answers")["pid"].as_u64();
    let (a, b) = (pid("a"), pid("b"));
    let _name = env.run(["restart", "two/a"]).ok();
    assert_ne!(pid("a"), a);
    assert_eq!(pid("b"), b);
    let _name = env.run(["stop", "two/a"]).ok();
    assert_eq!(
        status::service(&env, "two", "a").expect("init answers")["state"],
        "stopped"
    );
    let _name = env.run(["start", "two/a"]).ok();
    assert!(pid("a").is_some());
    let err = env.run(["restart", "two/c"]).fails(1);
    assert!(err.contains('c'), "{err}");
}

#[test]
fn a_box_is_isolated_from_the_host() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let script = "id -u; cat /proc/self/status | grep -E '^(Seccomp|NoNewPrivs|CapEff):'; ls /proc | grep -c '^[0-9]*$'; cat /proc/kcore 2>&1 | head -c 1 | wc -c; hostname";
    let out = env
        .run(["run", "--rm", "--name", "inner", "tool", "sh", "-c", script])
        .ok();
    assert!(
        out.contains("Seccomp:\t2") && out.contains("NoNewPrivs:\t1"),
        "{out}"
    );
    assert!(
        !out.contains("000001ffffffffff"),
        "not all capabilities:\n{out}"
    );
    assert!(out.contains("inner"), "{out}");
}

#[test]
fn inspect_shows_the_box_and_the_image_as_json() {
    let env = Env::new();
    small::build(&env, "tool", SLEEPER);
    let _name = env.run(["run", "-d", "--name", "one", "tool"]).ok();
    let of_box: serde_json::Value =
        serde_json::from_str(&env.run(["inspect", "one"]).ok()).expect("JSON");
    assert_eq!(of_box[0]["name"], "one");
    let of_image: serde_json::Value =
        serde_json::from_str(&env.run(["inspect", "tool"]).ok()).expect("JSON");
    assert_eq!(of_image[0]["config"]["config"]["Entrypoint"][0], "/init");
}
