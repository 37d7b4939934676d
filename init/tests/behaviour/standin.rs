//! Under the name of tini or dumb-init: the same scenarios under the real ones
//! and under ours come to the same exits and the same signals.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::world::{INIT, eventually, kill_marked, program};

const SIGNALS: &str = "signals.py";

/// A folder with ours under both names.
fn ours() -> TempDir {
    let dir = tempfile::Builder::new()
        .prefix("standin-")
        .tempdir()
        .expect("a folder");
    for name in ["tini", "dumb-init"] {
        symlink(INIT, dir.path().join(name)).expect("a link");
    }
    dir
}

/// The real one, and ours.
fn both<T>(name: &str, run: impl Fn(&Path, &Path) -> T) -> (T, T) {
    let dir = ours();
    let real = Path::new("/usr/bin").join(name);
    assert!(real.exists(), "{name} is installed");
    let outcome = (
        run(&real, dir.path()),
        run(&dir.path().join(name), dir.path()),
    );
    kill_marked(dir.path());
    outcome
}

fn command(path: &Path, mark: &Path, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(path);
    command
        .args(args)
        .env("HOLDALL_TEST", mark)
        .stdin(Stdio::null());
    for name in [
        "TINI_SUBREAPER",
        "TINI_VERBOSITY",
        "DUMB_INIT_SETSID",
        "DUMB_INIT_DEBUG",
    ] {
        command.env_remove(name);
    }
    command.envs(env.iter().copied());
    command
}

/// Its exit code and what it says to stderr, without numbers of processes.
fn ends(
    name: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> ((Option<i32>, String), (Option<i32>, String)) {
    both(name, |path, mark| {
        let output = command(path, mark, args, env).output().expect("start");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let plain = text.split(&['(', ')'][..]).map(|part| {
            if part.parse::<u32>().is_ok() {
                "N"
            } else {
                part
            }
        });
        (output.status.code(), plain.collect::<Vec<_>>().join("|"))
    })
}

/// One that runs the program which says its signals.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    said: Vec<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut running = Self {
            child,
            stdout,
            said: Vec::new(),
        };
        running.line();
        running
    }

    /// The next line that it says; what init itself says is passed over.
    fn line(&mut self) {
        loop {
            let mut line = String::new();
            self.stdout.read_line(&mut line).expect("read");
            assert!(!line.is_empty(), "it ended: {:?}", self.said);
            if !line.starts_with("init | ") {
                self.said.push(line.trim_end().to_owned());
                return;
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a number"))
    }

    /// Sends a signal, real-time ones too, and waits for so many to say it.
    fn send(&mut self, number: i32, heard_by: usize) {
        let pid = self.pid().to_string();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{number} {pid}")])
            .status();
        assert!(sent.expect("start").success());
        for _ in 0..heard_by {
            self.line();
        }
    }

    /// Its exit code, and all that was said, in no order.
    fn wait(mut self) -> (Option<i32>, Vec<String>) {
        let status = eventually("it ends", || self.child.try_wait().expect("a child"));
        let mut rest = String::new();
        // A child that was not told may hold the pipe: what is there suffices.
        if status.code() != Some(7) {
            let _ = self.stdout.read_to_string(&mut rest);
        }
        self.said.extend(rest.lines().map(str::to_owned));
        self.said.sort();
        (status.code(), self.said)
    }
}

/// Both, with these signals; each is heard by so many.
#[track_caller]
fn hear_the_same(
    name: &str,
    args: &[&str],
    env: &[(&str, &str)],
    signals: &[(i32, usize)],
) -> Vec<String> {
    let witness = program(SIGNALS);
    let mut words = args.to_vec();
    words.insert(
        args.iter()
            .position(|word| word.starts_with("--ch"))
            .unwrap_or(args.len()),
        &witness,
    );
    let (real, ours) = both(name, |path, mark| {
        let mut running = Running::start(command(path, mark, &words, env));
        for (number, heard_by) in signals {
            running.send(*number, *heard_by);
        }
        running.wait()
    });
    assert_eq!(ours, real, "{name} {args:?}");
    ours.1
}

#[test]
fn tini_ends_as_tini_does() {
    let cases: &[&[&str]] = &[
        &["-s", "--", "sh", "-c", "exit 3"],
        &["-s", "sh", "--", "-c", "exit 3"],
        &["-s", "--", "sh", "-c", "kill -9 $$"],
        &["-s", "--", "/no/such/program"],
        &["-s", "--", "no-such-program-in-path"],
        &["-s", "--", "/etc/passwd"],
        &["-s", "-e", "3", "-e", "143", "--", "sh", "-c", "exit 3"],
        &["-se3", "--", "sh", "-c", "exit 4"],
        &["-s", "-e", "143", "--", "sh", "-c", "kill -TERM $$"],
        &["-e", "300", "true"],
        &["-p", "FOO", "true"],
        &["--", "true"],
        &["-v", "--", "true"],
    ];
    for args in cases {
        let (real, ours) = ends("tini", args, &[]);
        if args.contains(&"-v") {
            assert_eq!(ours.0, real.0);
        } else {
            assert_eq!(ours, real, "{args:?}");
        }
    }
    for env in [[("TINI_SUBREAPER", "")], [("TINI_VERBOSITY", "0")]] {
        let (real, ours) = ends("tini", &["--", "true"], &env);
        assert_eq!((&ours, ours.1.as_str()), (&real, ""), "{env:?}");
    }
    let big = "x".repeat(120_000);
    let env = [("A", big.as_str()), ("B", &big)];
    let args = [
        "-s",
        "--",
        "sh",
        "-c",
        "exit $((${#A} / 10000 + ${#B} / 10000))",
    ];
    let (real, ours) = ends("tini", &args, &env);
    assert_eq!((&ours, ours.0), (&real, Some(24)));
}

#[test]
fn tini_says_what_it_is_and_refuses_what_it_does_not_know() {
    for args in [
        &["--version"][..],
        &["-h"],
        &["-l"],
        &[],
        &["-z"],
        &["-p"],
        &["--long", "true"],
    ] {
        let (real, ours) = ends("tini", args, &[]);
        assert_eq!(ours.0, real.0, "{args:?}");
        let first = |text: &str| {
            let line = text.lines().next().unwrap_or("");
            line.trim_start_matches("/usr/bin/").to_owned()
        };
        if args == ["-z"] {
            assert_eq!(first(&ours.1), first(&real.1));
        }
    }
}

/// tini takes the `-c` for its own, which nobody wants.
#[test]
fn the_options_of_a_program_are_its_own() {
    let (real, ours) = ends("tini", &["-s", "sh", "-c", "exit 3"], &[]);
    assert_eq!((real.0, ours.0), (Some(1), Some(3)));
}

#[test]
fn tini_hands_signals_to_the_program_or_to_its_group() {
    let alone = [(1, 1), (10, 1), (28, 1), (2, 1), (37, 1), (15, 1)];
    let said = hear_the_same("tini", &["-s", "--", "--child"], &[], &alone);
    assert!(said.iter().any(|line| line == "main heard 37"), "{said:?}");
    assert!(
        said.iter().all(|line| !line.starts_with("child")),
        "{said:?}"
    );
    let together = [(1, 2), (10, 2), (37, 2), (15, 2)];
    hear_the_same("tini", &["-s", "-g", "--", "--child"], &[], &together);
    let env = [("TINI_KILL_PROCESS_GROUP", "")];
    let said = hear_the_same("tini", &["-s", "--", "--child"], &env, &together);
    assert!(said.iter().any(|line| line == "child heard 37"), "{said:?}");
}

#[test]
fn tini_warns_of_the_orphans_that_it_reaps_where_it_is_told_to() {
    let witness = program(SIGNALS);
    let args = ["-s", "-w", "--", &witness, "--orphan"];
    let (real, ours) = ends("tini", &args, &[]);
    let warns = |text: &str| {
        text.contains("] Reaped zombie process with pid=") || text.contains("Reaped zombie process")
    };
    assert!(warns(&real.1) && warns(&ours.1), "{real:?} {ours:?}");
    assert_eq!(ours.0, real.0);
}

#[test]
fn tini_gets_the_signal_that_it_asked_for_when_its_parent_dies() {
    both("tini", |path, mark| {
        let script = format!(
            "{} -s -p SIGKILL -- sleep 1000 >/dev/null & echo $!; read x",
            path.display()
        );
        let mut shell = command(Path::new("/bin/sh"), mark, &["-c", &script], &[]);
        let mut shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("read");
        let pid: i32 = line.trim().parse().expect("a number");
        eventually("it runs its program", || {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            children.ok().filter(|children| !children.is_empty())
        });
        drop(shell.stdin.take());
        shell.wait().expect("it ends");
        eventually("it dies with its parent", || {
            (!crate::world::alive(pid)).then_some(())
        });
    });
}

#[test]
fn dumb_init_ends_as_dumb_init_does() {
    let cases: &[&[&str]] = &[
        &["sh", "-c", "exit 3"],
        &["--", "sh", "-c", "exit 3"],
        &["-c", "sh", "-c", "kill -9 $$"],
        &["/no/such/program"],
        &["/etc/passwd"],
        &["-r", "99:1", "true"],
        &["-r", "x", "true"],
        &["--rewrite"],
        &["-x"],
    ];
    for args in cases {
        let (real, ours) = ends("dumb-init", args, &[]);
        let plain = |text: String| text.replace("/usr/bin/", "");
        let (real, ours) = ((real.0, plain(real.1)), (ours.0, plain(ours.1)));
        if args.len() > 1 || args == &["/no/such/program"] || args == &["/etc/passwd"] {
            assert_eq!(ours, real, "{args:?}");
        } else {
            assert_eq!(ours.0, real.0, "{args:?}");
        }
    }
    for args in [&["--help"][..], &["-h"], &["--version"], &["-V"], &[]] {
        let (real, ours) = ends("dumb-init", args, &[]);
        assert_eq!(ours.0, real.0, "{args:?}");
    }
}

#[test]
fn dumb_init_hands_signals_to_the_session_or_to_the_program_alone() {
    let together = [(1, 2), (10, 2), (37, 2), (15, 2)];
    let said = hear_the_same("dumb-init", &["--child"], &[], &together);
    assert!(
        said.iter()
            .any(|line| line.starts_with("up: leads its session and its group")),
        "{said:?}"
    );
    let alone = [(1, 1), (10, 1), (15, 1)];
    hear_the_same("dumb-init", &["-c", "--child"], &[], &alone);
    let said = hear_the_same(
        "dumb-init",
        &["--child"],
        &[("DUMB_INIT_SETSID", "0")],
        &alone,
    );
    assert!(
        said.iter()
            .any(|line| line.starts_with("up: is in a session and in a group")),
        "{said:?}"
    );
}

#[test]
fn dumb_init_sends_another_signal_or_none_as_it_is_told() {
    let said = hear_the_same(
        "dumb-init",
        &["-r", "15:3", "--rewrite=1:0", "-r2:10"],
        &[],
        &[(2, 1), (1, 0), (15, 1)],
    );
    assert!(said.contains(&"main heard 10".to_owned()), "{said:?}");
    assert!(said.contains(&"main heard 3".to_owned()), "{said:?}");
    assert!(
        said.iter().all(|line| !line.ends_with("heard 1")),
        "{said:?}"
    );
}

#[test]
fn dumb_init_stops_with_its_program_when_a_terminal_stops_it() {
    let witness = program(SIGNALS);
    let state = |pid: Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next())
    };
    let (real, ours) = both("dumb-init", |path, mark| {
        let mut running = Running::start(command(path, mark, &[&witness], &[]));
        let pid = running.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let program = children
            .expect("it lives")
            .trim()
            .parse()
            .expect("one child");
        let program = Pid::from_raw(program);
        running.send(20, 0);
        eventually("both are stopped", || {
            (state(pid) == Some('T') && state(program) == Some('T')).then_some(())
        });
        // It is woken, and wakes its program, which hears it.
        kill(pid, Signal::SIGCONT).expect("it is there");
        running.line();
        running.send(15, 1);
        running.wait()
    });
    assert_eq!(ours, real);
}

#[test]
fn dumb_init_says_what_it_does_where_it_is_told_to() {
    let wanted = |text: &str| {
        let lines = text.lines().map(|line| {
            // A C library has its own words for an error.
            let line = line.split("errno=").next().unwrap_or(line);
            line.replace(|c: char| c.is_ascii_digit(), "")
        });
        // Its child says these two, which is ours only once it is the program.
        let own =
            lines.filter(|line| !line.contains("setsid complete") && !line.contains("attach to"));
        own.collect::<Vec<String>>()
    };
    for env in [&[][..], &[("DUMB_INIT_DEBUG", "1")]] {
        let args: &[&str] = if env.is_empty() {
            &["-v", "sh", "-c", "exit 3"]
        } else {
            &["sh", "-c", "exit 3"]
        };
        let (real, ours) = ends("dumb-init", args, env);
        assert_eq!(wanted(&ours.1), wanted(&real.1));
    }
}

#[test]
fn descriptors_go_on_to_the_program_as_they_do_under_the_real_ones() {
    let witness = program(SIGNALS);
    for name in ["tini", "dumb-init"] {
        let (real, ours) = both(name, |path, mark| {
            let script = format!(
                "exec 5</dev/null 9</dev/null; exec {} -- {witness} --fds",
                path.display()
            );
            let output = command(
                Path::new("/bin/sh"),
                mark,
                &["-c", &script],
                &[("TINI_SUBREAPER", "")],
            )
            .output();
            String::from_utf8(output.expect("start").stdout).expect("text")
        });
        assert_eq!(ours, real, "{name}");
        assert!(ours.contains("5, 9"), "{ours}");
    }
}

#[test]
fn a_command_of_init_itself_hears_what_it_is_to_hear() {
    let dir = ours();
    let witness = program(SIGNALS);
    let run_dir = dir.path().join("run");
    let run_dir = run_dir.to_str().expect("text");
    let start = |options: &[&str], words: &[&str]| {
        let mut args = vec!["--run-dir", run_dir, "--config", "/dev/null"];
        args.extend(options);
        args.extend(["--", witness.as_str()]);
        args.extend(words);
        Running::start(command(Path::new(INIT), dir.path(), &args, &[]))
    };
    let mut init = start(&["--rewrite", "1:10", "--rewrite", "2:0"], &["--child"]);
    init.send(1, 2);
    init.send(2, 0);
    // Who is left when the command has ended is killed.
    init.send(15, 0);
    let (code, said) = init.wait();
    assert_eq!(code, Some(7));
    assert!(said.contains(&"child heard 10".to_owned()), "{said:?}");
    assert!(
        said.iter().all(|line| !line.ends_with("heard 2")),
        "{said:?}"
    );
    let mut init = start(&["--single-child"], &["--child"]);
    init.send(10, 1);
    init.send(15, 1);
    let (code, said) = init.wait();
    assert_eq!(code, Some(7));
    assert!(
        said.iter().all(|line| !line.starts_with("child")),
        "{said:?}"
    );
    kill_marked(dir.path());
}
