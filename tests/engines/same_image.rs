//! Services come up, answer, and stop in order: by the same archive, the same
//! story under every engine, on Debian's runtime and on ours.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::containerd::Containerd;
use crate::docker::Docker;
use crate::engine::{DockerLike as _, Engine, Runtime};
use crate::env::free_port;
use crate::eventually::{LONG, eventually};
use crate::http;
use crate::place::{Place, ran};
use crate::podman::Podman;

/// Three services that each say in their own log when they are told to end:
/// store, app on it with a socket that init holds, web on top.
pub(crate) fn services(web: u16, socket: u16) -> String {
    format!(
        r##"
[service.store]
command = '''sh -c 'trap "echo store has TERM; exit 0" TERM; sleep 1000 & wait' '''
health = {{ exec = "test -d /data", interval = "100ms" }}

[service.app]
command = '''sh -c 'trap "echo app has TERM; exit 0" TERM; echo sockets $LISTEN_FDS; sleep 1000 & wait' '''
depends_on = ["store"]
listen = ["http={socket}"]

[service.web]
command = '''sh -c 'trap "echo web has TERM; exit 0" TERM; httpd -f -p {web} -h /etc & wait' '''
depends_on = ["app"]
health = {{ http = ":{web}/passwd", interval = "100ms" }}
"##
    )
}

/// What the services have said about their end, in order.
pub(crate) fn ends(logs: &str) -> Vec<&str> {
    let lines = logs.lines().filter(|line| line.ends_with(" has TERM"));
    lines.map(str::trim).collect()
}

pub(crate) const ENDS: [&str; 3] = [
    "web   | web has TERM",
    "app   | app has TERM",
    "store | store has TERM",
];

/// Waits until every essential service is ready, as init says it.
pub(crate) fn until_ready(engine: &dyn Engine, name: &str) {
    eventually(&format!("{name} is ready"), LONG, || {
        let ran = engine.exec(name, &["/init", "health", "--ready"]);
        if ran.code == 0 {
            Ok(())
        } else {
            Err(format!("{} {}", ran.out, ran.err))
        }
    });
}

fn story<'a, E: Engine + 'a>(place: &'a Place, start: impl FnOnce(&'a Place) -> E) {
    let [web, socket] = [free_port(), free_port()];
    let archive = place.archive("trio", &services(web, socket));
    let engine = start(place);
    engine.load(&archive);
    let before = place.baseline();

    engine.start("box", "trio");
    until_ready(&engine, "box");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, web));
    let page = http::get(address, "/passwd").expect("web is ready");
    assert!(page.body.contains("root:x:0:0"), "{page:?}");
    let listed = engine.exec("box", &["/init", "ps"]).ok();
    for service in ["store", "app", "web"] {
        let line = listed.lines().find(|line| line.starts_with(service));
        assert!(line.is_some_and(|line| line.contains("ready")), "{listed}");
    }
    assert_eq!(engine.exec("box", &["sh", "-c", "exit 9"]).code, 9);
    assert_eq!(engine.exec("box", &["/init", "health"]).code, 0);

    // Nobody accepts here: what answers is the socket that init holds.
    let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, socket));
    let connect = || TcpStream::connect_timeout(&socket, Duration::from_secs(5));
    let waiting = connect().expect("init listens");
    let _out = engine.exec("box", &["/init", "restart", "app"]).ok();
    let _after = connect().expect("init still listens");
    drop(waiting);

    // The restart said one of its own, and web, which needs app, went first.
    let said = ends(&engine.logs("box")).len();
    until_ready(&engine, "box");
    assert_eq!(engine.stop("box"), 0);
    let logs = engine.logs("box");
    assert_eq!(ends(&logs).get(said..), Some(ENDS.as_slice()), "{logs}");
    assert!(logs.contains("app   | sockets 1"), "{logs}");
    engine.remove("box");
    place.until_back_to(&before);

    let ran = engine.run("trio", &["sh", "-c", "echo out; exit 3"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.lines().any(|line| line == "out"), "{}", ran.out);
    assert_eq!(engine.run("trio", &["no-such-program"]).code, 127);
    place.until_back_to(&before);
}

#[test]
fn under_docker() {
    let place = Place::new();
    story(&place, |place| Docker::new(place, Runtime::Runc));
}

#[test]
fn under_docker_on_our_runtime() {
    let place = Place::new();
    story(&place, |place| Docker::new(place, Runtime::Holdall));
}

#[test]
fn under_podman() {
    let place = Place::new();
    story(&place, |place| Podman::new(place, Runtime::Runc));
}

#[test]
fn under_podman_on_crun() {
    let place = Place::new();
    story(&place, |place| Podman::new(place, Runtime::Crun));
}

#[test]
fn under_podman_on_our_runtime() {
    let place = Place::new();
    story(&place, |place| Podman::new(place, Runtime::Holdall));
}

#[test]
fn under_containerd() {
    let place = Place::new();
    story(&place, |place| Containerd::new(place, Runtime::Runc));
}

#[test]
fn under_containerd_on_our_runtime() {
    let place = Place::new();
    story(&place, |place| Containerd::new(place, Runtime::Holdall));
}

/// Docker and podman read the runtime's words to choose their exit code.
fn no_such_entrypoint(start: impl Fn(&[&str]) -> i32) {
    let with = |entrypoint: &str| {
        start(&[
            "--rm",
            "--network",
            "host",
            "--entrypoint",
            entrypoint,
            "trio",
        ])
    };
    assert_eq!(with("no-such-program"), 127);
    assert_eq!(with("/etc/passwd"), 126);
}

#[test]
fn a_program_that_is_not_there_is_127_and_one_that_cannot_run_126() {
    let place = Place::new();
    let archive = place.archive("trio", &services(free_port(), free_port()));
    for runtime in [Runtime::Runc, Runtime::Holdall] {
        let docker = Docker::new(&place, runtime);
        docker.load(&archive);
        let before = place.baseline();
        no_such_entrypoint(|flags| ran(&mut docker.run_command(flags)).code);
        place.until_back_to(&before);
        drop(docker);
        let podman = Podman::new(&place, runtime);
        podman.load(&archive);
        let before = place.baseline();
        no_such_entrypoint(|flags| ran(&mut podman.run_command(flags)).code);
        place.until_back_to(&before);
    }
}
