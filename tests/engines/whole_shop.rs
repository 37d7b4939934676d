//! The example, with real Debian packages, under docker.

use crate::docker::Docker;
use crate::engine::{Engine as _, Runtime};
use crate::eventually::{LONG, eventually};
use crate::place::{Place, ran};
use crate::same_image::until_ready;
use crate::shop;
use crate::terminal::Terminal;

/// Fetches the page inside the box, over its own loopback.
const FETCH: &str = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:80/').read())";

#[test]
fn heals_gives_a_shell_and_stops_in_order() {
    let place = Place::new();
    shop::load(&place.env);
    let archive = place.dir("archives").join("shop.tar");
    let save = [
        "save".as_ref(),
        "-o".as_ref(),
        archive.as_os_str(),
        "shop".as_ref(),
    ];
    let _out = place.env.run::<&std::ffi::OsStr>(save).ok();
    let docker = Docker::new(&place, Runtime::Runc);
    docker.load(&archive);
    let before = place.baseline();
    let _id = ran(&mut docker.run_command(&["-d", "--name", "shop", "shop"])).ok();
    until_ready(&docker, "shop");
    let page = || docker.exec("shop", &["python3", "-c", FETCH]);
    let _page = page().ok();

    let _out = docker
        .exec("shop", &["/init", "signal", "KILL", "app"])
        .ok();
    eventually("the page answers again", LONG, || {
        let ran = page();
        if ran.code == 0 { Ok(()) } else { Err(ran.err) }
    });
    let listed = docker.exec("shop", &["/init", "ps"]).ok();
    let app = listed.lines().find(|line| line.starts_with("app"));
    assert!(app.is_some_and(|line| line.contains("SIGKILL")), "{listed}");

    until_ready(&docker, "shop");
    assert_eq!(docker.stop("shop"), 0, "{}", docker.logs("shop"));
    // Standard output and error, as they came.
    let logs = docker.call(["logs", "-t", "shop"]);
    let mut lines: Vec<&str> = logs.out.lines().chain(logs.err.lines()).collect();
    lines.sort_unstable();
    let at = |service: &str, words: &str| {
        let said = |line: &&str| line.contains(service) && line.contains(words);
        let found = lines.iter().rposition(said);
        found.unwrap_or_else(|| panic!("no {words:?} of {service} in {lines:#?}"))
    };
    let web = at("web ", "signal 15 (SIGTERM) received");
    let app = at("app ", "got TERM");
    let redis = at("redis ", "Received SIGTERM");
    assert!(web < app && app < redis, "{lines:#?}");
    let _volumes = docker.call(["rm", "-v", "shop"]).ok();
    place.until_back_to(&before);

    let mut shell = Terminal::start(docker.run_command(&["--rm", "-it", "shop", "bash"]));
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
