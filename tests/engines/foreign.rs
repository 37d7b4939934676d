//! Images that have nothing of ours, on our runtime.

use std::fs;

use crate::docker::Docker;
use crate::engine::{DockerLike as _, Engine as _, Runtime};
use crate::place::{Place, ran};

/// The machine's own busybox and nothing else, as `docker import` takes it.
fn import(place: &Place, docker: &Docker) {
    let root = place.dir("foreign");
    fs::create_dir_all(root.join("bin")).expect("a folder below the root");
    for name in ["busybox", "sh"] {
        fs::copy("/bin/busybox", root.join("bin").join(name)).expect("busybox-static is installed");
    }
    let tar = place.path("foreign.tar");
    let mut pack = place.command("tar");
    let _out = ran(pack.args(["-cf", &tar, "-C"]).arg(root).arg(".")).ok();
    let _id = docker.call(["import", &tar, "foreign"]).ok();
}

#[test]
fn run_exec_and_stop_under_docker() {
    let place = Place::new();
    let docker = Docker::new(&place, Runtime::Holdall);
    import(&place, &docker);
    let before = place.baseline();
    let script = "echo $$; busybox id -u; exit 7";
    let mut once = docker.run_command(&["--rm", "foreign"]);
    let once = ran(once.args(["sh", "-c", script]));
    assert_eq!(
        (once.out.as_str(), once.code),
        ("1\n0\n", 7),
        "{}",
        once.err
    );

    let start = |name: &str, flags: &[&str]| {
        let mut start = docker.run_command(&["-d", "--name", name]);
        start
            .args(flags)
            .args(["foreign", "busybox", "sleep", "1000"]);
        let _id = ran(&mut start).ok();
    };
    // PID 1 without a handler of TERM: the engine has to kill it.
    start("box", &["--stop-timeout", "1"]);
    let listed = docker.exec("box", &["busybox", "ps"]).ok();
    assert!(listed.contains("sleep 1000"), "{listed}");
    assert_eq!(docker.exec("box", &["sh", "-c", "exit 9"]).code, 9);
    assert_eq!(docker.stop("box"), 137);
    docker.remove("box");
    // Docker's own init passes it on.
    start("box", &["--init"]);
    assert_eq!(docker.stop("box"), 143);
    docker.remove("box");
    place.until_back_to(&before);
}
