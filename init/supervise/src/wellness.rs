//! How a live process comes to be ready, and stays well: probes, the watchdog,
//! and what it says of itself. [`crate::service`] says what follows.

use holdall_protocol::Millis;
use holdall_protocol::control::HealthState;
use holdall_protocol::manifest::{Dialect, Kind, OnUnhealthy, Ready, Service};

use crate::instance::{Instance, Turn};
use crate::life::shortened;
use crate::notice::Notice;
use crate::probing::{Finding, Probing, Schedule};
use crate::state::{Live, Stage, State, Why};
use crate::supervisor::{Phase, Supervisor};
use crate::{Action, Note, Question, ServiceId, Timestamp};

/// What makes a service ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// That it runs.
    Running,
    /// That it has run for so long.
    Lived(Millis),
    /// The first success of its health.
    Healthy,
    /// `READY=1`.
    Notified,
    /// A line at its descriptor, or one of its log.
    Announced,
    /// The first success of a probe for this alone. The health is asked for
    /// only after it.
    Asked,
}

impl From<&Service> for Readiness {
    fn from(service: &Service) -> Self {
        match (service.ready.as_deref(), &service.health) {
            (_, _) if service.kind != Kind::Daemon => Self::Running,
            (None, None) => Self::Running,
            (None, Some(_)) => Self::Healthy,
            (Some(Ready { by, .. }), _) => match by {
                Dialect::After(span) => Self::Lived(*span),
                Dialect::Notify => Self::Notified,
                Dialect::Fd(_) | Dialect::Log(_) => Self::Announced,
                Dialect::Asked(_) => Self::Asked,
            },
        }
    }
}

impl Live {
    /// Whether nothing says that it is not well.
    fn is_well(&self) -> bool {
        let health = self.probing.as_ref().and_then(Probing::health);
        !self.watchdog.missed() && health != Some(HealthState::Unhealthy)
    }
}

impl Instance {
    /// The probe that a new process is asked by, if it is.
    pub(crate) fn first_probing(&self, turn: &Turn<'_>) -> Option<Probing> {
        match self.policy.readiness {
            Readiness::Running
            | Readiness::Lived(_)
            | Readiness::Notified
            | Readiness::Announced => None,
            Readiness::Asked => Some(Probing::new(
                Question::Ready,
                Schedule::until_ready(),
                turn.now,
            )),
            Readiness::Healthy => self.health_probing(turn),
        }
    }

    fn health_probing(&self, turn: &Turn<'_>) -> Option<Probing> {
        let schedule = self.policy.probes?;
        Some(Probing::new(Question::Health, schedule, turn.now))
    }

    pub(crate) fn ready(&mut self, turn: &mut Turn<'_>, mut live: Live) -> State {
        self.message = None;
        let after = turn.now.since(live.main.spawned);
        turn.note(Note::Ready {
            service: self.id,
            after,
        });
        live.stage = Stage::Ready { at: turn.now };
        self.restarts.came_up();
        (live.ready_at, live.ready_by) = (None, None);
        live.watchdog.begin(turn.now);
        let asked = live.probing.as_ref().map(Probing::question);
        if asked != Some(Question::Health) {
            live.probing = self.health_probing(turn);
        }
        State::Live(live)
    }

    /// Something is due: to be ready, to be heard, or to be asked.
    pub(crate) fn time_has_come(&mut self, turn: &mut Turn<'_>, mut live: Live) -> State {
        if live.ready_at.is_some_and(|at| at <= turn.now) {
            return self.ready(turn, live);
        }
        if live.ready_by.is_some_and(|at| at <= turn.now) {
            live.ready_by = None;
            if !self.ends() {
                let took = turn.now.since(live.main.spawned);
                let why = match self.message.take() {
                    Some(words) => format!("not ready within {took}: {words}"),
                    None => format!("not ready within {took}"),
                };
                return self.fail(turn, &live, shortened(why));
            }
        }
        if live.watchdog.bites(turn.now) {
            let why = format!("no WATCHDOG=1 within {}", live.watchdog.every());
            return self.unhealthy(turn, live, why);
        }
        if let Some(probing) = &mut live.probing
            && probing.ask(turn.now)
        {
            turn.act(Action::Probe {
                service: self.id,
                question: probing.question(),
            });
        }
        State::Live(live)
    }

    /// Takes in the answer of a probe.
    pub(crate) fn probed(
        &mut self,
        turn: &mut Turn<'_>,
        mut live: Live,
        outcome: Result<(), String>,
    ) -> State {
        let answer = live
            .probing
            .as_mut()
            .and_then(|p| p.answer(turn.now, outcome.is_ok()));
        let Some(finding) = answer else {
            return State::Live(live);
        };
        match outcome {
            Err(words) => self.message = Some(shortened(words)),
            Ok(()) if live.is_well() => self.message = None,
            Ok(()) => {}
        }
        match (finding, live.stage) {
            (Finding::Good, Stage::Starting) => self.ready(turn, live),
            (Finding::Good, Stage::Unhealthy { .. }) => self.perhaps_recovered(turn, live),
            (Finding::TooBad, Stage::Starting | Stage::Ready { .. }) => {
                let why = self.message.clone().unwrap_or_default();
                self.unhealthy(turn, live, why)
            }
            (Finding::Good, Stage::Ready { .. })
            | (
                Finding::Bad | Finding::Better,
                Stage::Starting | Stage::Ready { .. } | Stage::Unhealthy { .. },
            )
            | (Finding::TooBad, Stage::Unhealthy { .. }) => State::Live(live),
        }
    }

    /// Something says that it is not well.
    fn unhealthy(&mut self, turn: &mut Turn<'_>, mut live: Live, why: String) -> State {
        if let Stage::Unhealthy { .. } = live.stage {
            self.message = Some(why);
            return State::Live(live);
        }
        match self.policy.on_unhealthy {
            OnUnhealthy::Restart if !self.ends() => self.fail(turn, &live, why),
            OnUnhealthy::Restart | OnUnhealthy::Ignore => {
                self.note_unhealthy(turn, why);
                let ready = live.stage.ready_for(turn.now);
                live.stage = Stage::Unhealthy { ready };
                State::Live(live)
            }
        }
    }

    /// It is not as it should be, and is told to end for that.
    fn fail(&mut self, turn: &mut Turn<'_>, live: &Live, why: String) -> State {
        self.note_unhealthy(turn, why);
        let ready = live.stage.ready_for(turn.now);
        let timeout = self.policy.stop_timeout;
        self.halt(turn, live, timeout, Why::Unhealthy { ready })
    }

    fn note_unhealthy(&mut self, turn: &mut Turn<'_>, why: String) {
        turn.note(Note::Unhealthy {
            service: self.id,
            reason: first_line(&why).to_owned(),
        });
        self.message = Some(why);
    }

    fn perhaps_recovered(&mut self, turn: &mut Turn<'_>, mut live: Live) -> State {
        if matches!(live.stage, Stage::Unhealthy { .. }) && live.is_well() {
            self.message = None;
            turn.note(Note::Recovered { service: self.id });
            live.stage = Stage::Ready { at: turn.now };
        }
        State::Live(live)
    }

    /// A live process says something of itself.
    pub(crate) fn heard(&mut self, turn: &mut Turn<'_>, mut live: Live, notice: Notice) -> State {
        let starting = live.stage == Stage::Starting;
        let readiness = self.policy.readiness;
        match notice {
            Notice::Ready => {
                live.reloading = false;
                if starting && readiness == Readiness::Notified {
                    return self.ready(turn, live);
                }
            }
            Notice::Announced if starting && readiness == Readiness::Announced => {
                return self.ready(turn, live);
            }
            Notice::Announced => {}
            Notice::Reloading => live.reloading = true,
            Notice::Stopping => return self.stops_itself(turn, &live),
            Notice::Status(words) => self.tells(words),
            Notice::Alive => {
                live.watchdog.hear(turn.now);
                return self.perhaps_recovered(turn, live);
            }
            Notice::Stuck => {
                // One that is not ready yet can't be less than that, nor come
                // back from there to what it never was.
                let restarts = self.policy.on_unhealthy == OnUnhealthy::Restart;
                if !starting || (restarts && !self.ends()) {
                    live.watchdog.bite();
                    let why = "says that it is stuck (WATCHDOG=trigger)".to_owned();
                    return self.unhealthy(turn, live, why);
                }
            }
            Notice::WatchdogEvery(every) => {
                live.watchdog.change(turn.now, every);
                return self.perhaps_recovered(turn, live);
            }
            Notice::Extend(span) => {
                live.ready_by = live.ready_by.map(|at| at.max(turn.now + span));
            }
            Notice::MainPid(pid) => live.main.pid = pid,
        }
        State::Live(live)
    }

    /// A process that is to end says something of itself. Until when it asks
    /// to be waited for, if it does.
    pub(crate) fn heard_stopping(&mut self, turn: &Turn<'_>, notice: Notice) -> Option<Timestamp> {
        match notice {
            Notice::Extend(span) => return Some(turn.now + span),
            Notice::Status(words) => self.tells(words),
            Notice::Ready
            | Notice::Announced
            | Notice::Reloading
            | Notice::Stopping
            | Notice::Alive
            | Notice::Stuck
            | Notice::WatchdogEvery(_)
            | Notice::MainPid(_) => {}
        }
        None
    }

    /// It ends by itself, and is waited for as if it had been told to.
    fn stops_itself(&mut self, turn: &mut Turn<'_>, live: &Live) -> State {
        self.forget_probe(turn, live);
        State::Stopping {
            main: live.main,
            kill_at: turn.now + self.policy.stop_timeout,
            why: Why::Itself {
                ready: live.stage.ready_for(turn.now),
            },
        }
    }

    /// Keeps its words for people.
    fn tells(&mut self, words: String) {
        self.words = Some(words).filter(|words| !words.is_empty());
    }
}

impl Supervisor {
    /// A service said something of itself. In an ordered stop of the box there
    /// is no more time than was shared out.
    pub(crate) fn heard(&mut self, id: ServiceId, notice: Notice) {
        let bound = matches!(self.phase, Phase::Stopping(_));
        if !(bound && matches!(notice, Notice::Extend(_))) {
            self.step(id, crate::instance::Input::Notified { notice });
        }
    }
}

/// A message's first line: what is below it is what a probe printed.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// How often a probe of `ready` asks at most.
const READY_INTERVAL: Millis = Millis(1000);

impl Schedule {
    /// Of a probe that is asked until its first success: only the time that
    /// `ready` gives is too much.
    fn until_ready() -> Self {
        Self {
            interval: READY_INTERVAL,
            retries: u32::MAX,
            successes: 1,
            start_period: Millis::ZERO,
        }
    }
}
