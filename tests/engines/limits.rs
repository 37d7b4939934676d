//! Docker's limits, on our runtime: what the kernel says of them.

use std::fs;

use crate::docker::Docker;
use crate::engine::{DockerLike as _, Engine as _, Runtime};
use crate::place::{Place, ran};
use crate::same_image::until_ready;

const SLEEPER: &str = "[service.a]\ncommand = \"sleep 1000\"\n";

/// The value of a limit in the cgroup of the story's only container.
fn limit(place: &Place, names: &[&str]) -> Option<String> {
    let files = place
        .cgroups()
        .into_iter()
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)));
    let values = files.filter_map(|file| fs::read_to_string(file).ok());
    values.map(|value| value.trim().to_owned()).next()
}

#[test]
fn memory_processes_and_processor_time_are_what_docker_was_asked_for() {
    let place = Place::new();
    let archive = place.archive("sleeper", SLEEPER);
    let docker = Docker::new(&place, Runtime::Holdall);
    docker.load(&archive);
    let before = place.baseline();
    let limits = ["--memory", "64m", "--pids-limit", "40", "--cpus", "0.5"];
    let mut start = docker.run_command(&limits);
    let _id = ran(start.args(["-d", "--name", "box", "sleeper"])).ok();
    until_ready(&docker, "box");
    // Of version 1, and of version 2.
    let memory = limit(&place, &["memory.limit_in_bytes", "memory.max"]);
    assert_eq!(memory.as_deref(), Some("67108864"));
    assert_eq!(limit(&place, &["pids.max"]).as_deref(), Some("40"));
    let quota = limit(&place, &["cpu.cfs_quota_us", "cpu.max"]);
    let quota = quota.unwrap_or_default();
    assert!(quota == "50000" || quota == "50000 100000", "{quota}");

    // And that it is in them.
    let forks = "i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i+1)); done; echo all";
    let refused = docker.exec("box", &["sh", "-c", forks]);
    assert!(!refused.out.contains("all"), "{}", refused.out);
    assert!(refused.err.contains("fork"), "{}", refused.err);
    assert_eq!(docker.stop("box"), 0, "{}", docker.logs("box"));
    docker.remove("box");
    place.until_back_to(&before);
}
