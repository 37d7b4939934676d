//! The example, with real Debian packages, published as users publish it.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};

use crate::docker::Docker;
use crate::engine::{DockerLike, Runtime};
use crate::eventually::{LONG, eventually};
use crate::load::{under_load, until_good};
use crate::place::{Place, ran};
use crate::podman::Podman;
use crate::same_image::until_ready;
use crate::terminal::Terminal;
use crate::{http, shop};

/// The story's own network: no other program has its ports.
const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// How a box is reached.
struct Network {
    flags: &'static [&'static str],
    /// The page, through nginx.
    web: SocketAddr,
    /// The app itself, on the socket that init holds.
    app: SocketAddr,
}

const PUBLISHED: Network = Network {
    flags: &["-p", "8080:80", "-p", "8081:8000"],
    web: local(8080),
    app: local(8081),
};

const HOST: Network = Network {
    flags: &["--network", "host"],
    web: local(80),
    app: local(8000),
};

fn story<'a, E: DockerLike + 'a>(
    place: &'a Place,
    network: &Network,
    start: impl FnOnce(&'a Place) -> E,
) {
    shop::load(&place.env);
    let archive = place.dir("archives").join("shop.tar");
    let save: [&OsStr; 4] = [
        "save".as_ref(),
        "-o".as_ref(),
        archive.as_os_str(),
        "shop".as_ref(),
    ];
    let _out = place.env.run(save).ok();
    let engine = start(place);
    engine.load(&archive);
    let before = place.baseline();
    let mut run = engine.run_command(network.flags);
    let _id = ran(run.args(["-d", "--name", "shop", "shop"])).ok();
    until_ready(&engine, "shop");
    let page = || match http::get(network.web, "/") {
        Ok(answer) if answer.status == 200 => Ok(answer.body),
        Ok(answer) => Err(format!("{answer:?}")),
        Err(error) => Err(error.to_string()),
    };
    let first = page().expect("it is ready");
    assert_eq!(first, "Hello, visitor 1\n");

    let (good, lost) = under_load(network.app, |tally| {
        until_good(tally, 20);
        for _ in 0..3 {
            let _out = engine.exec("shop", &["/init", "restart", "app"]).ok();
            until_good(tally, 20);
        }
    });
    assert!(lost.is_empty(), "beside {good} answered: {lost:?}");

    let _out = engine
        .exec("shop", &["/init", "signal", "KILL", "app"])
        .ok();
    eventually("the page answers again", LONG, page);
    let listed = engine.exec("shop", &["/init", "ps"]).ok();
    let app = listed.lines().find(|line| line.starts_with("app"));
    assert!(app.is_some_and(|line| line.contains("SIGKILL")), "{listed}");

    until_ready(&engine, "shop");
    assert_eq!(engine.stop("shop"), 0, "{}", engine.logs("shop"));
    let logs = engine.logs("shop");
    let at = |service: &str, words: &str| {
        let said = |line: &str| line.starts_with(service) && line.contains(words);
        let lines: Vec<&str> = logs.lines().collect();
        let found = lines.iter().rposition(|line| said(line));
        found.unwrap_or_else(|| panic!("no {words:?} of {service} in {logs}"))
    };
    let web = at("web ", "signal 15 (SIGTERM) received");
    let app = at("app ", "got TERM");
    let redis = at("redis ", "Received SIGTERM");
    assert!(web < app && app < redis, "{logs}");
    let _volumes = ran(&mut engine.client(&["rm", "-v", "shop"])).ok();
    place.until_back_to(&before);

    let mut run = engine.run_command(network.flags);
    run.args(["--rm", "-it", "shop", "bash"]);
    let mut shell = Terminal::start(run);
    shell.until("# ");
    shell.press("sleep 1000\r");
    shell.until("sleep 1000");
    eventually("bash runs the job", LONG, || {
        shell.press("\x1a");
        if shell.screen().contains("Stopped") {
            Ok(())
        } else {
            Err(shell.screen())
        }
    });
    // Bash warns once; the second time it leaves the stopped job to init.
    shell.press("exit 5\r");
    shell.until("There are stopped jobs");
    shell.press("exit 5\r");
    assert_eq!(shell.end(), Some(5), "{}", shell.screen());
    place.until_back_to(&before);
}

#[test]
fn published_on_dockers_bridge() {
    let place = Place::new();
    story(&place, &PUBLISHED, |place| {
        Docker::bridged(place, Runtime::Runc)
    });
}

#[test]
fn published_on_dockers_bridge_on_our_runtime() {
    let place = Place::new();
    story(&place, &PUBLISHED, |place| {
        Docker::bridged(place, Runtime::Holdall)
    });
}

#[test]
fn under_podman() {
    let place = Place::new();
    place.leave_the_network();
    story(&place, &HOST, |place| Podman::new(place, Runtime::Crun));
}

#[test]
fn under_podman_on_our_runtime() {
    let place = Place::new();
    place.leave_the_network();
    story(&place, &HOST, |place| Podman::new(place, Runtime::Holdall));
}
