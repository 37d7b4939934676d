//! What the supervisor tells of itself.

use holdall_protocol::ServiceName;
use holdall_protocol::control::{Counts, HealthKind, ServiceStatus, State as Reported, Status};

use crate::instance::Instance;
use crate::state::{State, word};
use crate::supervisor::{Phase, Supervisor};
use crate::wellness::first_line;
use crate::{ServiceId, Timestamp};

impl Supervisor {
    /// The state of everything, services in start order.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let instances = self
            .graph
            .order()
            .iter()
            .filter_map(|id| self.services.get(id.index()));
        Status {
            ready: self.ready(),
            has_been_ready: self.has_been_ready,
            stopping: matches!(self.phase, Phase::Stopping(_) | Phase::Over),
            services: instances
                .filter_map(|instance| self.describe(now, instance))
                .collect(),
            more: None,
        }
    }

    fn describe(&self, now: Timestamp, instance: &Instance) -> Option<ServiceStatus> {
        if instance.retired && !instance.state.occupied() {
            return None;
        }
        let next_start = instance.state.starts_at().map(|at| at.since(now));
        Some(ServiceStatus {
            name: self.service(instance.id)?.name.clone(),
            state: instance.state.reported(),
            health: instance.state.health(),
            pid: instance.state.main().map(|main| main.pid),
            since: now.since(instance.entered),
            restarts: instance.restarted(),
            last_exit: instance.last_exit,
            out_of_memory: instance.out_of_memory,
            next_start,
            message: instance.message.clone(),
            status: says(instance),
            waits_for: self.waits_for(instance),
            // The shell knows.
            log_dropped: 0,
            counts: Counts {
                oom_kills: instance.oom_kills,
                ..Counts::default()
            },
        })
    }

    /// What keeps a service from being started.
    fn waits_for(&self, instance: &Instance) -> Vec<ServiceName> {
        if !matches!(instance.state, State::Waiting) {
            return Vec::new();
        }
        let needs = self.graph.needs(instance.id).iter();
        let unmet = needs.filter(|edge| !self.meets(edge.other, edge.condition));
        let names = unmet.filter_map(|edge| self.service(edge.other));
        names.map(|service| service.name.clone()).collect()
    }

    /// Whether the box is healthy in the sense of `kind`; if not, why.
    ///
    /// # Errors
    /// One line for people.
    pub fn health(&self, kind: HealthKind) -> Result<(), String> {
        match kind {
            HealthKind::Started if self.has_been_ready => Ok(()),
            HealthKind::Started | HealthKind::Ready => self.readiness(),
            HealthKind::Live => self.liveness(),
            HealthKind::Auto if self.has_been_ready => self.liveness(),
            HealthKind::Auto => self.readiness(),
        }
    }

    fn readiness(&self) -> Result<(), String> {
        match self.phase {
            Phase::New => return Err("the box is not booted yet".to_owned()),
            Phase::Stopping(_) | Phase::Over => return Err("the box is stopping".to_owned()),
            Phase::Running { .. } if self.ready() => return Ok(()),
            Phase::Running { .. } => {}
        }
        let held = self
            .graph
            .order()
            .iter()
            .filter_map(|id| self.services.get(id.index()));
        let mut held = held.filter(|instance| self.holds_up(instance.id));
        let Some(first) = held.next() else {
            return Ok(());
        };
        let more = match held.count() {
            0 => String::new(),
            1 => ", and 1 other is not ready".to_owned(),
            more => format!(", and {more} others are not ready"),
        };
        Err(format!("{}{more}", self.holding_up(first)))
    }

    /// A restarting service is alive; so is a given-up one that is not
    /// essential. Else init and the engine would fight. One that hangs and
    /// that init was told to leave alone is for the engine.
    fn liveness(&self) -> Result<(), String> {
        for instance in &self.services {
            if !instance.policy.essential || instance.retired {
                continue;
            }
            match instance.state.reported() {
                Reported::Fatal => {
                    return Err(format!("`{}` was given up", self.name(instance.id)));
                }
                Reported::Unhealthy if !instance.ends() => return Err(self.holding_up(instance)),
                Reported::Unhealthy
                | Reported::Waiting
                | Reported::Starting
                | Reported::Ready
                | Reported::Stopping
                | Reported::Backoff
                | Reported::Scheduled
                | Reported::Listening
                | Reported::Exited
                | Reported::Stopped => {}
            }
        }
        Ok(())
    }

    /// Which service, in what state, and why.
    fn holding_up(&self, instance: &Instance) -> String {
        let words = instance
            .message
            .as_ref()
            .map(|words| format!(" ({})", first_line(words)))
            .unwrap_or_default();
        let state = word(instance.state.reported());
        format!("`{}` is {state}{words}", self.name(instance.id))
    }

    /// A service's name.
    pub(crate) fn name(&self, id: ServiceId) -> &str {
        self.service(id)
            .map_or("?", |service| service.name.as_str())
    }
}

/// What a service that runs says of itself.
fn says(instance: &Instance) -> Option<String> {
    let reloads = instance.state.live().is_some_and(|live| live.reloading);
    let words = instance.words.as_deref();
    match (reloads, words) {
        _ if instance.state.main().is_none() => None,
        (false, words) => words.map(str::to_owned),
        (true, None) => Some("reloading".to_owned()),
        (true, Some(words)) => Some(format!("reloading: {words}")),
    }
}
