//! Any box through any deeds: the simulated world of init/supervise watches
//! every action, and every stop ends by its bound.

mod nonsense;

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{
    Backoff, Condition, Dependency, Dialect, GiveUp, Health, Kind, OnUnhealthy, Probe, Ready,
    Reload, Restart, Schedule, Service, Start,
};
use holdall_protocol::{Manifest, Millis, ServiceName, Signal};
use holdall_supervise::{Command, Event, Notice, Options, Timestamp};

use crate::world::{Program, World};

/// More services or deeds say nothing new and cost time.
const MAX_SERVICES: u8 = 7;
const MAX_DEEDS: usize = 40;

pub(crate) fn run(data: &[u8]) {
    let mut from = Unstructured::new(data);
    // Where the bytes run out, arbitrary gives zeros and falsehoods.
    let Ok(nonsense) = from.ratio(1_u8, 4) else {
        return;
    };
    let done = if nonsense {
        nonsense::told(&mut from)
    } else {
        lived(&mut from)
    };
    // An input that ends early has still been run as far as it went.
    let _short: Result<()> = done;
}

fn span(from: &mut Unstructured<'_>) -> Result<Millis> {
    Ok(Millis(match from.int_in_range(0..=2_u8)? {
        0 => 0,
        1 => from.int_in_range(1..=200)?,
        _ => from.int_in_range(1..=20_000)?,
    }))
}

fn exit(from: &mut Unstructured<'_>) -> Result<Exit> {
    Ok(match from.int_in_range(0..=2_u8)? {
        0 => Exit::Code(0),
        1 => Exit::Code(from.arbitrary()?),
        _ => Signal::from_number(from.int_in_range(1..=31)?).map_or(Exit::Code(1), Exit::Signal),
    })
}

/// Half of the time nothing.
fn maybe<T>(
    from: &mut Unstructured<'_>,
    value: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    from.arbitrary::<bool>()?.then(|| value(from)).transpose()
}

fn service(from: &mut Unstructured<'_>, at: u8) -> Result<Service> {
    let kind = match from.int_in_range(0..=7_u8)? {
        0 => Kind::Job,
        1 | 2 => Kind::Oneshot,
        _ => Kind::Daemon,
    };
    let mut service = Service::new(name(at), kind, vec!["run".to_owned()]);
    service.health = maybe(from, |from| {
        Ok(Box::new(Health {
            probe: Probe::Exec(vec!["ask".to_owned()]),
            interval: Millis(from.int_in_range(1..=5000)?),
            timeout: Millis(1000),
            retries: from.int_in_range(1..=3)?,
            successes: from.int_in_range(1..=3)?,
            start_period: span(from)?,
        }))
    })?;
    service.ready = maybe(from, |from| {
        let by = match from.int_in_range(0..=3_u8)? {
            0 => Dialect::Notify,
            1 => Dialect::Fd(3),
            2 => Dialect::After(Millis(from.int_in_range(1..=5000)?)),
            _ => Dialect::Asked(Probe::File("/run/ok".to_owned())),
        };
        let timeout = maybe(from, |from| Ok(Millis(from.int_in_range(1..=20_000)?)))?;
        Ok(Box::new(Ready { by, timeout }))
    })?;
    service.watchdog = maybe(from, |from| Ok(Millis(from.int_in_range(1..=20_000)?)))?;
    service.restart = *from.choose(&[Restart::Always, Restart::OnFailure, Restart::Never])?;
    let (one, other) = (span(from)?, span(from)?);
    service.backoff = Backoff {
        initial: one.min(other),
        max: one.max(other),
    };
    service.give_up = GiveUp {
        failures: from.int_in_range(0..=5)?,
        within: Millis(from.int_in_range(1..=100_000)?),
    };
    service.essential = from.arbitrary()?;
    service.on_unhealthy = *from.choose(&[OnUnhealthy::Restart, OnUnhealthy::Ignore])?;
    service.stop.timeout = span(from)?;
    service.stop.command = maybe(from, |_| Ok(vec!["quit".to_owned()]))?;
    service.start_retries = maybe(from, |from| from.int_in_range(0..=3))?;
    service.order = from.int_in_range(-2..=2)?;
    if kind == Kind::Job {
        service.schedule = Some(schedule(from)?);
    }
    if from.ratio(1_u8, 10)? {
        service.start = Start::Manual;
    }
    service.reload = maybe(from, |_| Ok(Reload::Signal(Signal::HUP)))?;
    for on in 0..at {
        let condition = match from.int_in_range(0..=7_u8)? {
            0 | 1 => Condition::Ready,
            2 => Condition::Started,
            3 => Condition::Done,
            _ => continue,
        };
        service.depends_on.push(Dependency {
            service: name(on),
            condition,
        });
    }
    Ok(service)
}

fn schedule(from: &mut Unstructured<'_>) -> Result<Schedule> {
    Ok(match from.int_in_range(0..=3_u8)? {
        0 => Schedule::Every(Millis(from.int_in_range(1..=100_000)?)),
        number => {
            let text = match number {
                1 => "* * * * *",
                2 => "*/3 * * * *",
                _ => "0 12 29 2 *",
            };
            text.parse().expect("a schedule")
        }
    })
}

/// A manifest that holds the first services of another, one of them changed.
fn changed(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<Manifest> {
    let mut new = manifest.clone();
    new.services.truncate(from.int_in_range(0..=7)?);
    let at = from.int_in_range(0..=6)?;
    if let Some(service) = new.services.get_mut(at) {
        let service = Arc::make_mut(service);
        match from.int_in_range(0..=7_u8)? {
            0 => service.command = vec!["other".to_owned()],
            1 => service.give_up.failures += 1,
            2 => service.depends_on.clear(),
            3 => service.kind = Kind::Oneshot,
            4 => service.health = None,
            5 => service.stop.timeout = Millis(1),
            6 => service.start = Start::Manual,
            _ => {}
        }
        if service.kind != Kind::Job {
            service.schedule = None;
        }
    }
    Ok(new)
}

fn name(at: u8) -> ServiceName {
    format!("s{at}").parse().expect("a name")
}

fn manifest(from: &mut Unstructured<'_>) -> Result<Manifest> {
    let mut manifest = Manifest::default();
    if from.arbitrary()? {
        manifest.init.stop_timeout = span(from)?;
    }
    for at in 0..from.int_in_range(0..=MAX_SERVICES)? {
        manifest.services.push(service(from, at)?.into());
    }
    Ok(manifest)
}

fn program(from: &mut Unstructured<'_>) -> Result<Program> {
    Ok(Program {
        // Time must pass between a crash and the next.
        spawn_takes: span(from)?.0.clamp(1, 5000),
        spawn_fails: from.ratio(1_u8, 10)?.then_some(127),
        ends: maybe(from, |from| Ok((span(from)?.0, exit(from)?)))?,
        obeys: maybe(from, |from| Ok(span(from)?.0))?,
        dies: if from.ratio(1_u8, 10)? {
            None
        } else {
            Some(span(from)?.0.min(200))
        },
        cleared_first: from.arbitrary()?,
        healthy: (
            span(from)?.0,
            if from.arbitrary()? {
                u64::MAX
            } else {
                span(from)?.0
            },
        ),
        probe_takes: span(from)?.0,
        commands_fail: from.ratio(1_u8, 3)?,
        says: (0..from.int_in_range(0..=3_u8)?)
            .map(|_| Ok((span(from)?.0, notice(from)?)))
            .collect::<Result<_>>()?,
    })
}

fn notice(from: &mut Unstructured<'_>) -> Result<Notice> {
    Ok(match from.int_in_range(0..=12_u8)? {
        0..=3 => Notice::Ready,
        4 => Notice::Announced,
        5 => Notice::Reloading,
        6 => Notice::Stopping,
        7 => Notice::Status("é".repeat(100)),
        8 => Notice::Alive,
        9 => Notice::Stuck,
        10 => Notice::WatchdogEvery(span(from)?),
        11 => Notice::Extend(span(from)?),
        _ => Notice::MainPid(from.arbitrary()?),
    })
}

fn options(from: &mut Unstructured<'_>) -> Result<Options> {
    Ok(Options {
        foreground: from.arbitrary()?,
        after_ready: from.arbitrary()?,
        seed: from.arbitrary()?,
    })
}

fn command(from: &mut Unstructured<'_>) -> Result<Command> {
    Ok(*from.choose(&[
        Command::Start,
        Command::Stop,
        Command::Restart,
        Command::Reload,
    ])?)
}

/// Some names; an eighth service is one that is not there.
fn names(from: &mut Unstructured<'_>) -> Result<Vec<String>> {
    (0..from.int_in_range(0..=3_u8)?)
        .map(|_| Ok(format!("s{}", from.int_in_range(0..=MAX_SERVICES)?)))
        .collect()
}

/// A box whose children answer as children do.
fn lived(from: &mut Unstructured<'_>) -> Result<()> {
    let manifest = manifest(from)?;
    let count = manifest.services.len();
    let programs = (0..=count)
        .map(|_| program(from))
        .collect::<Result<Vec<_>>>()?;
    let mut world = World::new(&manifest, programs, options(from)?);
    world.tell(Event::Boot);
    let mut abandoned = Vec::new();
    for request in 0..MAX_DEEDS as u64 {
        if from.is_empty() || world.exit.is_some() {
            break;
        }
        world.run_for(if from.arbitrary()? {
            span(from)?.0
        } else {
            from.int_in_range(0..=3)?
        });
        if world.exit.is_some() {
            break;
        }
        match from.int_in_range(0..=17_u8)? {
            0..=7 => {
                let (command, names) = (command(from)?, names(from)?);
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                world.command(request, command, &names);
            }
            8 => {
                let request = from.int_in_range(0..=10)?;
                world.tell(Event::Abandoned { request });
                abandoned.push(request);
            }
            9..=12 => {
                let at = from.int_in_range(0..=MAX_SERVICES)?;
                let name = format!("s{at}");
                if usize::from(at) < count && world.alive(&name) {
                    world.kill(&name, Signal::KILL);
                }
            }
            13..=15 => {
                let new = changed(from, &manifest)?;
                let stopping = world.supervisor.status(Timestamp(world.now)).stopping;
                let changes = world.reconfigure(&new);
                if !stopping {
                    let left = world.supervisor.changes(&new);
                    assert!(changes.is_empty() || left.is_empty(), "not all was changed");
                }
            }
            16 => world.tell(Event::Clock {
                wall: from.int_in_range(0..=10_000_000)?,
            }),
            _ => world.tell(Event::Shutdown),
        }
    }
    if world.exit.is_none() {
        world.tell(Event::Shutdown);
    }
    world.run_for(world.bound);
    assert!(world.exit.is_some(), "every stop ends by its bound");
    for (request, replies) in &world.replies {
        let gone = abandoned.contains(request);
        assert!(
            replies.len() == 1 || (gone && replies.is_empty()),
            "{request}: {} replies",
            replies.len()
        );
    }
    Ok(())
}
