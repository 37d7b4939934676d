//! Events in no order that children could give them.

use arbitrary::{Result, Unstructured};
use holdall_protocol::Millis;
use holdall_protocol::control::HealthKind;
use holdall_supervise::{Action, Event, ServiceId, Supervisor, Timestamp};

use super::{command, exit, manifest, names, notice, options, span};

/// More say nothing new and cost time.
const MAX_EVENTS: usize = 200;

fn event(from: &mut Unstructured<'_>) -> Result<Event> {
    let service = match from.int_in_range(0..=9_u32)? {
        9 => ServiceId(u32::MAX),
        at => ServiceId(at),
    };
    let words = || "é".repeat(2000);
    Ok(match from.int_in_range(0..=16_u8)? {
        0 => Event::Boot,
        1 => Event::Spawned { service, pid: 1 },
        2 => Event::SpawnFailed {
            service,
            reason: words(),
            code: 127,
        },
        3 => Event::Exited {
            service,
            exit: exit(from)?,
            oom_kills: from.arbitrary()?,
        },
        4 => Event::Cleared { service },
        5 => Event::Probed {
            service,
            outcome: if from.arbitrary()? {
                Ok(())
            } else {
                Err(words())
            },
        },
        6 => Event::ForegroundSpawned { pid: 2 },
        7 => Event::ForegroundFailed {
            reason: String::new(),
            code: 126,
        },
        8 => Event::ForegroundExited { exit: exit(from)? },
        9 => Event::ForegroundCleared,
        10 => Event::Shutdown,
        11 => Event::Command {
            request: from.int_in_range(0..=19)?,
            command: command(from)?,
            services: names(from)?
                .iter()
                .map(|name| name.parse().expect("a name"))
                .collect(),
        },
        12 => Event::StopCommandEnded {
            service,
            outcome: Err(words()),
        },
        13 => Event::ReloadEnded {
            service,
            outcome: Ok(()),
        },
        15 => Event::Notified {
            service,
            notice: notice(from)?,
        },
        14 => Event::Clock {
            wall: from.arbitrary()?,
        },
        _ => Event::Abandoned {
            request: from.int_in_range(0..=19)?,
        },
    })
}

/// A core that is told what can't be.
pub(super) fn told(from: &mut Unstructured<'_>) -> Result<()> {
    let manifest = manifest(from)?;
    let mut supervisor = Supervisor::new(&manifest, options(from)?);
    let mut now = Timestamp(0);
    let mut exits = 0;
    let mut drain = |supervisor: &mut Supervisor| {
        let mut count = 0;
        while let Some(action) = supervisor.poll_action() {
            count += 1;
            assert!(count < 200, "a storm: {action:?}");
            exits += usize::from(matches!(action, Action::Exit { .. }));
        }
    };
    for _ in 0..MAX_EVENTS {
        if from.is_empty() {
            break;
        }
        now = now + span(from)?;
        for _ in 0..1000 {
            let Some(due) = supervisor.poll_timeout().filter(|at| *at <= now) else {
                break;
            };
            supervisor.handle_timeout(due);
            drain(&mut supervisor);
        }
        supervisor.handle(now, event(from)?);
        drain(&mut supervisor);
        assert_eq!(
            supervisor.status(now).services.len(),
            manifest.services.len()
        );
        for kind in [HealthKind::Ready, HealthKind::Live, HealthKind::Auto] {
            assert!(
                supervisor
                    .health(kind)
                    .err()
                    .is_none_or(|why| !why.is_empty())
            );
        }
    }
    supervisor.handle(now, Event::Shutdown);
    supervisor.handle_timeout(now + manifest.init.stop_timeout.max(Millis(500)));
    drain(&mut supervisor);
    assert_eq!(exits, 1, "it ends by its bound, once");
    assert_eq!(supervisor.poll_timeout(), None);
    Ok(())
}
