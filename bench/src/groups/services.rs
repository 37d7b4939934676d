//! A hundred services: start, stop, memory, idleness; and what ten and a
//! thousand take.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::group;
use super::supervisors::{COMMANDS, Fifo, Output, Running, Service, Supervisor, fresh, start};
use crate::clock;
use crate::measure::{Contestant, Entry, Group, Row, Unit, in_turn};
use crate::process::{of_namespace, sum};
use crate::world::World;

const METHOD: &str = "\
Each supervisor is PID 1 of a new pid namespace and has 100 services: one static
program that says it runs and sleeps. *Start* is from the start of `unshare` to
the moment the last service's own code runs, by the services' own clock; *stop*
from TERM, sent at that moment, to the end of the last process of the namespace.
The kernel ends a namespace with its PID 1, so stop is short for one that does not
wait for its services; runit, whose runsvdir ignores TERM, is left out there. s6
and runit start the program itself, not a shell script. Memory and wake-ups are
the sum over the supervisor's processes without the services, three seconds after
the start; wake-ups are voluntary context switches in ten seconds. holdall and supervisord
read the services' output, s6 and runit pass it on.";

const SCALE: &str = "\
As above, with 10 services and with 1,000. s6 is told to take that many (`-c 2000`,
its own bound is lower), runit is at its bound. Memory is what the supervisor's
processes have together, three seconds after the start.";

/// Services of the first group.
const COUNT: usize = 100;

/// Rows that come beside the one that is run for, by title.
type Beside = RefCell<BTreeMap<&'static str, BTreeMap<Supervisor, Vec<f64>>>>;

fn push(beside: &Beside, title: &'static str, who: Supervisor, value: f64) {
    let mut rows = beside.borrow_mut();
    rows.entry(title)
        .or_default()
        .entry(who)
        .or_default()
        .push(value);
}

pub(super) fn run(world: &World) -> Result<Group> {
    let beside = Beside::default();
    let boot = |who| boot(world, who, COUNT, &beside);
    let rest = |who| rest(world, who, COUNT, &beside);
    let started = in_turn(START, Unit::Seconds, 10, all(&boot, start_budget))?;
    let mut idle = in_turn(IDLE, Unit::Count, 3, all(&rest, |_| None))?;
    idle.limit = Some(0.0);
    let mut rows = vec![started];
    for (title, unit, limit) in [
        (STOP, Unit::Seconds, None),
        (RSS, Unit::Bytes, Some(2.5e6)),
        (PSS, Unit::Bytes, None),
        (DIRTY, Unit::Bytes, None),
    ] {
        rows.push(row(title, title, unit, limit, &beside));
    }
    rows.push(idle);
    Ok(group("100 services", METHOD, &COMMANDS, rows))
}

/// What grows with the number of services.
pub(super) fn scale(world: &World) -> Result<Group> {
    let mut rows = Vec::new();
    let beside = Beside::default();
    let boot = |who| boot(world, who, 1000, &beside);
    let title = "1,000 services: start, until all run";
    rows.push(in_turn(title, Unit::Seconds, 3, all(&boot, start_budget))?);
    let title = "1,000 services: stop, until nothing is left";
    rows.push(row(STOP, title, Unit::Seconds, None, &beside));
    for (count, limit, title) in [
        (10, 2e6, "10 services: resident memory (RSS, summed)"),
        (1000, 5e6, "1,000 services: resident memory (RSS, summed)"),
    ] {
        let memory = |who| {
            let dir = fresh()?;
            let (running, _) = up(world, who, dir.path(), count)?;
            clock::pass(Duration::from_secs(3));
            let processes = of_namespace(running.pid1()?, &world.bench)?;
            Ok(sum(&processes, "smaps_rollup", "Rss:")? * 1024.0)
        };
        let mut row = in_turn(title, Unit::Bytes, 3, all(&memory, |_| None))?;
        row.limit = Some(limit);
        rows.push(row);
    }
    Ok(group("10 and 1,000 services", SCALE, &COMMANDS, rows))
}

/// Everyone at the same work.
fn all<'a>(
    work: &'a dyn Fn(Supervisor) -> Result<f64>,
    budget: fn(Supervisor) -> Option<f64>,
) -> Vec<Contestant<'a>> {
    let one = |who: Supervisor| Contestant {
        who: who.who(),
        budget: budget(who),
        run: Box::new(move || work(who)),
    };
    Supervisor::all().into_iter().map(one).collect()
}

const START: &str = "start, until all run";
const STOP: &str = "stop, until nothing is left";
const RSS: &str = "resident memory of the supervisor's processes (RSS, summed)";
const PSS: &str = "its proportional share (PSS, summed)";
const DIRTY: &str = "its own written memory (private dirty, summed)";
const IDLE: &str = "wake-ups in 10 s of idleness";

fn start_budget(peer: Supervisor) -> Option<f64> {
    match peer {
        Supervisor::Supervisord => Some(0.05),
        Supervisor::S6 => Some(0.5),
        Supervisor::Holdall | Supervisor::Runit => None,
    }
}

/// The samples of `key` without the warm-up's.
fn row(key: &str, title: &str, unit: Unit, limit: Option<f64>, beside: &Beside) -> Row {
    let samples = beside.borrow_mut().remove(key).unwrap_or_default();
    let entries = samples
        .into_iter()
        .map(|(who, samples)| Entry {
            who: who.who().to_owned(),
            budget: None,
            samples: samples.into_iter().skip(1).collect(),
        })
        .collect();
    Row {
        title: title.to_owned(),
        unit,
        limit,
        entries,
        tail: false,
    }
}

/// Starts all; returns it with the seconds that took.
fn up(
    world: &World,
    who: Supervisor,
    dir: &std::path::Path,
    count: usize,
) -> Result<(Running, f64)> {
    let mut fifo = Fifo::new(dir)?;
    let path = fifo.path.display().to_string();
    let services: Vec<Service> = (0..count)
        .map(|number| Service {
            name: format!("s{number:04}"),
            load: vec!["service".to_owned(), path.clone()],
        })
        .collect();
    let before = clock::monotonic_ns().context("cannot read the clock")?;
    let running = start(world, who, dir, &services, &Output::Null)?;
    let mut last = before;
    for _ in 0..count {
        last = last.max(fifo.next()?.at);
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds, not years")]
    let took = (last - before) as f64 / 1e9;
    Ok((running, took))
}

fn boot(world: &World, who: Supervisor, count: usize, beside: &Beside) -> Result<f64> {
    let dir = fresh()?;
    let (running, took) = up(world, who, dir.path(), count)?;
    if who != Supervisor::Runit {
        push(beside, STOP, who, running.stop()?);
    }
    Ok(took)
}

fn rest(world: &World, who: Supervisor, count: usize, beside: &Beside) -> Result<f64> {
    let dir = fresh()?;
    let (running, _) = up(world, who, dir.path(), count)?;
    clock::pass(Duration::from_secs(3));
    let processes = of_namespace(running.pid1()?, &world.bench)?;
    let rollup = |key| Ok::<_, anyhow::Error>(sum(&processes, "smaps_rollup", key)? * 1024.0);
    push(beside, RSS, who, rollup("Rss:")?);
    push(beside, PSS, who, rollup("Pss:")?);
    push(beside, DIRTY, who, rollup("Private_Dirty:")?);
    let switches = || sum(&processes, "status", "voluntary_ctxt_switches:");
    let before = switches()?;
    clock::pass(Duration::from_secs(10));
    Ok(switches()? - before)
}
