//! examples/dockerfile, by podman. What it takes from registries stands in the
//! store under its name: the image of the shop has a Python, and an init.

use std::ffi::OsStr;
use std::path::Path;

use crate::engine::{DockerLike, Engine, Runtime};
use crate::place::{Place, ran};
use crate::podman::Podman;
use crate::same_image::until_ready;
use crate::shop;

#[test]
fn the_example_is_built_by_podman_and_runs() {
    let place = Place::new();
    place.leave_the_network();
    shop::load(&place.env);
    let archive = place.dir("archives").join("shop.tar");
    let save: [&OsStr; 4] = [
        "save".as_ref(),
        "-o".as_ref(),
        archive.as_os_str(),
        "shop".as_ref(),
    ];
    let _out = place.env.run(save).ok();
    let podman = Podman::new(&place, Runtime::Crun);
    podman.load(&archive);
    for name in ["docker.io/library/python:3-slim", "localhost/holdall"] {
        let _out = podman.call(["tag", "shop", name]).ok();
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/dockerfile");
    let build = [
        "build",
        "--pull=never",
        "--isolation=chroot",
        "--format=docker",
        "--build-arg=HOLDALL=localhost/holdall",
        "-t",
        "site",
    ];
    let words = build.iter().map(OsStr::new).chain([example.as_os_str()]);
    let built = podman.call(words);
    let said = format!("{}{}", built.out, built.err);
    assert!(said.contains("2 services, all well"), "{said}");
    let _out = built.ok();

    let before = place.baseline();
    let mut run = podman.run_command(&["-d", "--network", "none", "--name", "site", "site"]);
    let _id = ran(&mut run).ok();
    until_ready(&podman, "site");
    let fetch = "import urllib.request as r; print(r.urlopen('http://localhost:8000/').read())";
    let page = podman.exec("site", &["python3", "-c", fetch]).ok();
    assert!(page.contains("It runs."), "{page}");
    assert_eq!(podman.stop("site"), 0, "{}", podman.logs("site"));
    podman.remove("site");
    place.until_back_to(&before);
}
