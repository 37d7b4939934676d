//! What users add to `docker run`: a read-only root, any user, an init before
//! ours.

use crate::docker::Docker;
use crate::engine::{Engine as _, Runtime};
use crate::eventually::{LONG, eventually};
use crate::place::{Place, ran};
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

/// Every way in turn, on one daemon.
fn story(runtime: Runtime) {
    let place = Place::new();
    let archive = place.archive("trio", SERVICES);
    let docker = Docker::new(&place, runtime);
    docker.load(&archive);
    let before = place.baseline();
    let ways: [(&str, &[&str], &str); 5] = [
        ("read-only", &["--read-only"], "uid=0(root)"),
        ("user", &["--user", "12345:12345"], "uid=12345 gid=12345"),
        (
            "strict",
            &[
                "--read-only",
                "--user",
                "12345:12345",
                "--cap-drop",
                "ALL",
                "--security-opt",
                "no-new-privileges",
            ],
            "uid=12345 gid=12345",
        ),
        ("init", &["--init"], "uid=0(root)"),
        (
            "host",
            &["--network", "host", "--pid", "host"],
            "uid=0(root)",
        ),
    ];
    for (name, flags, identity) in ways {
        let mut start = docker.run_command(flags);
        let _id = ran(start.args(["-d", "--name", name, "trio"])).ok();
        until_ready(&docker, name);
        let listed = docker.exec(name, &["/init", "ps"]).ok();
        assert_eq!(listed.matches(" ready ").count(), 3, "{name}:\n{listed}");
        assert_eq!(docker.stop(name), 0, "{name}: {}", docker.logs(name));
        let logs = docker.logs(name);
        assert_eq!(ends(&logs), ENDS, "{name}:\n{logs}");
        assert!(logs.contains(identity), "{name}:\n{logs}");
        docker.remove(name);

        let mut once = docker.run_command(flags);
        let ended = ran(once.args(["--rm", "trio", "sh", "-c", "exit 3"]));
        assert_eq!(ended.code, 3, "{name}: {}", ended.err);
        place.until_back_to(&before);
    }
    let mut write = docker.run_command(&["--rm", "--read-only", "trio"]);
    let refused = ran(write.args(["touch", "/etc/file"]));
    assert_ne!(refused.code, 0, "{}", refused.out);
    assert!(refused.err.contains("Read-only"), "{}", refused.err);
}

#[test]
fn each_flag_under_docker() {
    story(Runtime::Runc);
}

#[test]
fn each_flag_under_docker_on_our_runtime() {
    story(Runtime::Holdall);
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
    let killed = ran(place.command("kill").args(["-9", &pid]));
    let _out = killed.ok();
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
