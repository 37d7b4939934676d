//! Programs that clients have init run.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;

use holdall_protocol::Signal;
use holdall_protocol::control::{ErrorKind, Exec, Request, Response};

use crate::wire::Wire;
use crate::world::{Init, Setup, alive, program, said};

fn sleeper() -> Init {
    let init = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n").start();
    init.wait_for_socket();
    init
}

fn exec(argv: &[&str]) -> Exec {
    let argv = argv.iter().map(|&word| word.to_owned()).collect();
    Exec {
        argv,
        env: Vec::new(),
        dir: None,
        user: None,
        tty: None,
    }
}

/// Runs a program with `input`: its output, errors and exit code.
fn run(init: &Init, request: Exec, input: &str) -> (String, String, u8) {
    let mut wire = Wire::open(&init.run_dir);
    let (stdin, mut feed) = std::io::pipe().expect("a pipe");
    let (mut out, stdout) = std::io::pipe().expect("a pipe");
    let (mut err, stderr) = std::io::pipe().expect("a pipe");
    let three = [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()];
    wire.send(&Request::Exec(request), &three);
    drop((stdin, stdout, stderr));
    let started = wire.next().expect("an answer");
    assert!(matches!(started, Response::Started { .. }), "{started:?}");
    feed.write_all(input.as_bytes()).expect("it reads");
    drop(feed);
    let (mut output, mut errors) = (String::new(), String::new());
    out.read_to_string(&mut output).expect("text");
    err.read_to_string(&mut errors).expect("text");
    match wire.next() {
        Some(Response::Exited { code }) => (output, errors, code),
        other => panic!("{other:?} is no end"),
    }
}

#[test]
fn a_program_runs_with_the_pipes_that_came_with_its_request() {
    let mut init = sleeper();
    let done = run(
        &init,
        exec(&["sh", "-c", "cat; echo err >&2; exit 42"]),
        "hello",
    );
    assert_eq!(done, ("hello".to_owned(), "err\n".to_owned(), 42));
    let done = run(&init, exec(&["sh", "-c", "kill -9 $$"]), "");
    assert_eq!(done.2, 137);
    // init holds none of its descriptors, and a program gets no others.
    let (open, _, _) = run(&init, exec(&["ls", "/proc/self/fd"]), "");
    assert_eq!(open, "0\n1\n2\n3\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn user_directory_and_environment_are_those_asked_for() {
    let mut init = sleeper();
    let request = Exec {
        env: vec!["COLOUR=red".to_owned()],
        dir: Some("/usr".to_owned()),
        user: Some("daemon".to_owned()),
        ..exec(&["sh", "-c", "id -un; pwd; echo $COLOUR $HOME"])
    };
    assert_eq!(run(&init, request, "").0, "daemon\n/usr\nred /usr/sbin\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn what_cannot_be_run_is_an_answer() {
    let mut init = sleeper();
    let null = std::fs::File::open("/dev/null").expect("open");
    let three = [null.as_raw_fd(); 3];
    let ask = |request: Exec, descriptors: bool| {
        let mut wire = Wire::open(&init.run_dir);
        wire.send(
            &Request::Exec(request),
            if descriptors { &three } else { &[] },
        );
        match wire.next() {
            Some(Response::Error { kind, message }) => (kind, message),
            other => panic!("{other:?} is no error"),
        }
    };
    assert_eq!(ask(exec(&["/no/such"]), true).0, ErrorKind::NotFound);
    assert_eq!(ask(exec(&["no-such-in-path"]), true).0, ErrorKind::NotFound);
    assert_eq!(
        ask(exec(&["/etc/passwd"]), true).0,
        ErrorKind::NotExecutable
    );
    assert_eq!(ask(exec(&[]), true).0, ErrorKind::NotFound);
    let nobody = Exec {
        user: Some("no-such-user".to_owned()),
        ..exec(&["true"])
    };
    assert!(ask(nobody, true).1.contains("no-such-user"));
    assert!(ask(exec(&["true"]), false).1.contains("descriptors"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_program_hears_the_signals_of_its_own_connection() {
    let mut init = sleeper();
    let mut wire = Wire::open(&init.run_dir);
    let null = std::fs::File::open("/dev/null").expect("open");
    let (mut out, stdout) = std::io::pipe().expect("a pipe");
    let three = [null.as_raw_fd(), stdout.as_raw_fd(), null.as_raw_fd()];
    let script = "trap 'exit 7' USR1; echo up; while :; do sleep 0.01; done";
    wire.send(&Request::Exec(exec(&["sh", "-c", script])), &three);
    drop(stdout);
    assert!(matches!(wire.next(), Some(Response::Started { .. })));
    let mut up = [0; 3];
    out.read_exact(&mut up).expect("it runs");
    let usr1: Signal = "USR1".parse().expect("a signal");
    wire.send(&Request::ExecSignal { signal: usr1 }, &[]);
    assert_eq!(wire.next(), Some(Response::Exited { code: 7 }));
    // The same connection serves for the next request.
    assert!(matches!(wire.ask(&Request::Status), Response::Status(_)));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn what_still_runs_ends_with_the_box() {
    let mut init = sleeper();
    let mut wire = Wire::open(&init.run_dir);
    let null = std::fs::File::open("/dev/null").expect("open");
    let three = [null.as_raw_fd(); 3];
    wire.send(
        &Request::Exec(exec(&["sh", "-c", "trap '' TERM HUP; sleep 1000"])),
        &three,
    );
    let Some(Response::Started { pid }) = wire.next() else {
        panic!("it starts")
    };
    let pid = i32::try_from(pid).expect("a number");
    assert!(alive(pid));
    assert_eq!(init.stop(), Some(0));
    assert!(!alive(pid));
}

#[test]
fn a_terminal_is_one_of_the_boxes_own_with_job_control_and_a_size() {
    let mut init = sleeper();
    let helper = program("terminal.py");
    let socket = init.run_dir.join("control.sock");
    let output = Command::new("/usr/bin/python3")
        .arg(helper)
        .arg(socket)
        .output()
        .expect("start");
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for expected in [
        "/dev/pts/",
        "size 33 99",
        "Running",
        "resized 44 111",
        "exited 5",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    assert!(!text.contains("no job control"), "{text}");
    assert_eq!(init.stop(), Some(0));
}
