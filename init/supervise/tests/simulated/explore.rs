//! Every reachable state of small boxes, under every order of events, found
//! breadth first. What must never happen is looked at on the way to each.

use std::sync::Arc;

use std::collections::{BTreeSet, VecDeque};

use holdall_protocol::control::{Exit, State};
use holdall_protocol::manifest::{
    Backoff, Dialect, GiveUp, Kind, OnUnhealthy, Ready, Restart, Start,
};
use holdall_protocol::{Manifest, Millis, Signal};
use holdall_supervise::{
    Action, Command, Event, Note, Notice, Options, ServiceId, Supervisor, Timestamp,
};

use crate::world::manifest;

/// What really is of one service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Truth {
    /// `Spawn` is not answered.
    asked: bool,
    alive: bool,
    /// Processes may be left.
    dirty: bool,
    /// `KillAll` is not answered.
    killing: bool,
    /// Connections are awaited.
    awaited: bool,
}

/// A box and the truth about it.
#[derive(Debug, Clone)]
struct Box {
    supervisor: Supervisor,
    now: u64,
    truth: Vec<Truth>,
    stops: u8,
    stopping: bool,
    other: bool,
    over: bool,
}

/// One thing that may happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Born(usize),
    Stillborn(usize),
    Ends(usize, u8),
    Killed(usize),
    Cleared(usize),
    Connects(usize),
    Ask(Command, usize),
    /// The other of two manifests.
    Reconfigure,
    /// A service that notifies says so.
    Says(usize, Notice),
    Time,
    Shutdown,
}

/// What may happen in a world beside what processes do by themselves.
#[derive(Debug, Clone, Copy)]
struct Outside {
    commands: bool,
    reconfigure: bool,
}

struct Explorer<'m> {
    first: &'m Manifest,
    second: &'m Manifest,
    outside: Outside,
}

impl Explorer<'_> {
    fn steps(&self, of: &Box) -> Vec<Step> {
        let mut steps = Vec::new();
        if of.over {
            return steps;
        }
        for (at, truth) in of.truth.iter().enumerate() {
            if truth.asked {
                steps.extend([Step::Born(at), Step::Stillborn(at)]);
            }
            match (truth.alive, truth.killing) {
                (true, false) => steps.extend([Step::Ends(at, 0), Step::Ends(at, 1)]),
                (true, true) => steps.extend([Step::Killed(at), Step::Cleared(at)]),
                (false, true) => steps.push(Step::Cleared(at)),
                (false, false) => {}
            }
            if truth.awaited {
                steps.push(Step::Connects(at));
            }
            let service = &self.first.services.get(at);
            if truth.alive && service.is_some_and(|service| service.ready.is_some()) {
                let notices = [
                    Notice::Ready,
                    Notice::Alive,
                    Notice::Stuck,
                    Notice::Stopping,
                    Notice::Extend(Millis(5000)),
                ];
                steps.extend(notices.map(|notice| Step::Says(at, notice)));
            }
            if self.outside.commands && of.stops == 0 {
                let commands = [Command::Start, Command::Stop, Command::Restart];
                steps.extend(commands.map(|command| Step::Ask(command, at)));
            }
        }
        if self.outside.reconfigure && of.stops == 0 {
            steps.push(Step::Reconfigure);
        }
        if of.supervisor.poll_timeout().is_some() {
            steps.push(Step::Time);
        }
        if of.stops < 2 {
            steps.push(Step::Shutdown);
        }
        steps
    }

    fn take(&self, from: &Box, step: Step) -> Box {
        let mut next = from.clone();
        let service = |at: usize| ServiceId(u32::try_from(at).expect("few"));
        let event = match step {
            Step::Born(at) => {
                let truth = &mut next.truth[at];
                (truth.asked, truth.alive, truth.dirty) = (false, true, true);
                let pid = 1;
                Event::Spawned {
                    service: service(at),
                    pid,
                }
            }
            Step::Stillborn(at) => {
                next.truth[at].asked = false;
                let reason = String::new();
                Event::SpawnFailed {
                    service: service(at),
                    reason,
                    code: 127,
                }
            }
            Step::Ends(at, code) => {
                next.truth[at].alive = false;
                Event::Exited {
                    service: service(at),
                    exit: Exit::Code(code),
                    oom_kills: 0,
                }
            }
            Step::Killed(at) => {
                next.truth[at].alive = false;
                let exit = Exit::Signal(Signal::KILL);
                Event::Exited {
                    service: service(at),
                    exit,
                    oom_kills: 0,
                }
            }
            Step::Cleared(at) => {
                // Its end may be told later than that nothing is left of it.
                (next.truth[at].killing, next.truth[at].dirty) = (false, false);
                Event::Cleared {
                    service: service(at),
                }
            }
            Step::Connects(at) => Event::Demanded {
                service: service(at),
            },
            Step::Ask(command, at) => {
                let name = next
                    .supervisor
                    .service(service(at))
                    .expect("a slot")
                    .name
                    .clone();
                let services = vec![name];
                Event::Command {
                    request: 1,
                    command,
                    services,
                }
            }
            Step::Reconfigure => {
                next.other = !next.other;
                let manifest = if next.other { self.second } else { self.first };
                let done = next.supervisor.reconfigure(Timestamp(next.now), manifest);
                assert!(done.is_ok() || next.stopping, "only a stop is an excuse");
                next.truth.resize(next.supervisor.slots(), Truth::default());
                next.obey();
                return next;
            }
            Step::Says(at, notice) => Event::Notified {
                service: service(at),
                notice,
            },
            Step::Time => {
                let at = next.supervisor.poll_timeout().expect("it is due");
                next.now = next.now.max(at.0);
                next.supervisor.handle_timeout(Timestamp(next.now));
                next.obey();
                return next;
            }
            Step::Shutdown => {
                next.stops += 1;
                Event::Shutdown
            }
        };
        next.supervisor.handle(Timestamp(next.now), event);
        next.obey();
        // A client that hung up: what it asked for goes on.
        next.supervisor
            .handle(Timestamp(next.now), Event::Abandoned { request: 1 });
        next.obey();
        next
    }

    /// Explores: how many states there are.
    fn run(&self, most: usize) -> usize {
        let options = Options {
            foreground: false,
            after_ready: false,
            seed: 1,
        };
        let mut begin = Box {
            supervisor: Supervisor::new(self.first, options),
            now: 0,
            truth: vec![Truth::default(); self.first.services.len()],
            stops: 0,
            stopping: false,
            other: false,
            over: false,
        };
        begin.supervisor.handle(Timestamp(0), Event::Boot);
        begin.obey();
        let mut seen = BTreeSet::from([begin.key()]);
        let mut queue = VecDeque::from([begin]);
        let mut ended = 0;
        while let Some(state) = queue.pop_front() {
            ended += usize::from(state.over);
            for step in self.steps(&state) {
                let next = self.take(&state, step);
                if seen.insert(next.key()) {
                    assert!(
                        seen.len() <= most,
                        "more than {most} states: is time in a key?"
                    );
                    queue.push_back(next);
                }
            }
        }
        assert!(ended > 0, "no box ever ends");
        seen.len()
    }
}

impl Box {
    fn key(&self) -> (u64, Vec<Truth>, u8, bool, bool) {
        let print = self.supervisor.fingerprint();
        (print, self.truth.clone(), self.stops, self.other, self.over)
    }

    /// Takes in what the supervisor wants, and looks whether it may be.
    fn obey(&mut self) {
        while let Some(action) = self.supervisor.poll_action() {
            assert!(!self.over, "{action:?} after the exit");
            match action {
                Action::Spawn { service } => self.may_spawn(service),
                Action::Signal { service, .. } | Action::StopCommand { service } => {
                    self.may_signal(service);
                }
                Action::KillAll { service } => {
                    let truth = &mut self.truth[service.index()];
                    assert!(!truth.killing, "killed twice");
                    truth.killing = true;
                }
                Action::AwaitDemand { service } => {
                    let truth = &mut self.truth[service.index()];
                    let runs = truth.asked || truth.alive || truth.dirty;
                    assert!(!truth.awaited && !runs, "it is up");
                    truth.awaited = true;
                }
                Action::ForgetDemand { service } => {
                    let truth = &mut self.truth[service.index()];
                    assert!(truth.awaited, "nobody waits");
                    truth.awaited = false;
                }
                Action::Note(Note::Stopping) => self.stopping = true,
                Action::Note(Note::LeftBehind { service }) => {
                    let at = service.expect("there is no foreground").index();
                    self.truth[at] = Truth::default();
                }
                Action::Exit { .. } => {
                    let left = |t: &Truth| t.asked || t.alive || t.dirty || t.awaited;
                    let left = self.truth.iter().any(left);
                    assert!(!left, "a process is left alive");
                    self.over = true;
                }
                Action::Note(_)
                | Action::Tell(_)
                | Action::Reply { .. }
                | Action::Reload { .. }
                | Action::Probe { .. }
                | Action::CancelProbe { .. }
                | Action::ReleaseStore { .. }
                | Action::SpawnForeground
                | Action::SignalForeground { .. }
                | Action::KillForeground => {}
            }
        }
    }

    fn may_spawn(&mut self, service: ServiceId) {
        let truth = self.truth[service.index()];
        assert!(!truth.asked && !truth.alive, "two processes of one service");
        assert!(!truth.dirty && !truth.killing, "stragglers are left");
        assert!(!self.stopping, "spawned into a stopping box");
        let definition = self.supervisor.service(service).expect("a slot");
        let status = self.supervisor.status(Timestamp(self.now));
        for need in &definition.depends_on {
            let on = status.services.iter().find(|s| s.name == need.service);
            let on = on.map(|on| on.state);
            let needed = |id: &ServiceId| {
                let other = self.supervisor.service(*id).expect("a slot");
                other.name == need.service && other.start == Start::OnDemand
            };
            let slots = (0_u32..).map(ServiceId).take(self.truth.len());
            let on_call = matches!(
                on,
                Some(State::Listening | State::Waiting | State::Starting)
            );
            let met = matches!(on, Some(State::Ready | State::Exited))
                || (on_call && slots.filter(needed).count() == 1);
            assert!(met, "spawned while {} is {on:?}", need.service);
        }
        self.truth[service.index()].asked = true;
    }

    /// Only what lives is signalled, and only once nothing alive needs it.
    fn may_signal(&self, service: ServiceId) {
        assert!(self.truth[service.index()].alive, "signalled and not alive");
        let name = &self.supervisor.service(service).expect("a slot").name;
        let slots = (0_u32..).map(ServiceId).take(self.truth.len());
        let needs = |id: &ServiceId| {
            let other = self.supervisor.service(*id).expect("a slot");
            other.depends_on.iter().any(|need| need.service == *name)
        };
        for other in slots.filter(needs) {
            let alive = self.truth[other.index()].alive;
            assert!(
                !self.stopping || !alive,
                "{name} stops before what needs it"
            );
        }
    }
}

/// No waits between restarts, and two failures are too many: so that the
/// states are few, and a state does not hang on when it was reached.
fn small(services: &[(&str, &[&str])]) -> Manifest {
    let mut manifest = manifest(services);
    for service in manifest.services_mut() {
        service.backoff = Backoff {
            initial: Millis::ZERO,
            max: Millis::ZERO,
        };
        service.give_up = GiveUp {
            failures: 2,
            within: Millis::from_secs(3_000_000_000),
        };
        service.essential = false;
    }
    manifest
}

#[expect(
    clippy::print_stdout,
    reason = "how many states there are is the finding"
)]
#[track_caller]
fn explore(name: &str, first: &Manifest, second: &Manifest, outside: Outside) {
    let explorer = Explorer {
        first,
        second,
        outside,
    };
    let states = explorer.run(400_000);
    println!("{name}: {states} states");
    assert!(states > 100, "{name} is no world to speak of");
}

const ALONE: Outside = Outside {
    commands: false,
    reconfigure: false,
};
const CLIENTS: Outside = Outside {
    commands: true,
    reconfigure: false,
};
const RELOADS: Outside = Outside {
    commands: false,
    reconfigure: true,
};

#[test]
fn two_services_and_a_client_keep_every_promise_in_every_state() {
    let apart = small(&[("a", &[]), ("b", &[])]);
    explore("two apart, a client", &apart, &apart, CLIENTS);
    let chain = small(&[("a", &[]), ("b", &["a"])]);
    explore("a chain of two, a client", &chain, &chain, CLIENTS);
}

#[test]
fn an_essential_service_and_a_oneshot_keep_every_promise_in_every_state() {
    let mut pair = small(&[("migrate", &[]), ("web", &["migrate"])]);
    Arc::make_mut(&mut pair.services[0]).kind = Kind::Oneshot;
    Arc::make_mut(&mut pair.services[0]).restart = Restart::OnFailure;
    Arc::make_mut(&mut pair.services[1]).essential = true;
    explore(
        "a oneshot before an essential daemon, a client",
        &pair,
        &pair,
        CLIENTS,
    );
}

#[test]
fn services_that_start_on_demand_keep_every_promise_in_every_state() {
    let mut pair = small(&[("db", &[]), ("web", &["db"])]);
    Arc::make_mut(&mut pair.services[1]).start = Start::OnDemand;
    explore(
        "on demand, with what it needs, a client",
        &pair,
        &pair,
        CLIENTS,
    );
    Arc::make_mut(&mut pair.services[0]).start = Start::OnDemand;
    explore("both on demand, a client", &pair, &pair, CLIENTS);
    let mut other = pair.clone();
    Arc::make_mut(&mut other.services[1]).start = Start::Boot;
    explore("on demand, or with the boot", &pair, &other, RELOADS);
}

#[test]
fn three_services_keep_every_promise_in_every_state() {
    let chain = small(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
    explore("a chain of three", &chain, &chain, ALONE);
    let fan = small(&[("a", &[]), ("b", &["a"]), ("c", &["a"])]);
    explore("two that need one", &fan, &fan, ALONE);
}

#[test]
fn a_manifest_that_comes_and_goes_keeps_every_promise_in_every_state() {
    let first = small(&[("a", &[]), ("b", &["a"])]);
    let mut second = small(&[("a", &[])]);
    explore(
        "one of two is taken out and put back",
        &first,
        &second,
        RELOADS,
    );
    second = first.clone();
    Arc::make_mut(&mut second.services[0]).command = vec!["other".to_owned()];
    explore(
        "what another needs is changed and changed back",
        &first,
        &second,
        RELOADS,
    );
}

#[test]
fn a_service_that_says_anything_of_itself_keeps_every_promise_in_every_state() {
    let mut pair = small(&[("app", &[]), ("web", &["app"])]);
    let ready = Ready {
        by: Dialect::Notify,
        timeout: Some(Millis(5000)),
    };
    Arc::make_mut(&mut pair.services[0]).ready = Some(ready.into());
    Arc::make_mut(&mut pair.services[0]).watchdog = Some(Millis(5000));
    explore(
        "one that notifies before one that needs it",
        &pair,
        &pair,
        ALONE,
    );
    Arc::make_mut(&mut pair.services[0]).on_unhealthy = OnUnhealthy::Ignore;
    pair.services.truncate(1);
    explore(
        "one that notifies and is left, a client",
        &pair,
        &pair,
        CLIENTS,
    );
}
