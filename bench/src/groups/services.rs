//! A hundred services: start, stop, memory, idleness.

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

/// Services.
const COUNT: usize = 100;

/// Rows that come beside the one that is run for, by title.
type Beside = RefCell<BTreeMap<&'static str, BTreeMap<Supervisor, Vec<f64>>>>;

pub(super) fn run(world: &World) -> Result<Group> {
    let beside = Beside::default();
    let push = |title, who, value| {
        let mut rows = beside.borrow_mut();
        let row: &mut BTreeMap<_, Vec<f64>> = rows.entry(title).or_default();
        row.entry(who).or_default().push(value);
    };
    let all = Supervisor::all();
    let contestants = |work: &'static dyn Fn(&World, Supervisor, Push<'_>) -> Result<f64>,
                       budget: fn(Supervisor) -> Option<f64>| {
        let push = &push;
        all.iter()
            .map(|who| Contestant {
                who: who.who(),
                budget: budget(*who),
                run: Box::new(move || work(world, *who, push)),
            })
            .collect::<Vec<_>>()
    };
    let started = in_turn(START, Unit::Seconds, 10, contestants(&boot, start_budget))?;
    let mut idle = in_turn(IDLE, Unit::Count, 3, contestants(&rest, |_| None))?;
    idle.limit = Some(0.0);
    let mut rows = vec![started];
    for (title, unit, limit) in [
        (STOP, Unit::Seconds, None),
        (RSS, Unit::Bytes, Some(2.5e6)),
        (PSS, Unit::Bytes, None),
        (DIRTY, Unit::Bytes, None),
    ] {
        let samples = beside.borrow_mut().remove(title).unwrap_or_default();
        rows.push(row(title, unit, limit, samples));
    }
    rows.push(idle);
    Ok(group("100 services", METHOD, &COMMANDS, rows))
}

const START: &str = "start, until all run";
const STOP: &str = "stop, until nothing is left";
const RSS: &str = "resident memory of the supervisor's processes (RSS, summed)";
const PSS: &str = "its proportional share (PSS, summed)";
const DIRTY: &str = "its own written memory (private dirty, summed)";
const IDLE: &str = "wake-ups in 10 s of idleness";

type Push<'a> = &'a dyn Fn(&'static str, Supervisor, f64);

fn start_budget(peer: Supervisor) -> Option<f64> {
    match peer {
        Supervisor::Supervisord => Some(0.05),
        Supervisor::S6 => Some(0.5),
        Supervisor::Holdall | Supervisor::Runit => None,
    }
}

/// The samples without the warm-up's.
fn row(
    title: &str,
    unit: Unit,
    limit: Option<f64>,
    samples: BTreeMap<Supervisor, Vec<f64>>,
) -> Row {
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
fn up(world: &World, who: Supervisor, dir: &std::path::Path) -> Result<(Running, f64)> {
    let mut fifo = Fifo::new(dir)?;
    let path = fifo.path.display().to_string();
    let services: Vec<Service> = (0..COUNT)
        .map(|number| Service {
            name: format!("s{number:03}"),
            load: vec!["service".to_owned(), path.clone()],
        })
        .collect();
    let before = clock::monotonic_ns().context("cannot read the clock")?;
    let running = start(world, who, dir, &services, &Output::Null)?;
    let mut last = before;
    for _ in 0..COUNT {
        last = last.max(fifo.next()?.at);
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds, not years")]
    let took = (last - before) as f64 / 1e9;
    Ok((running, took))
}

fn boot(world: &World, who: Supervisor, push: Push<'_>) -> Result<f64> {
    let dir = fresh()?;
    let (running, took) = up(world, who, dir.path())?;
    if who != Supervisor::Runit {
        push(STOP, who, running.stop()?);
    }
    Ok(took)
}

fn rest(world: &World, who: Supervisor, push: Push<'_>) -> Result<f64> {
    let dir = fresh()?;
    let (running, _) = up(world, who, dir.path())?;
    clock::pass(Duration::from_secs(3));
    let processes = of_namespace(running.pid1()?, &world.bench)?;
    let rollup = |key| Ok::<_, anyhow::Error>(sum(&processes, "smaps_rollup", key)? * 1024.0);
    push(RSS, who, rollup("Rss:")?);
    push(PSS, who, rollup("Pss:")?);
    push(DIRTY, who, rollup("Private_Dirty:")?);
    let switches = || sum(&processes, "status", "voluntary_ctxt_switches:");
    let before = switches()?;
    clock::pass(Duration::from_secs(10));
    Ok(switches()? - before)
}
