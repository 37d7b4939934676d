//! From a service's death to its next life.

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::group;
use super::supervisors::{COMMANDS, Fifo, Output, Service, Supervisor, fresh, start};
use crate::measure::{Entry, Group, Row, Unit};
use crate::world::World;

const METHOD: &str = "\
Twenty services under each supervisor live 1.2 to 1.5 s and then kill themselves
with SIGKILL; the time is from just before the kill to the first line of the new
process's own code, both by the services' clock. They live longer than a second
because s6-supervise and runsv start a service at most once a second. holdall runs
with `backoff = { initial = \"1ms\", max = \"1ms\" }`, so about a millisecond of
its time is the backoff; supervisord with `autorestart=true startsecs=0`. Two
rounds in turn, every event counted.";

/// Deaths that are counted in one round.
const DEATHS: usize = 200;

pub(super) fn run(world: &World) -> Result<Group> {
    let all = Supervisor::all();
    let samples: RefCell<BTreeMap<Supervisor, Vec<f64>>> = RefCell::default();
    for _round in 0..2 {
        for who in &all {
            let events = one(world, *who).with_context(|| who.who())?;
            samples.borrow_mut().entry(*who).or_default().extend(events);
        }
    }
    let entries = samples
        .into_inner()
        .into_iter()
        .map(|(who, samples)| Entry {
            who: who.who().to_owned(),
            budget: (who == Supervisor::S6).then_some(1.0),
            samples,
        })
        .collect();
    let row = Row {
        title: "death to next life".to_owned(),
        unit: Unit::Seconds,
        limit: None,
        entries,
        tail: true,
    };
    Ok(group("Crash to respawn", METHOD, &COMMANDS, vec![row]))
}

fn one(world: &World, who: Supervisor) -> Result<Vec<f64>> {
    let dir = fresh()?;
    let mut fifo = Fifo::new(dir.path())?;
    let path = fifo.path.display().to_string();
    let services: Vec<Service> = (0..20)
        .map(|number| {
            let name = format!("s{number:02}");
            let life = (1_200 + number * 17).to_string();
            Service {
                load: vec!["crash".to_owned(), name.clone(), life, path.clone()],
                name,
            }
        })
        .collect();
    let _running = start(world, who, dir.path(), &services, &Output::Null)?;
    let mut died: BTreeMap<String, i64> = BTreeMap::new();
    let mut events = Vec::with_capacity(DEATHS);
    while events.len() < DEATHS {
        let said = fifo.next()?;
        if said.word == "down" {
            died.insert(said.name, said.at);
        } else if let Some(death) = died.remove(&said.name) {
            #[expect(clippy::cast_precision_loss, reason = "seconds, not years")]
            events.push((said.at - death) as f64 / 1e9);
        }
    }
    Ok(events)
}
