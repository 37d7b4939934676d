//! Orphans reaped by PID 1.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::group;
use super::supervisors::namespace;
use crate::measure::{Contestant, Group, OURS, Unit, in_turn};
use crate::process::{installed, timed};
use crate::world::World;

const METHOD: &str = "\
As PID 1 of a new pid namespace, each runs one command that leaves orphans: it
forks a process that forks 5,000 children and ends; the children wait, are
released all at once, and end. The time is from their release until the last of
them has been reaped (`kill(pid, 0)` fails); making them is not in it. 100,000
orphans are 20 such waves, as this machine allows 32,768 processes.";

/// Orphans of one wave.
const EACH: usize = 5_000;

pub(super) fn run(world: &World) -> Result<Group> {
    let dir = world.dir("orphans")?;
    let config = dir.join("holdall.toml");
    fs::write(&config, "").context("cannot write an empty holdall.toml")?;
    let ours: Vec<OsString> = vec![
        world.init.clone().into(),
        "--config".into(),
        config.into(),
        "--run-dir".into(),
        dir.clone().into(),
        "run".into(),
        "--".into(),
    ];
    let peer = |program: &str| vec![OsString::from(program), "--".into()];
    let all = [
        (OURS, ours),
        ("tini", peer("tini")),
        ("dumb-init", peer("dumb-init")),
        ("catatonit", peer("catatonit")),
    ];
    let dir = &dir;
    let mut rows = Vec::new();
    for (title, waves, runs) in [("5,000 orphans", 1, 15), ("100,000 orphans", 20, 3)] {
        let contestants = all
            .iter()
            .filter(|(who, _)| *who == OURS || installed(who))
            .map(|(who, init)| Contestant {
                who,
                budget: (*who != OURS).then_some(1.0),
                run: Box::new(move || one(world, dir, init, waves)),
            })
            .collect();
        rows.push(in_turn(title, Unit::Seconds, runs, contestants)?);
    }
    let commands = [
        (OURS, "holdall-init --config empty.toml run -- LOAD"),
        ("tini", "tini -- LOAD"),
        ("dumb-init", "dumb-init -- LOAD"),
        ("catatonit", "catatonit -- LOAD"),
        (
            "all",
            "unshare --pid --fork --mount-proc … with LOAD = holdall-bench load orphans WAVES 5000 FILE",
        ),
    ];
    Ok(group("Orphans reaped", METHOD, &commands, rows))
}

fn one(world: &World, dir: &Path, init: &[OsString], waves: usize) -> Result<f64> {
    let file = dir.join("nanoseconds");
    let mut command = namespace();
    command
        .args(init)
        .arg(&world.bench)
        .args(["load", "orphans", &waves.to_string(), &EACH.to_string()])
        .arg(&file);
    timed(&mut command, dir)?;
    let text = fs::read_to_string(&file).context("the load wrote no time")?;
    fs::remove_file(&file).context("cannot remove the load's time")?;
    let nanoseconds: f64 = text.parse().context("the load wrote no number")?;
    Ok(nanoseconds / 1e9)
}
