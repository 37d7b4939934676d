use super::*;
use crate::causes::chain;

fn name() -> BoxName {
    "shop".parse().expect("a name")
}

#[test]
fn every_text_is_one_that_people_can_read() {
    let io = || io::Error::from_raw_os_error(28);
    let words = || ClientError::Runtime {
        message: "words".into(),
        code: 1,
    };
    let (path, id) = (PathBuf::from("/x"), "0123456789ab".parse().expect("an id"));
    let address = "127.0.0.1:80".parse().expect("an address");
    let texts = [
        BoxError::NotFound {
            name: "shup".into(),
            similar: Some("shop".into()),
        },
        BoxError::Ambiguous {
            prefix: "a".into(),
            count: 2,
        },
        BoxError::NameInUse {
            name: name(),
            by: id,
        },
        BoxError::UnknownProfile {
            image: "shop".into(),
            profile: "prodution".into(),
            near: Some("production".into()),
        },
        BoxError::NotRoot,
        BoxError::UdpNotBuilt("53/udp".into()),
        BoxError::PortInUse {
            name: name(),
            address,
            by: None,
        },
        BoxError::PortInUse {
            name: name(),
            address,
            by: Some(name()),
        },
        BoxError::Publish {
            name: name(),
            cause: ListenError::NoneFree(80),
        },
        BoxError::NoCommand {
            image: "shop".into(),
        },
        BoxError::BindMissing { path: path.clone() },
        BoxError::Variable("A=".into()),
        BoxError::User {
            name: name(),
            cause: AccountError::Empty,
        },
        BoxError::NotRunning(name()),
        BoxError::Running(name()),
        BoxError::NoInit(name()),
        BoxError::Control {
            name: name(),
            cause: ControlError::Hangs,
        },
        BoxError::Start {
            name: name(),
            message: "why".into(),
            code: 127,
        },
        BoxError::MonitorLost(name()),
        BoxError::Runtime {
            verb: "kill",
            name: name(),
            cause: words(),
        },
        BoxError::Unkillable(name()),
        BoxError::ProgramNotFound {
            name: name(),
            program: "sh".into(),
        },
        BoxError::ProgramNotExecutable {
            name: name(),
            program: "sh".into(),
            message: "why".into(),
        },
        BoxError::Terminal(io()),
        BoxError::TooNew {
            path: path.clone(),
            version: 2,
        },
        BoxError::File {
            verb: "write",
            path,
            cause: io(),
        },
        BoxError::System {
            verb: "make a pipe",
            cause: io(),
        },
    ];
    let lines: Vec<String> = texts
        .iter()
        .map(|error| match error.hint() {
            Some(hint) => format!("{} | {hint}", chain(error)),
            None => chain(error),
        })
        .collect();
    assert_eq!(
        lines,
        [
            "cannot find box \"shup\" | did you mean \"shop\"?",
            "cannot tell which box \"a\" means: 2 ids begin with it | write more of the id, or the name",
            "cannot name the box \"shop\": the name is in use by box 0123456789ab | take another with --name, or `holdall rm shop` first",
            "cannot use profile \"prodution\": image shop has none of that name | did you mean \"production\"?",
            "cannot run boxes without root | try again with sudo",
            "cannot publish 53/udp: UDP ports are not built yet",
            "cannot publish port 127.0.0.1:80 of box shop: it is in use | `ss -ltnp 'sport = :80'` shows which program has it",
            "cannot publish port 127.0.0.1:80 of box shop: it is in use by box shop | `holdall stop shop` first, or publish on another port",
            "cannot publish the ports of box shop: cannot publish port 80 of the box: no free port found on the host",
            "cannot create a box from shop: it has no command | write the command after the image",
            "cannot bind /x: there is no such file or directory | make it: `mkdir -p /x`",
            "cannot set variable \"A=\": a name is not empty and has no '=' and no NUL",
            "cannot run box shop: user is empty",
            "cannot reach box shop: it is not running | `holdall start shop` first",
            "cannot remove box shop: it is running | `holdall stop shop` first, or remove it with -f",
            "cannot ask box shop for its services: its image has no holdall init | `holdall exec` and `holdall logs` work with it",
            "cannot do that in box shop: cannot get an answer: the init hangs | `holdall kill shop` ends it",
            "cannot start box shop: why",
            "cannot start box shop: its monitor was killed | try `holdall start shop` again",
            "cannot kill box shop: words",
            "cannot end box shop: its first process outlives SIGKILL",
            "cannot execute \"sh\" in box shop: no such program",
            "cannot execute \"sh\" in box shop: why",
            "cannot use the terminal: No space left on device (os error 28)",
            "cannot read /x: version 2 is newer than this holdall",
            "cannot write /x: No space left on device (os error 28) | the disk is full",
            "cannot make a pipe: No space left on device (os error 28)",
        ]
    );
}

#[test]
fn what_does_not_come_to_run_has_dockers_code() {
    let refused = |code| BoxError::Runtime {
        verb: "create",
        name: name(),
        cause: ClientError::Runtime {
            message: "words".into(),
            code,
        },
    };
    for (reported, told) in [(127, 127), (126, 126), (125, 125), (2, 125), (1, 125)] {
        assert_eq!(refused(reported).exit_code(), told, "{reported}");
    }
    assert_eq!(BoxError::NotRoot.exit_code(), 125);
}
