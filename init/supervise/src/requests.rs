//! What clients ask of services, and when they are answered.

use holdall_protocol::control::ErrorKind;
use holdall_protocol::manifest::{Kind, LISTENER};
use holdall_protocol::{ServiceName, suggest};

use crate::command::Goal;
use crate::graph::Graph;
use crate::instance::{Input, Instance};
use crate::state::{Live, Stage, State};
use crate::supervisor::{Phase, Supervisor};
use crate::wellness::first_line;
use crate::{Action, Command, ServiceId};

/// How a service stands to what a client wants of it.
enum Standing {
    Met,
    Open,
    Failed(String),
}

impl Supervisor {
    /// Takes in a client's command.
    pub(crate) fn command(&mut self, request: u64, command: Command, names: &[ServiceName]) {
        match self.phase {
            Phase::New | Phase::Running { .. } => {}
            // `Exit` was the last action: nobody is there to answer.
            Phase::Over => return,
            Phase::Stopping(_) => {
                return self.refuse(request, ErrorKind::ShuttingDown, "the box is stopping");
            }
        }
        if command == Command::Reload {
            return self.reload(request, names);
        }
        let targets = match self.targets(names) {
            Ok(targets) => targets,
            Err(message) => return self.refuse(request, ErrorKind::UnknownService, message),
        };
        let goal = match command {
            Command::Start | Command::Restart | Command::Reload => Goal::Up,
            Command::Stop => Goal::Down,
        };
        let serial = self.requests.open(request, goal, &targets);
        match command {
            Command::Start => {
                for id in targets.clone() {
                    let instance = self.services.get(id.index());
                    let waits = |i: &Instance| i.policy.kind == Kind::Job || i.on_demand();
                    let now = instance.is_some_and(waits);
                    self.step(id, if now { Input::Now } else { Input::Up });
                }
                self.bring_needs(&targets);
            }
            Command::Stop => {
                self.step_all(self.graph.closure(&targets, Graph::needed_by), &Input::Down);
            }
            Command::Restart | Command::Reload => {
                // Anew first: up, a target would count as being there already.
                self.step_all(targets.clone(), &Input::Anew);
                self.bring_needs(&targets);
            }
        }
        for id in targets {
            self.judge(id);
        }
        let closed = self.requests.close_if_met(serial);
        self.done(closed);
    }

    /// A connection waits for a service: it is started, and with it what it
    /// needs.
    pub(crate) fn demanded(&mut self, id: ServiceId) {
        let instance = self.services.get(id.index());
        if instance.is_some_and(|instance| matches!(instance.state, State::Listening)) {
            self.step(id, Input::Demand);
            self.bring_needs(&[id]);
        }
    }

    /// Brings up what services need, as far as it does not come by itself: one
    /// in backoff keeps its wait and its failures.
    fn bring_needs(&mut self, targets: &[ServiceId]) {
        let mut needs = self.graph.closure(targets, Graph::needs);
        needs.retain(|id| {
            let instance = self.services.get(id.index());
            targets.binary_search(id).is_err() && instance.is_some_and(|i| !i.coming())
        });
        self.step_all(needs, &Input::Up);
    }

    fn step_all(&mut self, ids: Vec<ServiceId>, input: &Input) {
        for id in ids {
            self.step(id, input.clone());
        }
    }

    /// Tells services to read their files again; those that can't be told are
    /// restarted.
    fn reload(&mut self, request: u64, names: &[ServiceName]) {
        let targets = match self.targets(names) {
            Ok(targets) => targets,
            Err(message) => return self.refuse(request, ErrorKind::UnknownService, message),
        };
        let runs = |id: &ServiceId| {
            let instance = self.services.get(id.index());
            instance.is_some_and(|i| i.state.live().is_some() && !i.leaving())
        };
        if let Some(down) = targets.iter().find(|id| !runs(id)) {
            let message = format!(
                "`{}` does not run, and nothing was reloaded",
                self.name(*down)
            );
            return self.refuse(request, ErrorKind::Failed, message);
        }
        let can = |id: &ServiceId| {
            let instance = self.services.get(id.index());
            instance.is_some_and(|instance| instance.policy.reloads)
        };
        let (told, others): (Vec<ServiceId>, Vec<ServiceId>) =
            targets.iter().partition(|id| can(id));
        let serial = self.requests.open(request, Goal::Told, &targets);
        let tell = |service| Action::Reload { service };
        self.actions.extend(told.into_iter().map(tell));
        self.step_all(others, &Input::Anew);
        for id in targets {
            self.judge(id);
        }
        let closed = self.requests.close_if_met(serial);
        self.done(closed);
    }

    /// A service was told to read its files again, or can't be told.
    pub(crate) fn reloaded(&mut self, id: ServiceId, outcome: Result<(), String>) {
        let name = self.name(id).to_owned();
        for (serial, goal) in self.requests.watching(id) {
            match (goal, &outcome) {
                (Goal::Told, Ok(())) => {
                    let closed = self.requests.met(serial, id);
                    self.done(closed);
                }
                (Goal::Told, Err(reason)) => {
                    if let Some(number) = self.requests.close(serial) {
                        let message = format!("cannot reload `{name}`: {reason}");
                        self.refuse(number, ErrorKind::Failed, message);
                    }
                }
                (Goal::Up | Goal::Down, _) => {}
            }
        }
    }

    /// The services of these names, sorted; none where there are none. The name
    /// of a service with instances means each of them.
    ///
    /// # Errors
    /// There is no such service: one line for people.
    pub fn named(&self, names: &[ServiceName]) -> Result<Vec<ServiceId>, String> {
        if names.is_empty() {
            Ok(Vec::new())
        } else {
            self.targets(names)
        }
    }

    /// The service of exactly this name.
    #[must_use]
    pub fn id(&self, name: &ServiceName) -> Option<ServiceId> {
        self.ids.get(name).copied()
    }

    /// As [`named`](Self::named); all of them, but for init's own, where there
    /// are no names.
    fn targets(&self, names: &[ServiceName]) -> Result<Vec<ServiceId>, String> {
        if names.is_empty() {
            let services = self.ids.iter();
            let services = services.filter(|(name, _)| name.as_str() != LISTENER);
            let mut all: Vec<ServiceId> = services.map(|(_, id)| *id).collect();
            all.sort_unstable();
            return Ok(all);
        }
        let mut targets = Vec::with_capacity(names.len());
        for name in names {
            let before = targets.len();
            targets.extend(self.ids.get(name));
            if name.number().is_none() {
                let instances = self.ids.iter();
                let instances = instances.filter(|(known, _)| {
                    known.number().is_some() && known.service() == name.as_str()
                });
                targets.extend(instances.map(|(_, id)| *id));
            }
            if targets.len() == before {
                let known = self.ids.keys().map(ServiceName::as_str);
                let near = suggest::closest(name.as_str(), known);
                let hint = near.map(|near| format!(": did you mean `{near}`?"));
                return Err(format!(
                    "no service is named `{name}`{}",
                    hint.unwrap_or_default()
                ));
            }
        }
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    }

    /// Answers whoever waits for a service that has come to where they want
    /// it, or never will.
    pub(crate) fn judge(&mut self, id: ServiceId) {
        if self.requests.is_empty() {
            return;
        }
        for (serial, goal) in self.requests.watching(id) {
            let Some(instance) = self.services.get(id.index()) else {
                return;
            };
            let standing = match goal {
                Goal::Up => self.standing_up(instance),
                Goal::Told => self.standing_told(instance),
                Goal::Down => self.standing_down(instance),
            };
            match standing {
                Standing::Open => {}
                Standing::Met => {
                    let closed = self.requests.met(serial, id);
                    self.done(closed);
                }
                Standing::Failed(message) => {
                    if let Some(number) = self.requests.close(serial) {
                        self.refuse(number, ErrorKind::Failed, message);
                    }
                }
            }
        }
    }

    fn standing_up(&self, instance: &Instance) -> Standing {
        let name = self.name(instance.id);
        match &instance.state {
            State::Exited { exit } if instance.done(*exit) => Standing::Met,
            State::Scheduled { .. } | State::Listening => match instance.last_exit {
                Some(exit) if !exit.success() => {
                    Standing::Failed(format!("`{name}` ended ({exit})"))
                }
                Some(_) | None => Standing::Met,
            },
            State::Exited { exit } => Standing::Failed(format!("`{name}` ended ({exit})")),
            State::Fatal { exit } => {
                let words = instance.message.as_deref().map(first_line);
                let words = words.map(|words| format!(": {words}"));
                let words = words.unwrap_or_default();
                Standing::Failed(format!("`{name}` was given up ({exit}){words}"))
            }
            State::Live(Live {
                stage: Stage::Ready { .. },
                ..
            }) if !instance.leaving() => Standing::Met,
            State::Stopped
            | State::Waiting
            | State::Spawning
            | State::Live(_)
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Unreaped { .. }
            | State::Clearing { .. }
            | State::Backoff { .. } => {
                if instance.wanted {
                    Standing::Open
                } else {
                    Standing::Failed(format!("`{name}` was stopped meanwhile"))
                }
            }
        }
    }

    /// One that can be told is met by its answer; here, only that it is gone.
    fn standing_told(&self, instance: &Instance) -> Standing {
        if !instance.policy.reloads {
            return self.standing_up(instance);
        }
        if instance.state.live().is_some() && !instance.leaving() {
            return Standing::Open;
        }
        let name = self.name(instance.id);
        Standing::Failed(format!("`{name}` ended before it was told"))
    }

    fn standing_down(&self, instance: &Instance) -> Standing {
        let begun = instance.state.live().is_none() && !matches!(instance.state, State::Spawning);
        if !instance.state.occupied() {
            Standing::Met
        } else if instance.leaving() || begun {
            Standing::Open
        } else {
            let name = self.name(instance.id);
            Standing::Failed(format!("`{name}` was started again before it stopped"))
        }
    }

    /// A service has ended for good: whoever waits for one that waits for it
    /// would wait for ever.
    pub(crate) fn disappoint(&mut self, ended: ServiceId) {
        if self.requests.is_empty() {
            return;
        }
        let culprit = self.name(ended).to_owned();
        let mut seen = vec![false; self.services.len()];
        let mut next = vec![ended];
        while let Some(id) = next.pop() {
            for edge in self.graph.needed_by(id).to_vec() {
                let waits = self
                    .services
                    .get(edge.other.index())
                    .is_some_and(|dependant| {
                        matches!(dependant.state, State::Waiting) && !self.meets(id, edge.condition)
                    });
                let Some(seen) = seen
                    .get_mut(edge.other.index())
                    .filter(|seen| !**seen && waits)
                else {
                    continue;
                };
                *seen = true;
                next.push(edge.other);
                let name = self.name(edge.other).to_owned();
                for (serial, goal) in self.requests.watching(edge.other) {
                    let closed = if goal != Goal::Down {
                        self.requests.close(serial)
                    } else {
                        None
                    };
                    if let Some(number) = closed {
                        let message = format!("`{name}` waits for `{culprit}`, which has ended");
                        self.refuse(number, ErrorKind::Failed, message);
                    }
                }
            }
        }
    }

    fn done(&mut self, request: Option<u64>) {
        let reply = |request| Action::Reply {
            request,
            result: Ok(()),
        };
        self.actions.extend(request.map(reply));
    }
}
