//! A new manifest in place of the old one: only what changed is touched.

use std::sync::Arc;

use holdall_protocol::manifest::{Kind, Service, Start};
use holdall_protocol::{Manifest, ServiceName};

use crate::change::{Change, between};
use crate::graph::Graph;
use crate::instance::{Input, Instance};
use crate::relation::{Outward, Relation, Tally};
use crate::state::State;
use crate::supervisor::{Phase, Supervisor};
use crate::{Action, Note, ServiceId, Timestamp};

/// The box is stopping: it takes no new manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot take a new manifest: the box is stopping")]
pub struct IsStopping;

impl Supervisor {
    /// What [`reconfigure`](Self::reconfigure) would change, in the order of
    /// the new manifest, what is gone last.
    #[must_use]
    pub fn changes(&self, manifest: &Manifest) -> Vec<Change> {
        let mut changes = Vec::new();
        for service in &manifest.services {
            let name = service.name.clone();
            match self.ids.get(&name).and_then(|id| self.service(*id)) {
                Some(old) => changes.extend(between(old, service)),
                None => changes.push(Change::Added { service: name }),
            }
        }
        let kept = |name: &ServiceName| manifest.services.iter().any(|new| new.name == *name);
        let gone = self.ids.keys().filter(|name| !kept(name));
        changes.extend(gone.map(|name| Change::Removed {
            service: name.clone(),
        }));
        changes
    }

    /// Puts a manifest (expanded, of a profile) in place of the one that holds.
    /// A service keeps its number as long as it has its name, also when it is
    /// gone and comes back; a new one gets the next.
    ///
    /// # Errors
    /// The box is stopping, and nothing is changed.
    pub fn reconfigure(&mut self, now: Timestamp, manifest: &Manifest) -> Result<(), IsStopping> {
        match self.phase {
            Phase::New | Phase::Running { .. } => {}
            Phase::Stopping(_) | Phase::Over => return Err(IsStopping),
        }
        self.now = self.now.max(now);
        let changes = self.changes(manifest);
        self.stop_timeout = manifest.init.stop_timeout;
        self.keep_running = manifest.init.keep_running;
        let mut steps = Vec::new();
        for service in &manifest.services {
            steps.extend(self.take(service));
        }
        for id in self.gone(manifest) {
            self.ids.retain(|_, known| *known != id);
            if let Some(instance) = self.services.get_mut(id.index()) {
                instance.retired = true;
            }
            steps.push((id, Input::Down));
        }
        self.relate();
        self.actions
            .push_back(Action::Note(Note::Reconfigured { changes }));
        if let Phase::Running { .. } = self.phase {
            for (id, input) in steps {
                self.step(id, input);
            }
        }
        self.settle();
        Ok(())
    }

    /// Services that a manifest no longer has, dependants first.
    fn gone(&self, manifest: &Manifest) -> Vec<ServiceId> {
        let kept = |id: &ServiceId| {
            let name = self.service(*id).map(|service| &service.name);
            manifest.services.iter().any(|new| Some(&new.name) == name)
        };
        let known = |id: &ServiceId| self.ids.values().any(|active| active == id);
        let order = self.graph.order().iter().rev().copied();
        order.filter(|id| known(id) && !kept(id)).collect()
    }

    /// Takes over what a manifest says of one service; what is to happen to it.
    fn take(&mut self, service: &Arc<Service>) -> Option<(ServiceId, Input)> {
        let slot = self
            .definitions
            .iter()
            .position(|old| old.name == service.name);
        let slot = slot.and_then(|at| u32::try_from(at).ok()).map(ServiceId);
        let boots = service.start != Start::Manual;
        let Some(id) = slot else {
            let id = ServiceId(u32::try_from(self.services.len()).ok()?);
            let instance = Instance::new(id, service, self.options.seed);
            self.services.push(instance);
            self.definitions.push(Arc::clone(service));
            self.ids.insert(service.name.clone(), id);
            self.timers.grow(self.services.len());
            return boots.then_some((id, Input::Up));
        };
        let old = self.definitions.get_mut(id.index())?;
        let old = std::mem::replace(old, Arc::clone(service));
        let instance = self.services.get_mut(id.index())?;
        instance.adopt(service);
        self.ids.insert(service.name.clone(), id);
        if std::mem::take(&mut instance.retired) {
            // What is still going, or how it ended, is that of the old one.
            let waits = service.kind == Kind::Job || instance.on_demand();
            let input = if waits && !instance.state.occupied() {
                Input::Up
            } else {
                Input::Anew
            };
            return boots.then_some((id, input));
        }
        let change = between(&old, service)?;
        // A run that is under way goes on to its end; what is changed holds
        // from the next.
        if (old.kind, service.kind) == (Kind::Job, Kind::Job) {
            let before = self.calendar;
            return Some((id, Input::Clock { before }));
        }
        if matches!(instance.state, State::Listening) {
            // It has no process: there is nothing to start again.
            let input = match service.start {
                Start::Boot | Start::OnDemand => Input::Up,
                Start::Manual => Input::Down,
            };
            return Some((id, input));
        }
        let again = matches!(change, Change::Restarted { .. }) && instance.wanted;
        again.then_some((id, Input::Anew))
    }

    /// Works out anew who stands how to whom.
    pub(crate) fn relate(&mut self) {
        self.graph = Graph::new(&self.definitions);
        let outward: Vec<Outward> = self.services.iter().map(Outward::of).collect();
        let of = |id: ServiceId| outward.get(id.index()).copied().unwrap_or_default();
        let relation = |instance: &Instance| {
            let id = instance.id;
            let needs = self.graph.needs(id).iter();
            let unmet = needs.filter(|edge| !of(edge.other).meets(edge.condition));
            let needed_by = self.graph.needed_by(id).iter();
            let before = needed_by.filter(|edge| of(edge.other).leaving);
            Relation {
                outward: of(id),
                unmet: unmet.count(),
                before: before.count(),
                level: self.graph.level(id),
            }
        };
        self.relations = self.services.iter().map(relation).collect();
        self.levels.clear();
        for relation in self.relations.iter().filter(|r| r.outward.occupied) {
            *self.levels.entry(relation.level).or_default() += 1;
        }
        let count = |so: fn(&Outward) -> bool| outward.iter().filter(|o| so(o)).count();
        self.tally = Tally {
            occupied: count(|outward| outward.occupied),
            holds_up: count(|outward| outward.holds_up),
            idle: count(|outward| outward.idle),
        };
        self.stirred
            .extend(self.services.iter().map(|instance| instance.id));
    }
}
