//! What other tools write, `holdall load` reads, and it runs.

use crate::docker::Docker;
use crate::engine::{DockerLike as _, Engine as _, Runtime};
use crate::place::{Place, ran};
use crate::podman::Podman;

const SLEEPER: &str = "[service.a]\ncommand = \"sleep 1000\"\n";

/// Loads an archive into an empty store and runs the image. It keeps the name
/// that the other tool gave it, such as podman's localhost/tool.
fn loads_and_runs(place: &Place, archive: &str, expected: &str) {
    let loaded = place.env.run(["load", "-i", archive]).ok();
    let named = |word: &&str| word.contains("tool");
    let name = loaded.split_whitespace().find(named).unwrap_or_default();
    let script = "cat /etc/made-by 2>/dev/null || echo holdall";
    let ran = place.env.run(["run", "--rm", name, "sh", "-c", script]);
    assert_eq!(ran.ok(), format!("{expected}\n"), "{archive}: {loaded}");
    let _id = place.env.run(["rmi", name]).ok();
}

#[test]
fn of_docker_save_and_docker_commit() {
    let place = Place::new();
    let archive = place.archive("tool", SLEEPER);
    let docker = Docker::new(&place, Runtime::Holdall);
    docker.load(&archive);
    let _id = place.env.run(["rmi", "tool"]).ok();
    let saved = place.path("archives/saved.tar");
    let _out = docker.call(["save", "-o", &saved, "tool"]).ok();
    loads_and_runs(&place, &saved, "holdall");

    let mut change = docker.run_command(&["--name", "changed", "tool"]);
    let changed = ran(change.args(["sh", "-c", "echo docker > /etc/made-by"]));
    let _out = changed.ok();
    let _id = docker.call(["commit", "changed", "tool"]).ok();
    docker.remove("changed");
    let _out = docker.call(["save", "-o", &saved, "tool"]).ok();
    loads_and_runs(&place, &saved, "docker");
}

#[test]
fn of_podman_save_and_buildah_commit() {
    let place = Place::new();
    let archive = place.archive("tool", SLEEPER);
    let podman = Podman::new(&place, Runtime::Runc);
    podman.load(&archive);
    let _id = place.env.run(["rmi", "tool"]).ok();
    for format in ["docker-archive", "oci-archive"] {
        let saved = place.path(&format!("archives/podman-{format}.tar"));
        let _out = podman
            .call(["save", "-q", "--format", format, "-o", &saved, "tool"])
            .ok();
        loads_and_runs(&place, &saved, "holdall");
    }

    let buildah = |args: &[&str]| ran(podman.command("buildah").args(args)).ok();
    let made_by = place.dir("archives").join("made-by");
    std::fs::write(&made_by, "buildah\n").expect("a file below the root");
    let made_by = made_by.to_str().expect("UTF-8");
    let name = buildah(&["from", "--pull-never", "localhost/tool"]);
    let name = name.trim();
    let _digest = buildah(&["copy", "-q", name, made_by, "/etc/made-by"]);
    let saved = place.path("archives/buildah.tar");
    let to = format!("oci-archive:{saved}:tool");
    let _id = buildah(&["commit", "-q", "--format", "oci", name, &to]);
    let _id = buildah(&["rm", name]);
    loads_and_runs(&place, &saved, "buildah");
}

#[test]
fn of_umoci() {
    let place = Place::new();
    let _archive = place.archive("tool", SLEEPER);
    let oci = place.path("archives/oci.tar");
    let _out = place
        .env
        .run(["save", "--form", "oci", "-o", &oci, "tool"])
        .ok();
    let _id = place.env.run(["rmi", "tool"]).ok();
    let layout = place.dir("archives/layout");
    let layout = layout.to_str().expect("UTF-8");
    let tar = |args: &[&str]| {
        let _out = ran(place.command("tar").args(args)).ok();
    };
    tar(&["-xf", &oci, "-C", layout]);
    let made_by = place.dir("archives").join("made-by");
    std::fs::write(&made_by, "umoci\n").expect("a file below the root");
    let index = std::fs::read_to_string(format!("{layout}/index.json")).expect("a layout");
    let index: serde_json::Value = serde_json::from_str(&index).expect("JSON");
    let names = &index["manifests"][0]["annotations"];
    let tag = names["org.opencontainers.image.ref.name"].as_str();
    let image = format!("{layout}:{}", tag.expect("it has a name"));
    let made_by = made_by.to_str().expect("UTF-8");
    let mut insert = place.command("umoci");
    insert.args(["insert", "--image", &image, made_by, "/etc/made-by"]);
    let _out = ran(&mut insert).ok();
    let saved = place.path("archives/umoci.tar");
    tar(&["-cf", &saved, "-C", layout, "."]);
    loads_and_runs(&place, &saved, "umoci");
}
