//! The state in which a service finds itself.

use std::process::Stdio;

use crate::world::Setup;

const AUDIT: &str = r#"
    [service.audit]
    type = "oneshot"
    command = "/usr/bin/python3 PROGRAM"
"#;

fn audit(setup: Setup) -> String {
    let mut init = setup.start();
    // With nothing left to run, the box ends.
    assert_eq!(init.wait().0.code(), Some(0));
    let lines = init.seen.lines().filter(|line| line.starts_with("audit"));
    let lines: Vec<_> = lines.filter_map(|line| line.split_once(" | ")).collect();
    lines
        .into_iter()
        .map(|(_, text)| format!("{text}\n"))
        .collect()
}

#[test]
fn a_service_starts_clean_whatever_init_inherited() {
    let config = AUDIT.replace("PROGRAM", &crate::world::program("audit.py"));
    // What bash puts into the environment is not what is looked at.
    let plain = |setup: Setup| {
        let mark = format!("HOLDALL_TEST={}", setup.dir.path().display());
        setup.by(&[
            "env",
            "-i",
            &mark,
            "COLOUR=red",
            "LISTEN_FDS=1",
            "NOTIFY_SOCKET=/none",
        ])
    };
    let clean = audit(plain(Setup::new(&config)));
    let dirty = "trap '' INT PIPE HUP CHLD XFSZ; exec 7</dev/null 8>&1; umask 077; exec \"$@\"";
    let blocked = crate::world::program("blocked.py");
    for pid1 in [false, true] {
        let setup =
            Setup::new(&config).by(&["bash", "-c", dirty, "bash", "/usr/bin/python3", &blocked]);
        let setup = if pid1 { setup.own_namespace() } else { setup };
        let found = audit(plain(setup));
        assert_eq!(found, clean);
    }
    for expected in [
        "blocked 0000000000000000",
        "ignored 0000000000000000",
        "descriptors 0=/dev/null 1=pipe 2=pipe",
        "leads its session and group: True True",
        "pending 0000000000000000 0000000000000000",
        "has no terminal",
        "umask 022",
        "directory /",
        "policy 0",
        "soft locks limit is set: True",
        "variable COLOUR=red\nvariable HOLDALL_SERVICE=audit\nvariable HOME=/root\nvariable PATH=",
        "NOTIFY_SOCKET=None",
        "LISTEN_FDS=None",
    ] {
        assert!(clean.contains(expected), "{expected:?} in\n{clean}");
    }
}

#[test]
fn a_limit_or_a_niceness_that_the_box_was_given_is_its_services_too() {
    let config = AUDIT.replace("PROGRAM", &crate::world::program("audit.py"));
    let given = "ulimit -Sn 300; ulimit -Hn 400; ulimit -c 0; exec nice -n 3 \"$@\"";
    let found = audit(Setup::new(&config).by(&["bash", "-c", given, "bash"]));
    assert!(
        found.contains("limit Max open files 300 400 files"),
        "{found}"
    );
    assert!(
        found.contains("limit Max core file size 0 0 bytes"),
        "{found}"
    );
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let (_, numbers) = stat.rsplit_once(") ").expect("a name");
    let own: i32 = numbers
        .split(' ')
        .nth(16)
        .and_then(|nice| nice.parse().ok())
        .expect("a niceness");
    let nice = (own + 3).min(19);
    assert!(found.contains(&format!("\nnice {nice}\n")), "{found}");
}

#[test]
fn closed_standard_descriptors_are_no_danger() {
    let mut init = Setup::new("[service.app]\ncommand = \"sleep 1000\"\n")
        .by(&["bash", "-c", "exec 0<&- 1>&- 2>&-; exec \"$@\"", "bash"])
        .stdout(Stdio::null())
        .start();
    crate::world::eventually("the service runs", || {
        init.ask(&["health", "--ready"])
            .status
            .success()
            .then_some(())
    });
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn a_service_becomes_its_user_and_can_open_its_own_stdout() {
    let mut init = Setup::new(
        r#"
        [service.app]
        command = "sh -c 'id -un; echo $HOME $USER; echo opened > /dev/stdout; exec sleep 1000'"
        user = "daemon"
        "#,
    )
    .start();
    init.wait_for("| daemon\n");
    init.wait_for("/usr/sbin daemon\n");
    init.wait_for("opened");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn the_services_own_environment_goes_over_the_boxes() {
    let mut init = Setup::new(
        r#"
        [service.app]
        command = "sh -c 'echo $COLOUR $SHAPE $HOME; exec sleep 1000'"
        user = "daemon"
        env = { COLOUR = "red", HOME = "/elsewhere" }
        "#,
    )
    .env("COLOUR", "blue")
    .env("SHAPE", "round")
    .start();
    init.wait_for("red round /elsewhere\n");
    assert_eq!(init.stop(), Some(0));
}

#[test]
fn an_environment_of_any_size_reaches_its_programs() {
    // What a child needs is copied to a place of its own: this fits, and this
    // doesn't.
    for length in [60_000, 120_000] {
        let big = "x".repeat(length);
        let command = "echo ${#A} ${#B} ${#C}; exec sleep 1000";
        let mut init = Setup::new(&format!(
            "[service.app]\ncommand = [\"sh\", \"-c\", '{command}']\n\
             [service.again]\ncommand = [\"sh\", \"-c\", '{command}']\n"
        ))
        .env("A", &big)
        .env("B", &big)
        .env("C", &big)
        .start();
        init.wait_for(&format!("app   | {length} {length} {length}\n"));
        init.wait_for(&format!("again | {length} {length} {length}\n"));
        assert_eq!(init.stop(), Some(0));
        let mut init = Setup::without_config()
            .env("A", &big)
            .env("B", &big)
            .env("C", &big)
            .args(&[
                "--",
                "sh",
                "-c",
                "test ${#A}${#B}${#C} = $0",
                &format!("{length}{length}{length}"),
            ])
            .start();
        assert_eq!(init.wait().0.code(), Some(0), "{length}");
    }
}
