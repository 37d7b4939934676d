//! One service: what can happen in each state, and what comes of it.
//!
//! Whether the service is *wanted* up or down is kept apart from its state. It
//! is *leaving* when it has a process that is to end: it is wanted down, or it
//! is to be started anew. A leaving service is told to end (`halt`) by the
//! supervisor, once nothing that depends on it is leaving before it.
//!
//! What can happen: `up`, `down`, `anew`, `now` (a client, the boot, the
//! shutdown, a new manifest), `go` (everything it depends on is as it must be),
//! `halt`, `kill` (the supervisor), `timer`, `clock` (the wall clock was set),
//! and the answers `spawned`, `spawn failed`, `exited`, `cleared`, `probed`,
//! `stop command`; `demand` (a connection waits for one that starts on
//! demand); and `notified`, what a service says of itself. What a row does not
//! name changes nothing there: it can only be a mistake of the shell or an
//! answer that came too late.
//!
//! | state | event | becomes | and |
//! |---|---|---|---|
//! | stopped | up, anew | waiting | failures are forgotten |
//! | | up, a job | scheduled | `@every` counts from now |
//! | | up, on demand | listening | `AwaitDemand` |
//! | | now | waiting | as anew |
//! | waiting | go | spawning | `Spawn` |
//! | | down | stopped | |
//! | spawning | spawned | starting | first probe soon |
//! | | spawned, a daemon without `ready` and `health` | ready | |
//! | | spawn failed | *verdict* | no process, so nothing to clear |
//! | | exited | clearing(*verdict*) | `KillAll`; it was faster than its own birth |
//! | | halt, kill | spawning | asked again once it is born |
//! | starting, ready, unhealthy | timer (to probe) | same | `Probe` |
//! | starting | timer (it has lived for `ready.after`) | ready | |
//! | starting, ready, unhealthy | timer (not ready in time; watchdog not heard and `on_unhealthy = "restart"`) | stopping(unhealthy), killing(unhealthy) | as halt |
//! | | timer (watchdog not heard, and `"ignore"` or it is leaving) | unhealthy | |
//! | | probed good (`successes` in a row, the watchdog heard) | ready | the next after `interval` |
//! | | probed bad | same | `retries` in a row: see the next two |
//! | | … and `on_unhealthy = "restart"` | stopping(unhealthy), killing(unhealthy) | as halt |
//! | | … and `"ignore"`, or it is leaving | unhealthy | probes go on |
//! | | notified ready or announced (as `ready` wants it), alive (where only the watchdog was wrong) | ready | watchdog and `health` begin |
//! | | notified stuck | stopping(unhealthy), killing(unhealthy), unhealthy | as a watchdog not heard |
//! | | notified stopping | stopping(itself) | no signal |
//! | | notified extend (in starting) | same | it has longer to be ready |
//! | | halt | stopping(asked), killing(asked) | stop command or signal; given no time, it is killed |
//! | | kill | killing | `KillAll` |
//! | | exited | clearing(*verdict*; leaving: anew) | `KillAll` |
//! | | anew | same | it is leaving now |
//! | stopping | timer, kill | killing | `KillAll` |
//! | | stop command failed | same | stop signal |
//! | | halt | stopping | killed at the earlier of the two times |
//! | | notified extend | stopping | killed at the later of the two times |
//! | | exited | clearing(asked: anew; else: *verdict*) | `KillAll` |
//! | killing | exited | clearing(as above) | it is under way already |
//! | | cleared | unreaped | |
//! | unreaped | exited | *rest*(as above) | |
//! | clearing(next) | cleared | *rest*(next) | |
//! | | anew; up where next is a failure or the end of a daemon | clearing(anew) | failures are forgotten |
//! | backoff(until) | timer, and it is until | waiting | |
//! | | timer, and it is until, on demand | listening | `AwaitDemand` |
//! | | up, anew, now | waiting | failures are forgotten |
//! | | up, on demand | listening | as well |
//! | | down | stopped | |
//! | scheduled(due) | timer, and it is due | waiting | |
//! | | now, anew | waiting | failures are forgotten |
//! | | clock | scheduled(next) | times that it jumped over are told of |
//! | | down | stopped | |
//! | listening | demand, now, anew | waiting | `ForgetDemand`; so does up where it is no longer on demand |
//! | | down | stopped | `ForgetDemand` |
//! | exited | anew, now; up for a daemon | waiting | a done oneshot *is* up |
//! | fatal | up, anew, now | waiting | failures are forgotten |
//! | exited, fatal | up, on demand | listening | failures are forgotten |
//!
//! In every state with a process, `up`, `now` and `down` also change what is
//! wanted. A service that is ready by `notify` and comes to stopped, exited or
//! fatal loses what it has stored: `ReleaseStore`.
//!
//! *rest*(next): wanted down: stopped. Wanted up: next; where that is anew:
//! waiting; where it is a job's next time: scheduled, and the times that passed
//! while it ran are told of; where it is a backoff that is over: waiting, on
//! demand: listening.
//!
//! *verdict*, for a service that ended by itself, could not be spawned, or was
//! stopped for being unhealthy:
//! * a daemon with `start_retries` that was not ready yet: one failed start more
//!   in a row; more of them than that: fatal; else backoff, a second longer each
//!   time;
//! * a oneshot that ended well (`success`): exited;
//! * on demand, a daemon that ended with 0: it waits for the next connection,
//!   no sooner than the first wait of `backoff` after its start (backoff; no
//!   failure), so that one which leaves its connection alone is not started
//!   without pause;
//! * a job that ended well, or that is not tried again before its next time:
//!   scheduled;
//! * not to be started again, by `restart`: a daemon that ended by itself:
//!   exited; any other: fatal;
//! * a daemon with `start_retries`: anew, at once;
//! * one failure more; too many of them: fatal; else backoff.
//!
//! After the end of a main process no other is spawned until `cleared` says
//! that all it left behind is gone, so there are never two of one service.

use std::mem;

use holdall_protocol::Millis;
use holdall_protocol::control::Exit;

use crate::instance::{Input, Instance, Turn};
use crate::life::{Ending, shortened};
use crate::state::{Live, Main, Next, State, Why};
use crate::telling::Cause;
use crate::wellness::Readiness;
use crate::{Action, Note, Timestamp};

impl Instance {
    /// Takes in what happened.
    pub(crate) fn step(&mut self, turn: &mut Turn<'_>, input: Input) {
        match input {
            Input::Up | Input::Now => self.wanted = true,
            Input::Down => (self.wanted, self.anew) = (false, false),
            Input::Anew => (self.wanted, self.anew) = (true, self.state.occupied()),
            Input::Exited { oom_kills, .. } => {
                self.out_of_memory = oom_kills > 0;
                self.oom_kills = self.oom_kills.saturating_add(oom_kills);
            }
            Input::SpawnFailed { .. } => self.out_of_memory = false,
            Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Timer
            | Input::Spawned { .. }
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => {}
        }
        let (before, cause) = (self.state.reported(), Cause::from(&input));
        let listened = matches!(self.state, State::Listening);
        let rested = self.state.rests();
        self.state = match mem::replace(&mut self.state, State::Stopped) {
            State::Stopped => self.in_stopped(turn, &input),
            State::Waiting => self.in_waiting(turn, &input),
            State::Spawning => self.in_spawning(turn, input),
            State::Live(live) => self.in_live(turn, live, input),
            State::Stopping { main, kill_at, why } => {
                self.in_stopping(turn, main, kill_at, why, input)
            }
            State::Killing { main, why } => self.in_killing(turn, main, why, &input),
            State::Unreaped { main, why } => self.in_unreaped(turn, main, why, &input),
            State::Clearing { next } => self.in_clearing(turn, next, &input),
            State::Backoff { until } => self.in_backoff(turn, until, &input),
            State::Scheduled { due } => self.in_scheduled(turn, due, &input),
            State::Listening => self.in_listening(&input),
            State::Exited { exit } => self.in_exited(exit, &input),
            State::Fatal { exit } => self.in_fatal(exit, &input),
        };
        if self.state.reported() != before {
            self.entered = turn.now;
            turn.act(Action::Tell(self.told(turn.now, before, cause)));
        }
        let service = self.id;
        match (listened, matches!(self.state, State::Listening)) {
            (false, true) => turn.act(Action::AwaitDemand { service }),
            (true, false) => turn.act(Action::ForgetDemand { service }),
            (false, false) | (true, true) => {}
        }
        let stores = self.policy.readiness == Readiness::Notified;
        if stores && self.state.rests() && !rested {
            turn.act(Action::ReleaseStore { service });
        }
    }

    fn in_spawning(&mut self, turn: &mut Turn<'_>, input: Input) -> State {
        match input {
            Input::Spawned { pid } => self.born(turn, pid),
            Input::SpawnFailed { reason, code } => {
                let reason = shortened(reason);
                self.message = Some(reason.clone());
                turn.note(Note::SpawnFailed {
                    service: self.id,
                    reason,
                });
                let exit = Exit::Code(code);
                self.last_exit = Some(exit);
                let next = if self.ends() {
                    Next::Anew
                } else {
                    self.failed(turn, exit, None)
                };
                self.rest(turn, next)
            }
            Input::Exited { exit, .. } => {
                let main = Main {
                    pid: 0,
                    spawned: turn.now,
                };
                let next = self.ended(
                    turn,
                    main,
                    exit,
                    Ending::Itself {
                        ready: self.policy.ready_at_birth().then_some(Millis::ZERO),
                    },
                );
                turn.act(Action::KillAll { service: self.id });
                State::Clearing { next }
            }
            Input::Up
            | Input::Down
            | Input::Anew
            | Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Timer
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Now
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Spawning,
        }
    }

    /// Starting, ready and unhealthy.
    fn in_live(&mut self, turn: &mut Turn<'_>, live: Live, input: Input) -> State {
        match input {
            Input::Timer => self.time_has_come(turn, live),
            Input::Notified { notice } => self.heard(turn, live, notice),
            Input::Probed { outcome } => self.probed(turn, live, outcome),
            Input::Halt { timeout } => self.halt(turn, &live, timeout, Why::Asked),
            Input::Kill => self.halt(turn, &live, Millis::ZERO, Why::Asked),
            Input::Exited { exit, .. } => {
                self.forget_probe(turn, &live);
                // Its end may be heard of before the time that made it ready.
                let due = live.ready_at.filter(|at| *at <= turn.now);
                let ready = due.map(|at| turn.now.since(at));
                let ready = ready.or(live.stage.ready_for(turn.now));
                let next = self.ended(turn, live.main, exit, Ending::Itself { ready });
                turn.act(Action::KillAll { service: self.id });
                State::Clearing { next }
            }
            Input::Up
            | Input::Down
            | Input::Anew
            | Input::Go
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Cleared
            | Input::Now
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. } => State::Live(live),
        }
    }

    fn in_stopping(
        &mut self,
        turn: &mut Turn<'_>,
        main: Main,
        kill_at: Timestamp,
        why: Why,
        input: Input,
    ) -> State {
        match input {
            Input::Timer if turn.now < kill_at => State::Stopping { main, kill_at, why },
            Input::Timer => {
                turn.note(Note::KillAfterTimeout { service: self.id });
                turn.act(Action::KillAll { service: self.id });
                State::Killing { main, why }
            }
            Input::Kill => {
                turn.act(Action::KillAll { service: self.id });
                State::Killing { main, why }
            }
            Input::Halt { timeout } => State::Stopping {
                main,
                kill_at: kill_at.min(turn.now + timeout),
                why,
            },
            Input::Exited { exit, .. } => {
                let next = self.ended(turn, main, exit, Ending::Told(why));
                turn.act(Action::KillAll { service: self.id });
                State::Clearing { next }
            }
            Input::Anew => State::Stopping {
                main,
                kill_at,
                why: Why::Asked,
            },
            Input::StopCommand {
                outcome: Err(reason),
            } => {
                turn.note(Note::StopCommandFailed {
                    service: self.id,
                    reason: shortened(reason),
                });
                self.signal_stop(turn);
                State::Stopping { main, kill_at, why }
            }
            Input::Notified { notice } => {
                let longer = self.heard_stopping(turn, notice);
                State::Stopping {
                    main,
                    kill_at: longer.map_or(kill_at, |until| kill_at.max(until)),
                    why,
                }
            }
            Input::Up
            | Input::Down
            | Input::Go
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Now
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { outcome: Ok(()) } => State::Stopping { main, kill_at, why },
        }
    }

    fn in_killing(&mut self, turn: &mut Turn<'_>, main: Main, why: Why, input: &Input) -> State {
        match input {
            Input::Exited { exit, .. } => {
                let next = self.ended(turn, main, *exit, Ending::Told(why));
                State::Clearing { next }
            }
            Input::Cleared => State::Unreaped { main, why },
            Input::Anew => State::Killing {
                main,
                why: Why::Asked,
            },
            Input::Up
            | Input::Down
            | Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Timer
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Probed { .. }
            | Input::Now
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Killing { main, why },
        }
    }
}

#[cfg(test)]
mod tests;
