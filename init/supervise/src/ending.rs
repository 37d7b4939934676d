//! How the box comes to its end.

use holdall_protocol::Millis;
use holdall_protocol::control::ErrorKind;
use holdall_protocol::manifest::LISTENER;

use crate::command::Goal;
use crate::foreground::{self, Foreground};
use crate::instance::Input;
use crate::shutdown::Shutdown;
use crate::state::State;
use crate::supervisor::{Phase, Supervisor};
use crate::{Action, Note, Refusal, ServiceId};

impl Supervisor {
    /// An ordered stop is asked for from outside; a second time, it is made
    /// immediate.
    pub(crate) fn shutdown(&mut self) {
        let begun = matches!(self.phase, Phase::Stopping(_) | Phase::Over);
        self.end(0);
        let Phase::Stopping(shutdown) = &mut self.phase else {
            return;
        };
        let again = std::mem::replace(&mut shutdown.asked, true);
        if !begun {
            shutdown.foreground_decides = true;
        } else if again && shutdown.kill_at.is_some() {
            shutdown.hurry(self.now);
            self.kill_everything();
        }
    }

    /// Begins the ordered stop, unless one is under way.
    pub(crate) fn end(&mut self, code: u8) {
        match self.phase {
            Phase::New | Phase::Running { .. } => {}
            Phase::Stopping(_) | Phase::Over => return,
        }
        let timeout = |id: ServiceId| {
            let instance = self.services.get(id.index()).filter(|i| i.state.occupied());
            instance.map_or(Millis::ZERO, |instance| instance.policy.stop_timeout)
        };
        let plan = Shutdown::plan(self.now, self.stop_timeout, code, &self.graph, timeout);
        self.actions.push_back(Action::Note(Note::Stopping));
        self.phase = Phase::Stopping(plan);
        self.step_foreground(foreground::Input::Stop);
        for goal in [Goal::Up, Goal::Told] {
            for number in self.requests.close_all(goal) {
                self.refuse(number, ErrorKind::ShuttingDown, "the box is stopping");
            }
        }
        for id in self.graph.order().to_vec() {
            self.step(id, Input::Down);
        }
        // Those that were being stopped already may have been given more time
        // than there is.
        let Phase::Stopping(plan) = &self.phase else {
            return;
        };
        let stopping = self
            .services
            .iter()
            .filter(|i| matches!(i.state, State::Stopping { .. }));
        let shares: Vec<(ServiceId, Millis)> = stopping
            .map(|i| (i.id, plan.share(self.now, i.id, i.policy.stop_timeout)))
            .collect();
        for (id, timeout) in shares {
            self.step(id, Input::Halt { timeout });
        }
    }

    /// Whether there are services beside init's own.
    pub(crate) fn has_services(&self) -> bool {
        self.ids.keys().any(|name| name.as_str() != LISTENER)
    }

    /// The box's code when all services have ended for good: the first bad one.
    pub(crate) fn verdict(&self) -> u8 {
        let instances = self
            .graph
            .order()
            .iter()
            .filter_map(|id| self.services.get(id.index()));
        let instances = instances.filter(|instance| !instance.policy.aside);
        let codes = instances.map(|instance| match instance.state.ended() {
            Some(ended) => ended.code(),
            // It waits for one that has ended, and so never starts.
            None => u8::from(matches!(instance.state, State::Waiting)),
        });
        codes.into_iter().find(|code| *code != 0).unwrap_or(0)
    }

    /// Lets something happen to the foreground command.
    pub(crate) fn step_foreground(&mut self, input: foreground::Input) {
        if let Phase::Over = self.phase {
            return;
        }
        let Some(code) = self.foreground.step(&mut self.actions, input) else {
            return;
        };
        match &mut self.phase {
            Phase::New | Phase::Running { .. } => self.end(code),
            Phase::Stopping(shutdown) if shutdown.foreground_decides => shutdown.code = code,
            Phase::Stopping(_) | Phase::Over => {}
        }
    }

    /// Does what the stop's deadlines demand.
    pub(crate) fn deadlines(&mut self) {
        let Phase::Stopping(shutdown) = &mut self.phase else {
            return;
        };
        let (code, exit_at) = (shutdown.code, shutdown.exit_at);
        if shutdown.kill_at.is_some_and(|at| at <= self.now) {
            shutdown.kill_at = None;
            let late = self.services.iter().filter(|instance| {
                matches!(instance.state, State::Live(_) | State::Stopping { .. })
            });
            let note = |id| Action::Note(Note::KillAfterTimeout { service: id });
            self.actions.extend(late.map(|instance| note(instance.id)));
            self.kill_everything();
        }
        if exit_at <= self.now {
            let left = self
                .services
                .iter()
                .filter(|instance| instance.state.occupied());
            let left = left.map(|instance| Some(instance.id));
            let foreground = Some(None).filter(|_| self.foreground.occupied());
            let left: Vec<Option<ServiceId>> = left.chain(foreground).collect();
            for service in left {
                self.actions
                    .push_back(Action::Note(Note::LeftBehind { service }));
            }
            self.exit(code);
        }
    }

    fn kill_everything(&mut self) {
        self.step_foreground(foreground::Input::Kill);
        for id in self.graph.order().iter().rev().copied().collect::<Vec<_>>() {
            self.step(id, Input::Kill);
        }
    }

    /// The last action.
    pub(crate) fn exit(&mut self, code: u8) {
        for goal in [Goal::Up, Goal::Down, Goal::Told] {
            for number in self.requests.close_all(goal) {
                self.refuse(number, ErrorKind::ShuttingDown, "the box has stopped");
            }
        }
        self.phase = Phase::Over;
        self.foreground = Foreground::Gone;
        self.actions.push_back(Action::Exit { code });
    }

    /// Answers a request that can't be met.
    pub(crate) fn refuse(&mut self, request: u64, kind: ErrorKind, message: impl Into<String>) {
        let refusal = Refusal {
            kind,
            message: message.into(),
        };
        self.actions.push_back(Action::Reply {
            request,
            result: Err(refusal),
        });
    }
}
