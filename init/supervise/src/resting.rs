//! The states of a service that has no process: the rows of
//! [`crate::service`]'s table for stopped, waiting, backoff, scheduled,
//! listening, exited and fatal.

use holdall_protocol::control::Exit;
use holdall_protocol::manifest::Kind;

use crate::instance::{Input, Instance, Turn};
use crate::job::Times;
use crate::state::State;
use crate::{Action, Timestamp};

impl Instance {
    pub(crate) fn in_stopped(&mut self, turn: &mut Turn<'_>, input: &Input) -> State {
        match input {
            Input::Up if self.policy.kind == Kind::Job => {
                self.restarts.reset();
                self.times = Times::from(turn.now);
                self.await_time(turn)
            }
            Input::Now => {
                self.times = Times::from(turn.now);
                self.afresh()
            }
            Input::Up if self.on_demand() => self.listening(),
            Input::Up | Input::Anew => self.afresh(),
            Input::Down
            | Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Timer
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Exited { .. }
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Stopped,
        }
    }

    pub(crate) fn in_waiting(&mut self, turn: &mut Turn<'_>, input: &Input) -> State {
        match input {
            Input::Go => {
                self.starts = self.starts.saturating_add(1);
                turn.act(Action::Spawn { service: self.id });
                State::Spawning
            }
            Input::Down => State::Stopped,
            Input::Up
            | Input::Anew
            | Input::Halt { .. }
            | Input::Kill
            | Input::Timer
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Exited { .. }
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Now
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Waiting,
        }
    }

    pub(crate) fn in_backoff(
        &mut self,
        turn: &mut Turn<'_>,
        until: Timestamp,
        input: &Input,
    ) -> State {
        match input {
            Input::Timer if turn.now < until => State::Backoff { until },
            Input::Timer => self.again(),
            Input::Up if self.on_demand() => self.listening(),
            Input::Up | Input::Anew | Input::Now => self.afresh(),
            Input::Down => State::Stopped,
            Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Exited { .. }
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Backoff { until },
        }
    }

    /// A job between two runs.
    pub(crate) fn in_scheduled(
        &mut self,
        turn: &mut Turn<'_>,
        due: Option<Timestamp>,
        input: &Input,
    ) -> State {
        match input {
            Input::Timer => match due.filter(|at| *at <= turn.now) {
                Some(at) => {
                    self.times.take(at);
                    State::Waiting
                }
                None => State::Scheduled { due },
            },
            Input::Now | Input::Anew => {
                self.times.take(turn.now);
                self.afresh()
            }
            Input::Clock { before } => self.clock_was_set(turn, *before),
            Input::Down => State::Stopped,
            Input::Up
            | Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Exited { .. }
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Scheduled { due },
        }
    }

    /// One that starts on demand, between two runs.
    pub(crate) fn in_listening(&mut self, input: &Input) -> State {
        match input {
            // Its failures count on: a connection is no new beginning.
            Input::Demand => State::Waiting,
            Input::Now | Input::Anew => self.afresh(),
            Input::Up if !self.on_demand() => self.afresh(),
            Input::Down => State::Stopped,
            Input::Up
            | Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Timer
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Exited { .. }
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Clock { .. }
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Listening,
        }
    }

    pub(crate) fn in_exited(&mut self, exit: Exit, input: &Input) -> State {
        match input {
            Input::Anew | Input::Now => self.afresh(),
            Input::Up if self.on_demand() => self.listening(),
            Input::Up if !self.done(exit) => self.afresh(),
            Input::Up
            | Input::Down
            | Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Timer
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Exited { .. }
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Exited { exit },
        }
    }

    pub(crate) fn in_fatal(&mut self, exit: Exit, input: &Input) -> State {
        match input {
            Input::Up if self.on_demand() => self.listening(),
            Input::Up | Input::Anew | Input::Now => self.afresh(),
            Input::Down
            | Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Timer
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Exited { .. }
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Fatal { exit },
        }
    }

    /// What follows a wait that is over: a start, or a wait for the next
    /// connection.
    pub(crate) fn again(&self) -> State {
        if self.on_demand() {
            State::Listening
        } else {
            State::Waiting
        }
    }

    /// A new beginning, with the first connection.
    fn listening(&mut self) -> State {
        self.restarts.reset();
        State::Listening
    }

    /// A new beginning.
    fn afresh(&mut self) -> State {
        self.restarts.reset();
        State::Waiting
    }
}
