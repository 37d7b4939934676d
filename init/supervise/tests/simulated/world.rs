//! A world without processes: children that behave as a test says, a clock
//! that jumps from event to event, and a watch over what must never happen.

use std::collections::{BTreeMap, BTreeSet};

use holdall_protocol::control::{Exit, State};
use holdall_protocol::manifest::{Condition, Kind, Service, Start};
use holdall_protocol::{Manifest, Millis, ServiceName, Signal};
use holdall_supervise::{
    Action, Change, Changed, Command, Event, Note, Notice, Options, Refusal, ServiceId, Supervisor,
    Timestamp,
};

/// How one program behaves, in each of its lives.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Time from `Spawn` to its answer.
    pub(crate) spawn_takes: u64,
    /// It can't be executed: this code.
    pub(crate) spawn_fails: Option<u8>,
    /// It ends by itself: after so long, so.
    pub(crate) ends: Option<(u64, Exit)>,
    /// So long after a signal it ends with 0; none: it ignores signals.
    pub(crate) obeys: Option<u64>,
    /// Time from `KillAll` to the end; none: it hangs in the kernel for ever.
    pub(crate) dies: Option<u64>,
    /// `Cleared` comes before `Exited`.
    pub(crate) cleared_first: bool,
    /// Its probes are good from so long after its birth, until that.
    pub(crate) healthy: (u64, u64),
    /// A probe takes so long.
    pub(crate) probe_takes: u64,
    /// Its stop command, and what its reload does, fail.
    pub(crate) commands_fail: bool,
    /// What it says of itself: each after so long.
    pub(crate) says: Vec<(u64, Notice)>,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            spawn_takes: 1,
            spawn_fails: None,
            ends: None,
            obeys: Some(5),
            dies: Some(2),
            cleared_first: false,
            healthy: (0, u64::MAX),
            probe_takes: 2,
            commands_fail: false,
            says: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Born,
    StillBorn,
    Dies(OrderedExit),
    Cleared,
    Probed(bool),
    StopCommandEnded,
    Reloaded,
    /// The message of this number.
    Says(usize),
}

/// [`Exit`] with an order, for the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct OrderedExit(u8, u8);

impl From<Exit> for OrderedExit {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self(code, 0),
            Exit::Signal(signal) => Self(0, signal.number()),
        }
    }
}

impl From<OrderedExit> for Exit {
    fn from(exit: OrderedExit) -> Self {
        Signal::from_number(exit.1).map_or(Self::Code(exit.0), Self::Signal)
    }
}

/// What the world knows of one service (the last entry is the foreground
/// command).
#[derive(Debug, Clone, Default)]
struct Child {
    /// `Spawn` is not answered.
    asked: bool,
    alive: bool,
    born: u64,
    /// Processes may be left.
    dirty: bool,
    clearing: bool,
    /// Init waits for somebody to connect.
    awaited: bool,
    probing: bool,
    /// In this life its stop command was run: it is told to end.
    told: bool,
    life: u64,
    probe: u64,
}

/// The simulation.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) supervisor: Supervisor,
    pub(crate) now: u64,
    /// Every action so far, with its time.
    pub(crate) said: Vec<(u64, Action)>,
    pub(crate) exit: Option<(u64, u8)>,
    pub(crate) replies: BTreeMap<u64, Vec<Result<(), Refusal>>>,
    services: Vec<Service>,
    programs: Vec<Program>,
    children: Vec<Child>,
    /// (time, order, child, life or probe it belongs to, what).
    queue: BTreeSet<(u64, u64, usize, u64, What)>,
    order: u64,
    stopping_since: Option<u64>,
    asked: bool,
    hurried: bool,
    left_behind: BTreeSet<usize>,
    pub(crate) bound: u64,
    /// How often the supervisor was told something.
    pub(crate) told: u64,
    /// The state of each service, as was told.
    reported: BTreeMap<ServiceId, State>,
}

/// Services of a world in which every turn is compared with what was told.
const FEW: usize = 16;

/// The foreground command among the children.
pub(crate) const FOREGROUND: &str = "foreground";

impl World {
    /// A world in which each service runs its program, and the foreground
    /// command, if there is one, the last.
    pub(crate) fn new(manifest: &Manifest, programs: Vec<Program>, options: Options) -> Self {
        let count = manifest.services.len() + 1;
        assert_eq!(
            programs.len(),
            count,
            "one program each, and one for the foreground"
        );
        Self {
            supervisor: Supervisor::new(manifest, options),
            now: 0,
            said: Vec::new(),
            exit: None,
            replies: BTreeMap::new(),
            services: manifest
                .services
                .iter()
                .map(|service| (**service).clone())
                .collect(),
            programs,
            children: vec![Child::default(); count],
            queue: BTreeSet::new(),
            order: 0,
            stopping_since: None,
            asked: false,
            hurried: false,
            left_behind: BTreeSet::new(),
            bound: manifest.init.stop_timeout.0.max(500),
            told: 0,
            reported: BTreeMap::new(),
        }
    }

    /// Tells the supervisor something now.
    pub(crate) fn tell(&mut self, event: Event) {
        if event == Event::Shutdown {
            self.hurried |= std::mem::replace(&mut self.asked, true);
        }
        self.told += 1;
        self.supervisor.handle(Timestamp(self.now), event);
        self.obey();
    }

    pub(crate) fn command(&mut self, request: u64, command: Command, names: &[&str]) {
        let services = names
            .iter()
            .map(|name| name.parse().expect("a name"))
            .collect();
        self.replies.entry(request).or_default();
        self.tell(Event::Command {
            request,
            command,
            services,
        });
    }

    /// Puts another manifest in place. What it does not change is not touched.
    pub(crate) fn reconfigure(&mut self, manifest: &Manifest) -> Vec<Change> {
        let changes = self.supervisor.changes(manifest);
        let done = self.supervisor.reconfigure(Timestamp(self.now), manifest);
        if done.is_err() {
            assert!(self.stopping_since.is_some(), "only a stop is an excuse");
            return Vec::new();
        }
        self.bound = manifest.init.stop_timeout.0.max(500);
        self.make_room();
        let before = self.said.len();
        self.obey();
        let touched = |service: &ServiceName| {
            changes.iter().any(|change| match change {
                Change::Restarted { service: other, .. }
                | Change::Removed { service: other }
                | Change::Added { service: other } => service == other,
                Change::Adjusted { .. } => false,
            })
        };
        for (_, action) in &self.said[before..] {
            if let Action::Signal { service, .. }
            | Action::StopCommand { service }
            | Action::KillAll { service } = action
            {
                let name = &self.services[service.index()].name;
                // What was leaving already may be told now, in its turn.
                let leaving = self.state_of(name) == Some(State::Stopping);
                assert!(
                    touched(name) || leaving,
                    "{name} is touched and not changed"
                );
            }
        }
        changes
    }

    fn state_of(&self, name: &ServiceName) -> Option<State> {
        let status = self.supervisor.status(Timestamp(self.now));
        let found = status.services.into_iter().find(|s| s.name == *name);
        found.map(|service| service.state)
    }

    /// The services as the supervisor numbers them; the foreground command
    /// stays the last.
    fn make_room(&mut self) {
        let slots = (0_u32..).map(ServiceId).take(self.supervisor.slots());
        let services: Vec<Service> = slots
            .map(|id| self.supervisor.service(id).expect("a slot").clone())
            .collect();
        let (old, new) = (self.services.len(), services.len());
        self.services = services;
        for _ in old..new {
            self.children.insert(old, Child::default());
            self.programs.insert(old, Program::default());
        }
        let moved = std::mem::take(&mut self.queue).into_iter();
        let place = |at| if at == old { new } else { at };
        self.queue = moved
            .map(|(time, order, at, life, what)| (time, order, place(at), life, what))
            .collect();
        let left = std::mem::take(&mut self.left_behind);
        self.left_behind = left.into_iter().map(place).collect();
    }

    /// Lets time pass, until nothing is left to happen or `until`.
    pub(crate) fn run_until(&mut self, until: u64) {
        let mut stuck = 0;
        loop {
            let happening = self.queue.first().map(|entry| entry.0);
            let timeout = self.supervisor.poll_timeout().map(|at| at.0);
            let Some(next) = happening
                .into_iter()
                .chain(timeout)
                .min()
                .filter(|at| *at <= until)
            else {
                break;
            };
            stuck = if next > self.now { 0 } else { stuck + 1 };
            assert!(stuck < 10_000, "time stands still at {next}");
            self.now = self.now.max(next);
            if happening == Some(next) {
                let (_, _, child, life, what) = self.queue.pop_first().expect("it was there");
                self.happen(child, life, what);
            } else {
                self.told += 1;
                self.supervisor.handle_timeout(Timestamp(self.now));
                self.obey();
            }
        }
        self.now = self.now.max(until);
    }

    pub(crate) fn run_for(&mut self, span: u64) {
        self.run_until(self.now + span);
    }

    /// The process ends by something outside.
    pub(crate) fn kill(&mut self, name: &str, signal: Signal) {
        let child = self.child(name);
        assert!(self.children[child].alive, "{name} is not alive");
        self.later(
            0,
            child,
            self.children[child].life,
            What::Dies(Exit::Signal(signal).into()),
        );
        self.run_for(0);
    }

    /// Whether init waits for somebody to connect to a service.
    pub(crate) fn awaited(&self, name: &str) -> bool {
        self.children[self.child(name)].awaited
    }

    /// Somebody connects to a service for which init waits for that.
    pub(crate) fn connect(&mut self, name: &str) {
        assert!(self.awaited(name), "nobody waits for connections to {name}");
        let service = self.id(name);
        self.tell(Event::Demanded { service });
    }

    pub(crate) fn program(&mut self, name: &str) -> &mut Program {
        let child = self.child(name);
        &mut self.programs[child]
    }

    fn child(&self, name: &str) -> usize {
        let found = self
            .services
            .iter()
            .position(|service| service.name.as_str() == name);
        found.unwrap_or_else(|| {
            assert_eq!(name, FOREGROUND);
            self.services.len()
        })
    }

    pub(crate) fn id(&self, name: &str) -> ServiceId {
        ServiceId(u32::try_from(self.child(name)).expect("few"))
    }

    pub(crate) fn alive(&self, name: &str) -> bool {
        self.children[self.child(name)].alive
    }

    pub(crate) fn state(&self, name: &str) -> State {
        self.status(name).state
    }

    pub(crate) fn status(&self, name: &str) -> holdall_protocol::control::ServiceStatus {
        let status = self.supervisor.status(Timestamp(self.now));
        let wanted: ServiceName = name.parse().expect("a name");
        status
            .services
            .into_iter()
            .find(|s| s.name == wanted)
            .expect("it is there")
    }

    /// The times of all actions that `pick` takes.
    pub(crate) fn times(&self, pick: impl Fn(&Action) -> bool) -> Vec<u64> {
        self.said
            .iter()
            .filter(|(_, action)| pick(action))
            .map(|(at, _)| *at)
            .collect()
    }

    pub(crate) fn spawns(&self, name: &str) -> Vec<u64> {
        let service = self.id(name);
        self.times(|action| *action == Action::Spawn { service })
    }

    /// The services in the order in which they were told to end or killed.
    pub(crate) fn stop_order(&self) -> Vec<&str> {
        let mut order = Vec::new();
        let from = self
            .said
            .iter()
            .position(|(_, a)| *a == Action::Note(Note::Stopping));
        for (_, action) in &self.said[from.unwrap_or(0)..] {
            if let Action::Signal { service, .. } | Action::StopCommand { service } = action {
                order.push(self.services[service.index()].name.as_str());
            }
        }
        order
    }

    fn later(&mut self, after: u64, child: usize, life: u64, what: What) {
        self.order += 1;
        self.queue
            .insert((self.now + after, self.order, child, life, what));
    }

    fn happen(&mut self, at: usize, life: u64, what: What) {
        let foreground = at == self.services.len();
        let service = ServiceId(u32::try_from(at).expect("few"));
        let child = &mut self.children[at];
        let program = self.programs[at].clone();
        let event = match what {
            What::Born => {
                (child.asked, child.alive, child.dirty) = (false, true, true);
                child.told = false;
                child.born = self.now;
                child.life += 1;
                let life = child.life;
                if let Some((after, exit)) = program.ends {
                    self.later(after, at, life, What::Dies(exit.into()));
                }
                for (number, (after, _)) in program.says.iter().enumerate() {
                    self.later(*after, at, life, What::Says(number));
                }
                let pid = u32::try_from(100 * at + 1).expect("few");
                match foreground {
                    true => Event::ForegroundSpawned { pid },
                    false => Event::Spawned { service, pid },
                }
            }
            What::StillBorn => {
                child.asked = false;
                let code = program.spawn_fails.expect("that is why");
                let reason = "cannot execute it: no such file".to_owned();
                match foreground {
                    true => Event::ForegroundFailed { reason, code },
                    false => Event::SpawnFailed {
                        service,
                        reason,
                        code,
                    },
                }
            }
            What::Dies(exit) => {
                if !child.alive || child.life != life {
                    return;
                }
                child.alive = false;
                match foreground {
                    true => Event::ForegroundExited { exit: exit.into() },
                    false => Event::Exited {
                        service,
                        exit: exit.into(),
                        oom_kills: 0,
                    },
                }
            }
            What::Cleared => {
                (child.clearing, child.dirty) = (false, false);
                match foreground {
                    true => Event::ForegroundCleared,
                    false => Event::Cleared { service },
                }
            }
            What::Probed(good) => {
                if !child.probing || child.probe != life {
                    return;
                }
                child.probing = false;
                let outcome = if good {
                    Ok(())
                } else {
                    Err("connection refused".to_owned())
                };
                Event::Probed { service, outcome }
            }
            What::StopCommandEnded => Event::StopCommandEnded {
                service,
                outcome: ok_unless(program.commands_fail),
            },
            What::Says(number) => {
                if !child.alive || child.life != life {
                    return;
                }
                let notice = program.says[number].1.clone();
                Event::Notified { service, notice }
            }
            What::Reloaded => Event::ReloadEnded {
                service,
                outcome: ok_unless(program.commands_fail),
            },
        };
        self.tell(event);
    }

    /// Performs every action, and looks whether it may be.
    fn obey(&mut self) {
        let mut count = 0;
        while let Some(action) = self.supervisor.poll_action() {
            // Each deed, and not the words about it, is one of a storm.
            count += usize::from(!matches!(action, Action::Tell(_)));
            assert!(self.exit.is_none(), "{action:?} after the exit");
            self.said.push((self.now, action.clone()));
            self.perform(action);
        }
        let limit = 8 * self.children.len() + self.replies.len() + 8;
        assert!(count <= limit, "a storm of {count} actions");
        if self.services.len() <= FEW {
            self.compare_told();
        }
    }

    /// Who follows what is told knows the states that a status would say.
    fn compare_told(&self) {
        for (service, state) in &self.reported {
            let name = self.supervisor.service(*service).map(|s| &s.name);
            let status = self.supervisor.status(Timestamp(self.now));
            let found = status.services.iter().find(|s| Some(&s.name) == name);
            if let Some(found) = found {
                assert_eq!(found.state, *state, "{} is told of wrongly", found.name);
            }
        }
    }

    /// Nothing is left out between two states that are told.
    fn follow(&mut self, changed: &Changed) {
        let Changed {
            service, from, to, ..
        } = changed;
        let before = self.reported.insert(*service, *to);
        assert_eq!(
            before.unwrap_or(State::Stopped),
            *from,
            "a gap before {to:?}"
        );
        assert_ne!(from, to);
    }

    fn perform(&mut self, action: Action) {
        let foreground = self.services.len();
        match action {
            Action::Spawn { service } => self.spawn(service.index()),
            Action::SpawnForeground => self.spawn(foreground),
            Action::Signal { service, .. } => {
                // After a command that failed it is the same stop, which may
                // have begun before that of the box.
                if !self.children[service.index()].told {
                    self.watch_order(service.index());
                }
                self.signal(service.index());
            }
            Action::StopCommand { service } => {
                let at = service.index();
                self.watch_order(at);
                self.children[at].told = true;
                if !self.programs[at].commands_fail {
                    self.signal(at);
                }
                self.later(1, at, 0, What::StopCommandEnded);
            }
            Action::Reload { service } => {
                let at = service.index();
                assert!(self.children[at].alive, "{at} is reloaded and not alive");
                self.later(1, at, 0, What::Reloaded);
            }
            Action::AwaitDemand { service } => {
                let child = &mut self.children[service.index()];
                assert!(!child.awaited, "awaited twice");
                assert!(!child.alive && !child.asked && !child.dirty, "it runs");
                child.awaited = true;
            }
            Action::ForgetDemand { service } => {
                let child = &mut self.children[service.index()];
                assert!(child.awaited, "nobody waits");
                child.awaited = false;
            }
            Action::SignalForeground { .. } => self.signal(foreground),
            Action::KillAll { service } => self.kill_all(service.index()),
            Action::KillForeground => self.kill_all(foreground),
            Action::Probe { service, .. } => self.probe(service.index()),
            Action::ReleaseStore { service } => {
                let child = &self.children[service.index()];
                assert!(!child.alive && !child.asked, "it may still need them");
            }
            Action::CancelProbe { service } => {
                let child = &mut self.children[service.index()];
                assert!(child.probing, "no probe is under way");
                child.probing = false;
            }
            Action::Reply { request, result } => {
                self.replies.entry(request).or_default().push(result);
            }
            Action::Note(Note::Stopping) => {
                assert_eq!(self.stopping_since.replace(self.now), None);
            }
            Action::Note(Note::LeftBehind { service }) => {
                self.left_behind
                    .insert(service.map_or(foreground, ServiceId::index));
            }
            Action::Tell(changed) => self.follow(&changed),
            Action::Note(_) => {}
            Action::Exit { code } => self.leave(code),
        }
    }

    fn spawn(&mut self, at: usize) {
        let child = &self.children[at];
        assert!(!child.asked && !child.alive, "two processes of {at}");
        assert!(
            !child.dirty && !child.clearing,
            "stragglers of {at} are left"
        );
        assert_eq!(
            self.stopping_since, None,
            "{at} is spawned into a stopping box"
        );
        for dependency in self
            .services
            .get(at)
            .into_iter()
            .flat_map(|s| &s.depends_on)
        {
            let on = self.status(dependency.service.as_str()).state;
            let needed = &self.services[self.child(dependency.service.as_str())];
            // Its socket takes connections before it runs.
            let on_call = needed.start == Start::OnDemand
                && matches!(on, State::Listening | State::Waiting | State::Starting);
            let kind = needed.kind;
            let met = on_call
                || match (dependency.condition, kind) {
                    (Condition::Started, _) => {
                        matches!(
                            on,
                            State::Starting
                                | State::Ready
                                | State::Unhealthy
                                | State::Exited
                                | State::Scheduled
                        )
                    }
                    (Condition::Ready, Kind::Daemon) => on == State::Ready,
                    (Condition::Ready, Kind::Job) => !matches!(on, State::Stopped | State::Fatal),
                    (Condition::Done, Kind::Job) => on == State::Scheduled,
                    (Condition::Ready, Kind::Oneshot) | (Condition::Done, _) => on == State::Exited,
                };
            assert!(
                met,
                "{at} is spawned while {} is {on:?}",
                dependency.service
            );
        }
        self.children[at].asked = true;
        let program = &self.programs[at];
        let takes = program.spawn_takes;
        let what = if program.spawn_fails.is_some() {
            What::StillBorn
        } else {
            What::Born
        };
        self.later(takes, at, 0, what);
    }

    /// In an ordered stop everything that needs a service is gone before it is
    /// told to end.
    fn watch_order(&self, at: usize) {
        if self.stopping_since.is_none() || self.hurried {
            return;
        }
        let name = &self.services[at].name;
        for (other, service) in self.services.iter().enumerate() {
            let needs = service.depends_on.iter().any(|d| d.service == *name);
            assert!(
                !needs || !self.children[other].alive,
                "{name} stops before {}",
                service.name
            );
        }
    }

    fn signal(&mut self, at: usize) {
        assert!(self.children[at].alive, "{at} is signalled and not alive");
        if let Some(after) = self.programs[at].obeys {
            let life = self.children[at].life;
            self.later(after, at, life, What::Dies(Exit::Code(0).into()));
        }
    }

    fn kill_all(&mut self, at: usize) {
        let child = &mut self.children[at];
        assert!(!child.clearing, "{at} is killed twice");
        child.clearing = true;
        let (alive, life) = (child.alive, child.life);
        let Some(after) = self.programs[at].dies else {
            return;
        };
        let first = self.programs[at].cleared_first;
        if alive {
            let delay = if first { after + 1 } else { after };
            self.later(
                delay,
                at,
                life,
                What::Dies(Exit::Signal(Signal::KILL).into()),
            );
        }
        self.later(after, at, 0, What::Cleared);
    }

    fn probe(&mut self, at: usize) {
        let child = &mut self.children[at];
        assert!(child.alive && !child.probing, "{at} is probed out of turn");
        child.probing = true;
        child.probe += 1;
        let (probe, age) = (child.probe, self.now - child.born);
        let (from, to) = self.programs[at].healthy;
        let takes = self.programs[at].probe_takes;
        self.later(takes, at, probe, What::Probed((from..to).contains(&age)));
    }

    fn leave(&mut self, code: u8) {
        let since = self.stopping_since.expect("a box stops before it exits");
        assert!(
            self.now - since <= self.bound,
            "the stop took {} ms",
            self.now - since
        );
        for (at, child) in self.children.iter().enumerate() {
            assert!(!child.awaited, "connections to {at} are still awaited");
            let left = child.alive || child.asked || child.dirty;
            assert!(
                !left || self.left_behind.contains(&at),
                "{at} is left alive"
            );
        }
        self.exit = Some((self.now, code));
    }
}

fn ok_unless(fails: bool) -> Result<(), String> {
    if fails {
        Err("exit 1".to_owned())
    } else {
        Ok(())
    }
}

/// A manifest of services by name and dependencies, to change further.
pub(crate) fn manifest(services: &[(&str, &[&str])]) -> Manifest {
    let mut manifest = Manifest::default();
    for (name, needs) in services {
        let name = name.parse().expect("a name");
        let mut service = Service::new(name, Kind::Daemon, vec!["run".to_owned()]);
        service.depends_on = needs
            .iter()
            .map(|on| holdall_protocol::manifest::Dependency {
                service: on.parse().expect("a name"),
                condition: Condition::Ready,
            })
            .collect();
        manifest.services.push(service.into());
    }
    manifest
}

/// A health check that asks each second.
pub(crate) fn health() -> Box<holdall_protocol::manifest::Health> {
    Box::new(holdall_protocol::manifest::Health {
        probe: holdall_protocol::manifest::Probe::Exec(vec!["ask".to_owned()]),
        interval: Millis(1000),
        timeout: Millis(500),
        retries: 3,
        successes: 1,
        start_period: Millis::ZERO,
    })
}
