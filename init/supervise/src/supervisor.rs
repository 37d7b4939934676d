//! The whole box: events to services, and what follows for the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use holdall_protocol::manifest::{Kind, Service};
use holdall_protocol::{Manifest, Millis, ServiceName};

use crate::command::Requests;
use crate::foreground::{self, Foreground};
use crate::graph::Graph;
use crate::instance::{Input, Instance, Turn};
use crate::job::Calendar;
use crate::relation::{Outward, Relation, Tally, count};
use crate::shutdown::Shutdown;
use crate::state::{Ended, State};
use crate::timers::Timers;
use crate::{Action, Event, Note, Options, ServiceId, Timestamp};

/// The state machine of the whole box.
///
/// Feed it with [`handle`](Self::handle) and
/// [`handle_timeout`](Self::handle_timeout); after each, drain
/// [`poll_action`](Self::poll_action) and arm one timer at
/// [`poll_timeout`](Self::poll_timeout).
///
/// **How a box ends.** By [`Event::Shutdown`], with 0 (or with the code of the
/// foreground command, where one ran); when the foreground command ends, with
/// its code; when an essential service is given up, with its exit code, or 1
/// where that was 0; when an essential daemon ended for good as its `restart`
/// allows, with its exit code; and when every service has ended for good and
/// there is no foreground command (unless `keep_running`), with 0 if all ended well, else
/// with the first bad code in start order. In each case by an ordered stop, which ends
/// within `stop_timeout`. A box with neither services nor a foreground command
/// is ready, and waits for the shutdown; so does one whose services a client
/// has stopped.
#[derive(Debug, Clone)]
pub struct Supervisor {
    pub(crate) now: Timestamp,
    pub(crate) calendar: Calendar,
    pub(crate) options: Options,
    pub(crate) stop_timeout: Millis,
    /// It goes on when every service has ended.
    pub(crate) keep_running: bool,
    pub(crate) phase: Phase,
    pub(crate) graph: Graph,
    pub(crate) services: Vec<Instance>,
    /// By number, also those that are gone.
    pub(crate) definitions: Vec<Arc<Service>>,
    /// Those that are there.
    pub(crate) ids: BTreeMap<ServiceName, ServiceId>,
    pub(crate) relations: Vec<Relation>,
    pub(crate) timers: Timers,
    pub(crate) actions: VecDeque<Action>,
    /// Services that may have something to begin: to start, or to stop.
    pub(crate) stirred: VecDeque<ServiceId>,
    pub(crate) requests: Requests,
    pub(crate) foreground: Foreground,
    pub(crate) tally: Tally,
    /// How many services of each `order` have a process, where any has.
    pub(crate) levels: BTreeMap<i32, usize>,
    was_ready: bool,
    pub(crate) has_been_ready: bool,
}

/// Where the box is in its life.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Not booted.
    New,
    Running {
        booted: Timestamp,
    },
    Stopping(Shutdown),
    /// `Exit` was said.
    Over,
}

impl Supervisor {
    /// A box that is not booted yet. Of the manifest it takes every service:
    /// choose a profile before.
    #[must_use]
    pub fn new(manifest: &Manifest, options: Options) -> Self {
        let numbered = (0_u32..).map(ServiceId).zip(&manifest.services);
        let services: Vec<Instance> = numbered
            .clone()
            .map(|(id, service)| Instance::new(id, service, options.seed))
            .collect();
        let ids = numbered
            .map(|(id, service)| (service.name.clone(), id))
            .collect();
        let mut supervisor = Self {
            now: Timestamp::default(),
            calendar: Calendar::default(),
            options,
            stop_timeout: manifest.init.stop_timeout,
            keep_running: manifest.init.keep_running,
            phase: Phase::New,
            timers: Timers::new(services.len()),
            graph: Graph::default(),
            services,
            definitions: manifest.services.clone(),
            ids,
            relations: Vec::new(),
            actions: VecDeque::new(),
            stirred: VecDeque::new(),
            requests: Requests::default(),
            foreground: if options.foreground {
                Foreground::Held
            } else {
                Foreground::Gone
            },
            tally: Tally::default(),
            levels: BTreeMap::new(),
            was_ready: false,
            has_been_ready: false,
        };
        supervisor.relate();
        supervisor.stirred.clear();
        supervisor
    }

    /// What the manifest says of a service; of one that is gone, what it said
    /// last.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.definitions.get(id.index()).map(Arc::as_ref)
    }

    /// Every service that there is or was: their numbers are below this.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.definitions.len()
    }

    /// Takes in one event.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        self.now = self.now.max(now);
        match event {
            Event::Boot => self.boot(),
            Event::Spawned { service, pid } => self.step(service, Input::Spawned { pid }),
            Event::SpawnFailed {
                service,
                reason,
                code,
            } => {
                self.step(service, Input::SpawnFailed { reason, code });
            }
            Event::Exited {
                service,
                exit,
                oom_kills,
            } => self.step(service, Input::Exited { exit, oom_kills }),
            Event::Cleared { service } => self.step(service, Input::Cleared),
            Event::Probed { service, outcome } => self.step(service, Input::Probed { outcome }),
            Event::Notified { service, notice } => self.heard(service, notice),
            Event::StopCommandEnded { service, outcome } => {
                self.step(service, Input::StopCommand { outcome });
            }
            Event::ReloadEnded { service, outcome } => self.reloaded(service, outcome),
            Event::Demanded { service } => self.demanded(service),
            Event::Clock { wall } => self.clock(wall),
            Event::ForegroundSpawned { pid: _ } => {
                self.step_foreground(foreground::Input::Spawned);
            }
            Event::ForegroundFailed { reason, code } => {
                self.step_foreground(foreground::Input::Failed { reason, code });
            }
            Event::ForegroundExited { exit } => {
                self.step_foreground(foreground::Input::Exited { exit });
            }
            Event::ForegroundCleared => self.step_foreground(foreground::Input::Cleared),
            Event::Shutdown => self.shutdown(),
            Event::Command {
                request,
                command,
                services,
            } => {
                self.command(request, command, &services);
            }
            Event::Abandoned { request } => self.requests.abandon(request),
        }
        self.settle();
    }

    /// Lets every timer fire that is due at `now`.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        for id in self.timers.due(self.now) {
            self.step(id, Input::Timer);
        }
        self.deadlines();
        self.settle();
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let deadline = match &self.phase {
            Phase::New | Phase::Running { .. } => None,
            Phase::Stopping(shutdown) => Some(shutdown.timer()),
            Phase::Over => return None,
        };
        self.timers.next().into_iter().chain(deadline).min()
    }

    /// Lets something happen to one service.
    pub(crate) fn step(&mut self, id: ServiceId, input: Input) {
        if let Phase::Over = self.phase {
            return;
        }
        let Some(instance) = self.services.get_mut(id.index()) else {
            return;
        };
        let mut turn = Turn {
            now: self.now,
            calendar: self.calendar,
            actions: &mut self.actions,
        };
        instance.step(&mut turn, input);
        self.timers.set(id, instance.state.timer());
        let outward = Outward::of(instance);
        let ended = instance.state.ended().filter(|ended| match ended {
            Ended::Itself(_) => instance.policy.kind == Kind::Daemon,
            Ended::GivenUp(_) => true,
        });
        let ended = ended.map(Ended::code);
        let ends_box = ended.filter(|_| instance.policy.essential && !instance.retired);
        self.publish(id, outward);
        self.stirred.push_back(id);
        self.judge(id);
        if ended.is_some() {
            self.disappoint(id);
        }
        if let Some(code) = ends_box {
            self.end(code);
        }
    }

    /// Tells the others how a service looks now.
    fn publish(&mut self, id: ServiceId, new: Outward) {
        let Some(relation) = self.relations.get_mut(id.index()) else {
            return;
        };
        let old = std::mem::replace(&mut relation.outward, new);
        if old == new {
            return;
        }
        let level = relation.level;
        count(&mut self.tally.occupied, old.occupied, new.occupied);
        count(&mut self.tally.holds_up, old.holds_up, new.holds_up);
        count(&mut self.tally.idle, old.idle, new.idle);
        self.count_level(level, old.occupied, new.occupied);
        let seen = |outward: Outward| (outward.started, outward.ready, outward.done);
        if seen(old) != seen(new) {
            for edge in self.graph.needed_by(id) {
                let Some(dependant) = self.relations.get_mut(edge.other.index()) else {
                    continue;
                };
                let (was, is) = (old.meets(edge.condition), new.meets(edge.condition));
                count(&mut dependant.unmet, !was, !is);
                if is && dependant.unmet == 0 {
                    self.stirred.push_back(edge.other);
                }
            }
        }
        if old.leaving != new.leaving {
            for edge in self.graph.needs(id) {
                let Some(dependency) = self.relations.get_mut(edge.other.index()) else {
                    continue;
                };
                count(&mut dependency.before, old.leaving, new.leaving);
                if dependency.before == 0 {
                    self.stirred.push_back(edge.other);
                }
            }
        }
    }

    /// Begins everything that can begin now, until nothing more can.
    pub(crate) fn settle(&mut self) {
        while let Some(id) = self.stirred.pop_front() {
            let Some(relation) = self.relations.get(id.index()).copied() else {
                continue;
            };
            let Some(instance) = self.services.get(id.index()) else {
                continue;
            };
            let timeout = instance.policy.stop_timeout;
            let waiting = matches!(instance.state, State::Waiting);
            let running = matches!(self.phase, Phase::New | Phase::Running { .. });
            if waiting && relation.unmet == 0 && running {
                self.step(id, Input::Go);
            } else if instance.leaving() && instance.state.live().is_some() {
                match &self.phase {
                    Phase::Stopping(shutdown) if shutdown.kill_at.is_none() => {
                        self.step(id, Input::Kill);
                    }
                    Phase::Stopping(shutdown)
                        if relation.before == 0 && self.is_foremost(relation.level) =>
                    {
                        let timeout = shutdown.share(self.now, id, timeout);
                        self.step(id, Input::Halt { timeout });
                    }
                    Phase::New | Phase::Running { .. } if relation.before == 0 => {
                        self.step(id, Input::Halt { timeout });
                    }
                    Phase::New | Phase::Running { .. } | Phase::Stopping(_) | Phase::Over => {}
                }
            }
        }
        self.review();
    }

    /// What follows for the box as a whole.
    fn review(&mut self) {
        match &self.phase {
            Phase::New | Phase::Over => {}
            Phase::Running { booted } => {
                let ready = self.tally.holds_up == 0;
                let after = self.now.since(*booted);
                let became = ready && !self.was_ready;
                self.was_ready = ready;
                if became {
                    self.has_been_ready = true;
                    self.actions
                        .push_back(Action::Note(Note::BoxReady { after }));
                    self.step_foreground(foreground::Input::Go);
                }
                let all_idle = self.tally.idle == self.services.len() && self.has_services();
                if all_idle && !self.keep_running && !self.foreground.occupied() {
                    self.end(self.verdict());
                    self.settle();
                }
            }
            Phase::Stopping(shutdown) => {
                if self.tally.occupied == 0 && !self.foreground.occupied() {
                    let code = shutdown.code;
                    self.exit(code);
                }
            }
        }
    }
}
