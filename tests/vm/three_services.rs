//! A box of three services through its whole life, and through two power cuts.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::Tree;
use crate::eventually::{LONG, eventually};
use crate::guest::{holdall, printed, say, text};
use crate::machine::Machine;
use crate::{http, project, status};

/// `web` needs `app` needs `store`; each says when it is told to stop.
const SERVICES: &str = r#"
[service.store]
command = "sh /srv/daemon store"

[service.app]
command = "sh /srv/daemon app"
depends_on = ["store"]

[service.web]
command = "httpd -f -p 80 -h /srv"
depends_on = ["app"]
expose = [80]
health = { http = ":80/page", interval = "1s" }
"#;

/// Counts its starts in a file, so that one can see whether it was kept.
const DAEMON: &str = "\
trap 'echo $1 told; exit 0' TERM
echo start >> /data/$1
while :; do sleep 1 & wait; done
";

const PAGE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(crate) fn story() {
    let tree = Tree::new();
    project::put(&tree, "trio", SERVICES);
    project::add(&tree, "srv/daemon", DAEMON);
    project::add(&tree, "srv/page", "it works\n");
    let disk = tree.into_disk();

    let machine = Machine::boot(&disk, "first-boot");
    assert_eq!(machine.says(), "three services run");
    machine.cut_power();

    let machine = Machine::boot(&disk, "second-boot");
    assert_eq!(machine.says(), "a step runs");
    machine.cut_power();

    Machine::boot(&disk, "third-boot").until_off();
}

/// Builds, runs, breaks, heals; leaves the box running.
pub(crate) fn first_boot() {
    let _id = printed(&mut holdall(&["build", "-q", project::DIR]));
    let _id = printed(&mut holdall(&["run", "-d", "-p", "8080:80", "trio"]));
    status::until_ready("trio");
    page_answers();
    assert_eq!(services(), ["store", "app", "web"]);

    let cgroup = cgroup();
    // Init and the services; more while a probe or a `sleep` is there.
    let processes = processes_below(&cgroup);
    assert!(processes >= 4, "{processes} in {}", cgroup.display());

    for service in ["store", "app", "web"] {
        let name = format!("trio/{service}");
        let _name = printed(&mut holdall(&["kill", "-s", "KILL", &name]));
        eventually(&format!("{service} is back"), LONG, || {
            let status = status::of("trio")?;
            let found = status::service(&status, service);
            let back = found["restarts"] == 1 && found["state"] == "ready";
            back.then_some(()).ok_or_else(|| status.to_string())
        });
    }
    page_answers();

    let _name = printed(&mut holdall(&["stop", "trio"]));
    assert!(!cgroup.exists(), "a stopped box has no cgroup");
    let log = printed(&mut holdall(&["logs", "trio"]));
    let told = |service: &str| {
        let place = log.find(&format!("{service} told"));
        place.unwrap_or_else(|| panic!("{service} was not told to stop:\n{log}"))
    };
    assert!(told("app") < told("store"), "{log}");

    let _name = printed(&mut holdall(&["start", "trio"]));
    status::until_ready("trio");
    page_answers();
    let cgroup = self::cgroup();
    let _name = printed(&mut holdall(&["kill", "trio"]));
    eventually("a killed box has no cgroup", LONG, || {
        let gone = !cgroup.exists();
        gone.then_some(()).ok_or_else(|| "it is there".to_owned())
    });
    let _name = printed(&mut holdall(&["start", "trio"]));
    status::until_ready("trio");
    // What a service wrote and nobody synced may be lost, and is not the point.
    nix::unistd::sync();
    say("three services run");
    // The power is cut here.
    std::thread::park();
}

/// How many are in a cgroup and those that init has divided it into.
fn processes_below(cgroup: &Path) -> usize {
    let own = text(cgroup.join("cgroup.procs")).lines().count();
    let entries = fs::read_dir(cgroup).expect("a cgroup can be read");
    let below = entries.map(|entry| entry.expect("an entry").path());
    let below = below.filter(|path| path.is_dir());
    own + below.map(|path| processes_below(&path)).sum::<usize>()
}

/// The box has ended with the machine, and starts as it was; then a build.
pub(crate) fn second_boot() {
    let boxes = printed(&mut holdall(&["ps"]));
    assert!(
        !boxes.contains("trio"),
        "nothing runs after a boot: {boxes}"
    );
    let boxes = printed(&mut holdall(&["ps", "-a"]));
    assert!(boxes.contains("exited"), "{boxes}");
    is_whole();

    let _name = printed(&mut holdall(&["start", "trio"]));
    status::until_ready("trio");
    page_answers();
    let starts = printed(&mut holdall(&["exec", "trio", "cat", "/data/store"]));
    assert_eq!(starts.lines().count(), 5, "its files were kept");
    let _name = printed(&mut holdall(&["stop", "trio"]));

    project::slow_step(true);
    let mut build = holdall(&["build", project::DIR]);
    let mut build = build.spawn().expect("holdall");
    eventually("the step runs", LONG, || {
        let list = printed(Command::new("ps").args(["-o", "args"]));
        let runs = list.lines().any(|line| line == "sleep 1000");
        runs.then_some(()).ok_or(list)
    });
    say("a step runs");
    // The power is cut here.
    let _never = build.wait();
}

/// The store is whole: the image is there, and the build that was cut works.
pub(crate) fn third_boot() {
    let images = printed(&mut holdall(&["images"]));
    assert!(images.contains("trio"), "{images}");
    is_whole();
    project::slow_step(false);
    let _id = printed(&mut holdall(&["build", "-q", project::DIR]));
    let said = printed(&mut holdall(&["run", "--rm", "trio", "cat", "/srv/page"]));
    assert!(said.contains("it works"), "{said}");
    let _name = printed(&mut holdall(&["start", "trio"]));
    status::until_ready("trio");
    page_answers();
    let _name = printed(&mut holdall(&["stop", "trio"]));
    let _name = printed(&mut holdall(&["rm", "trio"]));
    let left = fs::read_dir("/sys/fs/cgroup/holdall").map_or(0, |entries| {
        let folders = entries.flatten();
        folders.filter(|entry| entry.path().is_dir()).count()
    });
    assert_eq!(left, 0, "cgroups are left");
}

/// Whatever the power took, it damaged nothing that was kept.
fn is_whole() {
    let checked = printed(&mut holdall(&["fsck", "--deep"]));
    assert!(checked.ends_with("whole\n"), "{checked}");
}

fn services() -> Vec<String> {
    let status = status::of("trio").expect("it runs");
    let services = status["services"].as_array().expect("a list of services");
    let names = services.iter().map(|entry| entry["name"].as_str());
    names.map(|name| name.expect("a name").to_owned()).collect()
}

fn page_answers() {
    eventually("the page answers", LONG, || {
        let answer = http::get(PAGE, "/page").map_err(|error| error.to_string())?;
        let right = answer.status == 200 && answer.body == "it works\n";
        right.then_some(()).ok_or_else(|| format!("{answer:?}"))
    });
}

/// The one cgroup of the one box.
fn cgroup() -> PathBuf {
    let boxes = fs::read_dir("/sys/fs/cgroup/holdall").expect("a cgroup of boxes");
    let mut folders = boxes.flatten().map(|entry| entry.path());
    folders.find(|path| path.is_dir()).expect("a box's cgroup")
}
