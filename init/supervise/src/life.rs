//! What comes of the events in a service's life: its birth and every kind of
//! end. [`crate::service`] says when.

use holdall_protocol::Millis;
use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{Kind, Restart};

use crate::action::Because;
use crate::instance::{Instance, Policy, Turn};
use crate::job::{Calendar, jumped};
use crate::probing::Probing;
use crate::restart::Verdict;
use crate::state::{Live, Main, Next, Stage, State, Why};
use crate::watchdog::Watchdog;
use crate::{Action, Note};

/// The longest words of a probe or a failed spawn that are kept, in bytes:
/// they may quote what a service sent.
const MAX_MESSAGE: usize = 1024;

/// How a main process came to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// By itself, after it was ready for so long, if it was.
    Itself { ready: Option<Millis> },
    /// It was told to.
    Told(Why),
}

impl Instance {
    /// Its process exists now.
    pub(crate) fn born(&mut self, turn: &mut Turn<'_>, pid: u32) -> State {
        let main = Main {
            pid,
            spawned: turn.now,
        };
        self.words = None;
        let within = self.policy.ready_within;
        let live = Live {
            main,
            stage: Stage::Starting,
            probing: self.first_probing(turn),
            ready_at: self.policy.ready_at(turn.now),
            ready_by: within.map(|span| turn.now + span),
            watchdog: Watchdog::new(self.policy.watchdog),
            reloading: false,
        };
        if self.policy.ready_at_birth() {
            return self.ready(turn, live);
        }
        State::Live(live)
    }

    /// Tells a process to end; kills it at once where it is given no time.
    pub(crate) fn halt(
        &mut self,
        turn: &mut Turn<'_>,
        live: &Live,
        timeout: Millis,
        why: Why,
    ) -> State {
        self.forget_probe(turn, live);
        let main = live.main;
        if timeout == Millis::ZERO {
            turn.act(Action::KillAll { service: self.id });
            return State::Killing { main, why };
        }
        if self.policy.stop_command {
            turn.act(Action::StopCommand { service: self.id });
        } else {
            self.signal_stop(turn);
        }
        State::Stopping {
            main,
            kill_at: turn.now + timeout,
            why,
        }
    }

    pub(crate) fn signal_stop(&self, turn: &mut Turn<'_>) {
        turn.act(Action::Signal {
            service: self.id,
            signal: self.policy.stop_signal,
        });
    }

    /// Gives up the probe that is under way, if one is.
    pub(crate) fn forget_probe(&self, turn: &mut Turn<'_>, live: &Live) {
        if live.probing.as_ref().is_some_and(Probing::under_way) {
            turn.act(Action::CancelProbe { service: self.id });
        }
    }

    /// What follows the end of the main process.
    pub(crate) fn ended(
        &mut self,
        turn: &mut Turn<'_>,
        main: Main,
        exit: Exit,
        ending: Ending,
    ) -> Next {
        self.last_exit = Some(exit);
        let expected = self.ends() || matches!(ending, Ending::Told(Why::Asked));
        let after = turn.now.since(main.spawned);
        turn.note(Note::Exited {
            service: self.id,
            exit,
            after,
            expected,
        });
        if expected {
            return Next::Anew;
        }
        let ready = match ending {
            Ending::Told(Why::Asked) => return Next::Anew,
            Ending::Told(Why::Unhealthy { ready }) => return self.failed(turn, exit, ready),
            Ending::Told(Why::Itself { ready }) | Ending::Itself { ready } => ready,
        };
        if self.on_demand() && exit.success() {
            self.restarts.reset();
            let until = main.spawned + self.policy.backoff.initial;
            return Next::Backoff { until };
        }
        let stays = match (self.policy.kind, self.policy.restart) {
            // A start that came to nothing is tried again, whatever its code.
            (Kind::Daemon, _) if self.policy.start_retries.is_some() && ready.is_none() => false,
            (Kind::Oneshot | Kind::Job, Restart::Always | Restart::OnFailure | Restart::Never)
            | (Kind::Daemon, Restart::OnFailure) => self.policy.success.has(exit),
            (Kind::Daemon, Restart::Never) => true,
            (Kind::Daemon, Restart::Always) => false,
        };
        match (stays, self.policy.kind) {
            (false, _) => self.failed(turn, exit, ready),
            (true, Kind::Job) => {
                self.restarts.reset();
                Next::Scheduled
            }
            (true, Kind::Daemon | Kind::Oneshot) => Next::Exited { exit },
        }
    }

    /// What follows one failure more, after the service was ready for so long,
    /// if it was.
    pub(crate) fn failed(
        &mut self,
        turn: &mut Turn<'_>,
        exit: Exit,
        ready: Option<Millis>,
    ) -> Next {
        let Policy {
            restart,
            start_retries,
            backoff,
            give_up,
            essential,
            ..
        } = self.policy;
        let service = self.id;
        // A job is tried again at its next time in any case.
        if self.policy.kind == Kind::Job && restart == Restart::Never {
            return Next::Scheduled;
        }
        let verdict = match (start_retries, ready, restart) {
            (Some(retries), None, _) => self.restarts.start_failed(retries),
            (_, _, Restart::Never) => Verdict::GiveUp,
            (Some(_), Some(_), Restart::Always | Restart::OnFailure) => Verdict::Wait(Millis::ZERO),
            (None, ready, Restart::Always | Restart::OnFailure) => {
                let ready = ready.unwrap_or(Millis::ZERO);
                self.restarts.failed(turn.now, ready, backoff, give_up)
            }
        };
        match verdict {
            Verdict::Wait(delay) => {
                turn.note(Note::Restarting {
                    service,
                    delay,
                    restarts: self.starts,
                });
                Next::Backoff {
                    until: turn.now + delay,
                }
            }
            Verdict::GiveUp => {
                let failures = self.restarts.failures().max(1);
                turn.note(Note::GivenUp {
                    service,
                    exit,
                    failures,
                    essential,
                });
                Next::Fatal { exit }
            }
        }
    }

    /// No process is left.
    pub(crate) fn rest(&mut self, turn: &mut Turn<'_>, next: Next) -> State {
        self.anew = false;
        if !self.wanted {
            return State::Stopped;
        }
        match next {
            Next::Anew => State::Waiting,
            Next::Scheduled => self.await_time(turn),
            Next::Backoff { until } if until <= turn.now => self.again(),
            Next::Backoff { until } => State::Backoff { until },
            Next::Exited { exit } => State::Exited { exit },
            Next::Fatal { exit } => State::Fatal { exit },
        }
    }

    /// A job waits for its next time; those that passed meanwhile are told of.
    pub(crate) fn await_time(&mut self, turn: &mut Turn<'_>) -> State {
        let Some(schedule) = self.policy.schedule else {
            // Only a manifest made by hand has a job without one.
            return State::Scheduled { due: None };
        };
        let count = self.times.missed(schedule, turn.calendar, turn.now);
        if count > 0 {
            turn.note(Note::Missed {
                service: self.id,
                count,
                because: Because::ItRan,
            });
        }
        State::Scheduled {
            due: self.times.next(schedule, turn.calendar, turn.now),
        }
    }

    /// The wall clock was set.
    pub(crate) fn clock_was_set(&mut self, turn: &mut Turn<'_>, before: Calendar) -> State {
        if let Some(schedule) = self.policy.schedule {
            let count = jumped(schedule, before, turn.calendar, turn.now);
            if count > 0 {
                turn.note(Note::Missed {
                    service: self.id,
                    count,
                    because: Because::ClockWasSet,
                });
            }
        }
        self.times.take(turn.now);
        self.await_time(turn)
    }
}

pub(crate) fn shortened(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        let cut = (0..=MAX_MESSAGE)
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_too_long_is_cut_where_a_character_ends() {
        let full = "x".repeat(MAX_MESSAGE);
        assert_eq!(shortened(full.clone()), full);
        assert_eq!(shortened(format!("{full}é")), full);
        let odd = format!("{}é", "x".repeat(MAX_MESSAGE - 1));
        assert_eq!(shortened(odd), "x".repeat(MAX_MESSAGE - 1));
    }
}
