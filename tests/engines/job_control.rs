//! `run -it IMAGE sh` and `exec -it BOX sh`: a shell beside the services, with
//! job control.

use std::process::Command;

use crate::containerd::Containerd;
use crate::docker::Docker;
use crate::engine::{DockerLike, Engine as _, Runtime};
use crate::place::{Place, ran};
use crate::podman::Podman;
use crate::same_image::until_ready;
use crate::terminal::Terminal;

const CHATTY: &str = r#"
[service.chatty]
command = '''sh -c 'while :; do echo chatty speaks; sleep 0.1; done' '''
"#;

/// Stops a job with Ctrl-Z, brings it back, ends it with Ctrl-C.
fn session(command: Command) {
    let mut terminal = Terminal::start(command);
    terminal.until("# ");
    terminal.press("tty\r");
    terminal.until("/dev/pts/");
    // What is typed is on the screen as well: only the answer holds the sum.
    terminal.press(
        "sh -c 'trap \"echo again$((1+1))\" CONT; echo job$((1+1)); while :; do sleep 0.1; done'\r",
    );
    terminal.until("job2");
    terminal.press("\x1a");
    terminal.until("Stopped");
    terminal.press("jobs\r");
    terminal.until("Stopped");
    terminal.press("fg\r");
    terminal.until("again2");
    terminal.press("\x03");
    terminal.until("# ");
    terminal.press("echo code=$?\r");
    terminal.until("code=130");
    terminal.press("stty size\r");
    terminal.until("30 100");
    let screen = terminal.screen();
    assert!(!screen.contains("job control"), "{screen}");
    assert!(
        !screen.contains("chatty speaks"),
        "over the prompt: {screen}"
    );
    terminal.press("exit 5\r");
    assert_eq!(terminal.end(), Some(5), "{}", terminal.screen());
}

/// A shell as the box's own command, and one that comes to a running box.
fn both<E: DockerLike>(place: &Place, engine: &E) {
    let before = place.baseline();
    let shell = ["--network", "none", "--rm", "-it", "shell", "sh"];
    session(engine.run_command(&shell));
    place.until_back_to(&before);

    let mut start = engine.run_command(&["--network", "none", "-d", "--name", "box"]);
    let _id = ran(start.arg("shell")).ok();
    until_ready(engine, "box");
    session(engine.client(&["exec", "-it", "box", "sh"]));
    assert_eq!(engine.stop("box"), 0, "{}", engine.logs("box"));
    engine.remove("box");
    place.until_back_to(&before);
}

#[test]
fn under_docker() {
    let place = Place::new();
    let archive = place.archive("shell", CHATTY);
    for runtime in [Runtime::Runc, Runtime::Holdall] {
        let docker = Docker::new(&place, runtime);
        docker.load(&archive);
        both(&place, &docker);
    }
}

#[test]
fn under_podman() {
    let place = Place::new();
    let archive = place.archive("shell", CHATTY);
    for runtime in [Runtime::Crun, Runtime::Holdall] {
        let podman = Podman::new(&place, runtime);
        podman.load(&archive);
        both(&place, &podman);
    }
}

#[test]
fn under_containerd() {
    let place = Place::new();
    let archive = place.archive("shell", CHATTY);
    for runtime in [Runtime::Runc, Runtime::Holdall] {
        let containerd = Containerd::new(&place, runtime);
        containerd.load(&archive);
        let before = place.baseline();
        let mut shell = containerd.run_command("box", "shell", &["--rm", "-t"]);
        // Arguments of `ctr run` stand in the place of the entrypoint.
        shell.args(["/init", "run", "--", "sh"]);
        session(shell);
        place.until_back_to(&before);
    }
}
