//! The engine's own HEALTHCHECK follows the services.

use crate::docker::Docker;
use crate::engine::{DockerLike as _, Engine as _, Runtime};
use crate::env::free_port;
use crate::eventually::{LONG, eventually};
use crate::place::{Place, ran};
use crate::podman::Podman;
use crate::same_image::until_ready;

/// Two services that answer a probe until they hang: init leaves one to the
/// engine and restarts the other.
fn services(left: u16, mended: u16) -> String {
    let health = |port| {
        format!(
            "{{ http = \":{port}/passwd\", interval = \"100ms\", timeout = \"300ms\", retries = 2 }}"
        )
    };
    format!(
        "[service.left]\ncommand = \"httpd -f -p {left} -h /etc\"\nhealth = {}\non_unhealthy = \"ignore\"\n\
         [service.mended]\ncommand = \"httpd -f -p {mended} -h /etc\"\nhealth = {}\nstop = {{ timeout = \"200ms\" }}\n",
        health(left),
        health(mended)
    )
}

#[test]
fn docker_says_unhealthy_while_a_service_hangs_that_init_does_not_restart() {
    let place = Place::new();
    let archive = place.archive("pair", &services(free_port(), free_port()));
    let docker = Docker::new(&place, Runtime::Runc);
    docker.load(&archive);
    let before = place.baseline();
    // The image's own check; only its times are shorter.
    let times = [
        "--health-interval",
        "300ms",
        "--health-retries",
        "2",
        "--network",
        "host",
    ];
    let mut start = docker.run_command(&times);
    let _id = ran(start.args(["-d", "--name", "box", "pair"])).ok();
    let check = docker.inspect("box", "{{.Config.Healthcheck.Test}}");
    assert_eq!(check, "[CMD /init health]");
    let until = |state: &str| {
        eventually(&format!("docker says {state}"), LONG, || {
            let health = docker.inspect("box", "{{json .State.Health}}");
            if health.starts_with(&format!("{{\"Status\":\"{state}\"")) {
                Ok(health)
            } else {
                Err(health)
            }
        })
    };
    let signal = |signal: &str, service: &str| {
        let _out = docker
            .exec("box", &["/init", "signal", signal, service])
            .ok();
    };
    let _health = until("healthy");
    signal("STOP", "left");
    let health = until("unhealthy");
    assert!(health.contains("left"), "the reason is in it: {health}");
    signal("CONT", "left");
    let _health = until("healthy");

    // Init mends this one by itself, and the engine has no part in it.
    signal("STOP", "mended");
    eventually("mended is restarted", LONG, || {
        let listed = docker.exec("box", &["/init", "ps"]).ok();
        let line = listed.lines().find(|line| line.starts_with("mended"));
        if line.is_some_and(|line| line.split_whitespace().nth(4) == Some("1")) {
            Ok(())
        } else {
            Err(listed)
        }
    });
    until_ready(&docker, "box");
    assert_eq!(docker.inspect("box", "{{.State.Health.Status}}"), "healthy");
    assert_eq!(docker.stop("box"), 0, "{}", docker.logs("box"));
    docker.remove("box");
    place.until_back_to(&before);
}

#[test]
fn podmans_check_fails_while_a_service_hangs_that_init_does_not_restart() {
    let place = Place::new();
    let archive = place.archive("pair", &services(free_port(), free_port()));
    for runtime in [Runtime::Runc, Runtime::Holdall] {
        let podman = Podman::new(&place, runtime);
        podman.load(&archive);
        let before = place.baseline();
        podman.start("box", "pair");
        until_ready(&podman, "box");
        let check = || podman.call(["healthcheck", "run", "box"]);
        let until = |code: i32| {
            eventually(&format!("the check ends with {code}"), LONG, || {
                let ran = check();
                if ran.code == code {
                    Ok(())
                } else {
                    Err(format!("{ran:?}"))
                }
            });
        };
        until(0);
        let _out = podman
            .exec("box", &["/init", "signal", "STOP", "left"])
            .ok();
        until(1);
        let _out = podman
            .exec("box", &["/init", "signal", "CONT", "left"])
            .ok();
        until(0);
        assert_eq!(podman.stop("box"), 0, "{}", podman.logs("box"));
        podman.remove("box");
        place.until_back_to(&before);
    }
}
