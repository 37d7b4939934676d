//! The same work beside the peers: `holdall-bench [GROUP …]`, all of them where
//! none is named; `holdall-bench page` measures nothing and writes the page from
//! what is known, as after a change of `bench/notes/`. The page is
//! `docs/benchmarks.md`, with a picture for each group.
//!
//! It never asserts: what must hold is a test's, what may drift is here. It
//! starts no thread.
#![deny(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

mod clock;
mod groups;
mod load;
mod machine;
mod measure;
mod page;
mod plot;
mod process;
#[expect(unsafe_code, reason = "fork and _exit")]
mod sys;
mod world;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let done = match arguments.split_first() {
        _ if Path::new(&name).file_name() == Some(OsStr::new("run")) => load::run_here(),
        Some((first, rest)) if first == "load" => load::run(rest),
        Some((first, [])) if first == "page" => world::World::find().and_then(|w| page::write(&w)),
        _ => measure_all(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is closed.
            writeln!(std::io::stderr(), "holdall-bench: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn measure_all(wanted: &[OsString]) -> Result<()> {
    for name in wanted {
        if !groups::ALL.iter().any(|(slug, _)| name == slug) {
            let known: Vec<&str> = groups::ALL.iter().map(|(slug, _)| *slug).collect();
            bail!("there is no group {name:?}: there are {}", known.join(", "));
        }
    }
    let world = world::World::find()?;
    own_mounts()?;
    for (slug, run) in groups::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == slug) {
            continue;
        }
        writeln!(std::io::stderr(), "measuring {slug}").ok();
        let before = machine::load()?;
        let disk = world.new_disk()?;
        let mut group = run(&world).context(*slug)?;
        drop(disk);
        group.load = (before, machine::load()?);
        group.commit = machine::commit(&world)?;
        group.date = machine::date()?;
        group.slug = (*slug).to_owned();
        page::keep(&world, &group)?;
        page::write(&world)?;
    }
    page::write(&world)
}

/// What is mounted for a measurement (a missing cgroup hierarchy, the stores of
/// podman and docker on themselves) is not seen on the host, and goes with this
/// program.
fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace: run as root")?;
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).context("cannot keep mounts to ourselves")
}
