//! What users add to `docker run`: a read-only root, any user, an init before
//! ours.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::docker::Docker;
use crate::engine::{DockerLike, Engine as _, Runtime};
use crate::eventually::{LONG, eventually};
use crate::place::{Place, ran};
use crate::podman::Podman;
use crate::same_image::{ENDS, ends, until_ready};

/// As [`crate::same_image::services`], but without ports.
const SERVICES: &str = r#"
[service.store]
command = '''sh -c 'trap "echo store has TERM; exit 0" TERM; id; sleep 1000 & wait' '''
health = { exec = "test -d /data", interval = "100ms" }

[service.app]
command = '''sh -c 'trap "echo app has TERM; exit 0" TERM; sleep 1000 & wait' '''
depends_on = ["store"]

[service.web]
command = '''sh -c 'trap "echo web has TERM; exit 0" TERM; sleep 1000 & wait' '''
depends_on = ["app"]
"#;

const DOCKERS_HOST: [&str; 4] = ["--network", "host", "--pid", "host"];

/// Not the processes: where a box has no namespace for them, podman stops it by
/// a signal to all of them at once, and there is no order left to see.
const PODMANS_HOST: [&str; 2] = ["--network", "host"];

/// Every way in turn, on one engine; `host` is what of the host's a box shares.
fn story<'a, E: DockerLike + 'a>(
    place: &'a Place,
    host: &[&'a str],
    start: impl FnOnce(&'a Place) -> E,
) {
    let archive = place.archive("trio", SERVICES);
    let engine = start(place);
    engine.load(&archive);
    let before = place.baseline();
    const ALONE: [&str; 2] = ["--network", "none"];
    const SOMEBODY: [&str; 2] = ["--user", "12345:12345"];
    let strict = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let ways: [(&str, Vec<&str>, &str); 5] = [
        (
            "read-only",
            [&ALONE[..], &["--read-only"]].concat(),
            "uid=0",
        ),
        ("user", [ALONE, SOMEBODY].concat(), "uid=12345"),
        (
            "strict",
            [&ALONE[..], &["--read-only"], &SOMEBODY, &strict].concat(),
            "uid=12345",
        ),
        ("init", [&ALONE[..], &["--init"]].concat(), "uid=0"),
        ("host", host.to_vec(), "uid=0"),
    ];
    for (name, flags, identity) in ways {
        let mut start = engine.run_command(&flags);
        let _id = ran(start.args(["-d", "--name", name, "trio"])).ok();
        until_ready(&engine, name);
        let listed = engine.exec(name, &["/init", "ps"]).ok();
        assert_eq!(listed.matches(" ready ").count(), 3, "{name}:\n{listed}");
        assert_eq!(engine.stop(name), 0, "{name}: {}", engine.logs(name));
        let logs = engine.logs(name);
        assert_eq!(ends(&logs), ENDS, "{name}:\n{logs}");
        assert!(logs.contains(identity), "{name}:\n{logs}");
        engine.remove(name);

        let mut once = engine.run_command(&flags);
        let ended = ran(once.args(["--rm", "trio", "sh", "-c", "exit 3"]));
        assert_eq!(ended.code, 3, "{name}: {}", ended.err);
        place.until_back_to(&before);
    }
    let mut write = engine.run_command(&["--rm", "--network", "none", "--read-only", "trio"]);
    let refused = ran(write.args(["touch", "/etc/file"]));
    assert_ne!(refused.code, 0, "{}", refused.out);
    let said = refused.out + &refused.err;
    assert!(said.contains("Read-only"), "{said}");
}

#[test]
fn each_flag_under_docker() {
    let place = Place::new();
    story(&place, &DOCKERS_HOST, |place| {
        Docker::new(place, Runtime::Runc)
    });
}

#[test]
fn each_flag_under_docker_on_our_runtime() {
    let place = Place::new();
    story(&place, &DOCKERS_HOST, |place| {
        Docker::new(place, Runtime::Holdall)
    });
}

#[test]
fn each_flag_under_podman() {
    let place = Place::new();
    story(&place, &PODMANS_HOST, |place| {
        Podman::new(place, Runtime::Crun)
    });
}

#[test]
fn each_flag_under_podman_on_our_runtime() {
    let place = Place::new();
    story(&place, &PODMANS_HOST, |place| {
        Podman::new(place, Runtime::Holdall)
    });
}

#[test]
fn kill_and_restart_under_docker_on_our_runtime() {
    let place = Place::new();
    let archive = place.archive("trio", SERVICES);
    let docker = Docker::new(&place, Runtime::Holdall);
    docker.load(&archive);
    let before = place.baseline();
    let mut start = docker.run_command(&["-d", "--name", "box", "--restart", "on-failure"]);
    let _id = ran(start.arg("trio")).ok();
    until_ready(&docker, "box");
    let _name = docker.call(["restart", "box"]).ok();
    until_ready(&docker, "box");
    let pid = docker.inspect("box", "{{.State.Pid}}");
    let first = Pid::from_raw(pid.parse().expect("a pid"));
    kill(first, Signal::SIGKILL).expect("it runs");
    eventually("docker starts it again", LONG, || {
        let now = docker.inspect("box", "{{.State.Pid}}");
        if now != pid && now != "0" {
            Ok(())
        } else {
            Err(now)
        }
    });
    until_ready(&docker, "box");
    let _name = docker.call(["kill", "box"]).ok();
    assert_eq!(docker.inspect("box", "{{.State.ExitCode}}"), "137");
    docker.remove("box");
    place.until_back_to(&before);
}
