//! The states of a service whose process is gone, or as good as gone: the rows
//! of [`crate::service`]'s table for unreaped and clearing.

use crate::instance::{Input, Instance, Turn};
use crate::life::Ending;
use crate::state::{Main, Next, State, Why};

impl Instance {
    pub(crate) fn in_unreaped(
        &mut self,
        turn: &mut Turn<'_>,
        main: Main,
        why: Why,
        input: &Input,
    ) -> State {
        match input {
            Input::Exited { exit, .. } => {
                let next = self.ended(turn, main, *exit, Ending::Told(why));
                self.rest(turn, next)
            }
            Input::Anew => State::Unreaped {
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
            | Input::Cleared
            | Input::Probed { .. }
            | Input::Now
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Unreaped { main, why },
        }
    }

    pub(crate) fn in_clearing(&mut self, turn: &mut Turn<'_>, next: Next, input: &Input) -> State {
        match input {
            Input::Cleared => self.rest(turn, next),
            Input::Anew => {
                self.restarts.reset();
                State::Clearing { next: Next::Anew }
            }
            Input::Up => match next {
                Next::Exited { exit } if self.done(exit) => State::Clearing { next },
                Next::Anew | Next::Scheduled => State::Clearing { next },
                Next::Backoff { .. } | Next::Exited { .. } | Next::Fatal { .. } => {
                    self.restarts.reset();
                    State::Clearing { next: Next::Anew }
                }
            },
            Input::Down
            | Input::Go
            | Input::Halt { .. }
            | Input::Kill
            | Input::Timer
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Exited { .. }
            | Input::Probed { .. }
            | Input::Now
            | Input::Clock { .. }
            | Input::Demand
            | Input::StopCommand { .. }
            | Input::Notified { .. } => State::Clearing { next },
        }
    }
}
