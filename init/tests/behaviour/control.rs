//! The control socket, and those who come to harm it.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use holdall_protocol::control::{ErrorKind, Request, Response, SOCKET_NAME};
use holdall_protocol::frame::encode;

use crate::wire::Wire;
use crate::world::{Init, Setup, eventually, program, said};

fn sleeper() -> Init {
    let init = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n").start();
    init.wait_for_socket();
    init
}

#[test]
fn garbage_is_answered_with_an_error_and_harms_nobody() {
    let mut init = sleeper();
    let hello = encode(&serde_json::json!({"version": 1, "program": "x"})).expect("short");
    let garbage: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0, 0, 1, 0, b'{'],
        b"\x02\x00\x00\x00{}",
        b"\x04\x00\x00\x00null",
        &[0; 4096],
    ];
    for bytes in garbage {
        for greeted in [false, true] {
            let mut wire = Wire::silent(&init.run_dir);
            if greeted {
                wire.raw(&hello);
            }
            wire.hello();
            // It may hang up while we are still talking.
            let _ = wire.stream.write_all(bytes);
            let _ = wire.stream.shutdown(std::net::Shutdown::Write);
            match wire.next::<Response>() {
                Some(Response::Error {
                    kind: ErrorKind::Malformed,
                    ..
                })
                | None => {}
                Some(other) => panic!("{bytes:?} was answered with {other:?}"),
            }
        }
    }
    let mut unknown = Wire::open(&init.run_dir);
    unknown.raw(&encode(&serde_json::json!({"op": "explode"})).expect("short"));
    let answer = unknown.next::<Response>();
    assert!(
        matches!(
            &answer,
            Some(Response::Error {
                kind: ErrorKind::Malformed,
                ..
            })
        ),
        "{answer:?}"
    );
    assert_eq!(unknown.next::<Response>(), None);
    assert!(init.ask_ok(&["ps"]).contains("app"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn hundreds_of_silent_and_half_spoken_clients_delay_nobody() {
    let mut init = sleeper();
    let mut silent: Vec<UnixStream> = Vec::new();
    for number in 0..700 {
        let mut stream = UnixStream::connect(init.run_dir.join(SOCKET_NAME)).expect("init listens");
        if number % 2 == 0 {
            // It may be one that was turned away already.
            let _ = stream.write_all(&[7, 0, 0]);
        }
        silent.push(stream);
    }
    assert!(init.ask_ok(&["ps"]).contains("app"));
    drop(silent);
    assert!(init.ask_ok(&["ps"]).contains("app"));
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn one_that_asks_and_never_reads_delays_nobody() {
    let mut init = sleeper();
    let mut greedy = Wire::open(&init.run_dir);
    let request = encode(&Request::Status).expect("short");
    greedy.stream.set_nonblocking(true).expect("a socket");
    let mut sent = 0;
    while let Ok(bytes) = greedy.stream.write(&request.repeat(100)) {
        sent += bytes;
        if bytes == 0 || sent > 8 << 20 {
            break;
        }
    }
    assert!(init.ask_ok(&["ps"]).contains("app"));
    greedy.stream.set_nonblocking(false).expect("a socket");
    // Its answers are there when it wants them, one for each whole request.
    for _ in 0..sent / request.len() {
        assert!(matches!(greedy.next(), Some(Response::Status(_))));
    }
    drop(greedy);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn another_user_may_look_but_not_touch() {
    let mut init = sleeper();
    let open = std::fs::Permissions::from_mode(0o755);
    for dir in [init.dir.path(), &init.run_dir] {
        std::fs::set_permissions(dir, open.clone()).expect("chmod");
    }
    let socket = init.run_dir.join(SOCKET_NAME);
    let ask = |op: &str| {
        let helper = std::fs::read_to_string(program("asking.py")).expect("a program");
        let output = Command::new("setpriv")
            .args([
                "--reuid",
                "65534",
                "--clear-groups",
                "/usr/bin/python3",
                // The other user may not be let into the folder of this tree.
                "-c",
                &helper,
            ])
            .arg(&socket)
            .arg(op)
            .output()
            .expect("start");
        said(&output)
    };
    assert!(ask(r#"{"op": "status"}"#).contains(r#""name":"app""#));
    assert!(ask(r#"{"op": "health", "kind": "live"}"#).contains("true"));
    for op in [
        r#"{"op": "stop", "services": []}"#,
        r#"{"op": "logs", "services": [], "tail": null, "follow": false}"#,
        r#"{"op": "exec", "argv": ["true"]}"#,
        r#"{"op": "signal", "services": ["app"], "signal": "KILL"}"#,
    ] {
        let answer = ask(op);
        assert!(answer.contains("denied"), "{op}: {answer}");
    }
    assert!(init.pid_of("app").is_some());
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_socket_handed_over_serves_whoever_reaches_it() {
    let setup = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n");
    let handed = setup.path("handed.sock");
    let helper = program("handing.py");
    let mut init = setup
        .by(&["/usr/bin/python3", &helper, "-", &handed])
        .start();
    init.wait_for_socket();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(init.dir.path(), open.clone()).expect("chmod");
    std::fs::set_permissions(&handed, open).expect("chmod");
    let asking = std::fs::read_to_string(program("asking.py")).expect("a program");
    let asked = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            &asking,
            &handed,
        ])
        .arg(r#"{"op": "stop", "services": ["app"]}"#)
        .output()
        .expect("start");
    assert!(said(&asked).contains("done"), "{}", said(&asked));
    assert_eq!(init.pid_of("app"), None);
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn names_that_are_not_there_are_told_what_is() {
    let mut init = sleeper();
    for args in [
        &["stop", "apk"][..],
        &["logs", "apk"],
        &["signal", "HUP", "apk"],
    ] {
        let output = init.ask(args);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("app"), "{}", said(&output));
    }
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn without_an_init_the_client_says_where_it_looked() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = Command::new(crate::world::INIT)
        .arg("ps")
        .arg("--run-dir")
        .arg(dir.path())
        .output()
        .expect("start");
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    assert!(text.contains("no init answers") && text.contains(dir.path().to_str().expect("text")));
}

#[test]
fn a_client_that_hangs_up_while_it_waits_is_forgotten() {
    let config = r#"
        [service.slow]
        command = "sh -c 'trap \"\" TERM; echo runs; while :; do sleep 0.01; done'"
        stop = { timeout = "500ms" }
    "#;
    let mut init = Setup::new(config).start();
    init.wait_for("runs");
    let mut wire = Wire::open(&init.run_dir);
    wire.send(&Request::Stop { services: vec![] }, &[]);
    drop(wire);
    eventually("it is stopped all the same", || {
        init.pid_of("slow").is_none().then_some(())
    });
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_wrong_length_is_refused_before_it_is_read() {
    let mut init = sleeper();
    let mut wire = Wire::open(&init.run_dir);
    wire.raw(&u32::MAX.to_le_bytes());
    assert!(matches!(
        wire.next(),
        Some(Response::Error {
            kind: ErrorKind::Malformed,
            ..
        })
    ));
    let mut rest = Vec::new();
    assert_eq!(wire.stream.read_to_end(&mut rest).expect("the end"), 0);
    assert_eq!(init.stop(), Some(0));
}
