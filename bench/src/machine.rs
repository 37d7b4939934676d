//! The machine and the versions, for the page.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;
use crate::world::World;

/// The first three numbers of `/proc/loadavg`.
pub(crate) fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// `YYYY-MM-DD HH:MM`, UTC.
pub(crate) fn date() -> Result<String> {
    let seconds = crate::clock::wall_seconds().context("cannot read the clock")?;
    let text = process::output(Command::new("date").args([
        "-u",
        "-d",
        &format!("@{seconds}"),
        "+%Y-%m-%d %H:%M",
    ]))?;
    Ok(text.trim().to_owned())
}

/// Processor, memory and kernel in one line.
pub(crate) fn hardware() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let model = field(&cpus, "model name").unwrap_or("unknown processor");
    let count = cpus.lines().filter(|l| l.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let kib: u64 = field(&memory, "MemTotal")
        .and_then(|v| v.split(' ').next()?.parse().ok())
        .context("/proc/meminfo has no MemTotal")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("no kernel release")?;
    let v1 = fs::metadata("/sys/fs/cgroup/memory").is_ok();
    Ok(format!(
        "{model}, {count} CPUs, {} GB, Linux {}, cgroup {}",
        kib / 1_000_000,
        kernel.trim(),
        if v1 { "v1 (hybrid)" } else { "v2" }
    ))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// The commit that `make bench` has just built, marked where files differ from
/// it.
pub(crate) fn commit(world: &World) -> Result<String> {
    let text = process::output(Command::new("git").arg("-C").arg(&world.notes).args([
        "describe",
        "--always",
        "--dirty=, with changes",
        "--exclude=*",
    ]))?;
    Ok(text.trim().to_owned())
}

/// The versions of the peers, by package.
pub(crate) fn versions() -> Vec<String> {
    let packages = [
        "tini",
        "dumb-init",
        "catatonit",
        "crun",
        "runc",
        "podman",
        "docker.io",
        "buildah",
        "umoci",
        "pigz",
        "supervisor",
        "s6",
        "runit",
    ];
    let version = |package: &str| {
        let query = ["-W", "-f=${Version}", package];
        // One that is not installed is not measured either.
        let version = process::output(Command::new("dpkg-query").args(query)).ok()?;
        Some(format!("{package} {version}"))
    };
    packages.into_iter().filter_map(version).collect()
}
