//! What clients ask, answered.

use std::os::fd::OwnedFd;

use holdall_protocol::control::{ErrorKind, Exec, Request, Response};
use holdall_protocol::{PAGED_SINCE, PROTOCOL_VERSION, ServiceName, Signal};
use holdall_supervise::{Command, Event, ServiceId};

use crate::control::client::{Authority, State};
use crate::exec;
use crate::kill::signal_group;
use crate::lineage::Marks;
use crate::pid1::{Pid1, Role};
use crate::readers::Part;

impl Pid1 {
    /// Answers whoever has sent a whole request, each in its turn.
    pub(crate) fn requests(&mut self) {
        for id in self.control.unfinished() {
            let mut turn = 0;
            while let Some(request) = self.control.next_request(id, turn) {
                turn += 1;
                self.request(id, request);
            }
            let gone = self.control.settle(&self.poll, id, self.now);
            self.client_gone(gone);
        }
    }

    /// Sends an answer on its way.
    pub(crate) fn answer(&mut self, id: u64, response: &Response, descriptor: Option<OwnedFd>) {
        self.control.respond(id, response, descriptor);
        let gone = self.control.settle(&self.poll, id, self.now);
        self.client_gone(gone);
    }

    /// A client hung up. What it asked for goes on.
    pub(crate) fn client_gone(&mut self, state: Option<State>) {
        if let Some(State::Waiting(request)) = state {
            self.event(Event::Abandoned { request });
        }
    }

    pub(crate) fn refuse(&mut self, id: u64, kind: ErrorKind, message: impl Into<String>) {
        self.answer(
            id,
            &Response::Error {
                kind,
                message: message.into(),
            },
            None,
        );
    }

    fn request(&mut self, id: u64, request: Request) {
        let Some(client) = self.control.get_mut(id) else {
            return;
        };
        let descriptors = std::mem::take(&mut client.descriptors);
        let may = client.authority;
        let waits_for_program = matches!(client.state, State::Exec(_));
        let reads = matches!(
            request,
            Request::Status
                | Request::MoreStatus { .. }
                | Request::Events { .. }
                | Request::Health { .. }
                | Request::Version
        );
        if may == Authority::Read && !reads {
            let message = "only root and the user that init runs as may ask that";
            return self.refuse(id, ErrorKind::Denied, message);
        }
        if waits_for_program && !matches!(request, Request::ExecSignal { .. }) {
            let client = self.control.get_mut(id);
            let message = "the program of this connection still runs";
            client
                .into_iter()
                .for_each(|client| client.refuse(ErrorKind::Malformed, message));
            return;
        }
        match request {
            Request::Status => self.status(id, 0),
            Request::MoreStatus { from } => self.status(id, from),
            Request::Events {
                services,
                last,
                follow,
            } => self.watch(id, &services, last, follow),
            Request::Health { kind } => {
                let health = self.supervisor.health(kind);
                let healthy = health.is_ok();
                let reason = health.err().unwrap_or_default();
                self.answer(id, &Response::Health { healthy, reason }, None);
            }
            Request::Version => {
                let release = env!("CARGO_PKG_VERSION").to_owned();
                let version = Response::Version {
                    release,
                    protocol: PROTOCOL_VERSION,
                };
                self.answer(id, &version, None);
            }
            Request::Start { services } => self.command(id, Command::Start, services),
            Request::Stop { services } => self.command(id, Command::Stop, services),
            Request::Restart { services } => self.command(id, Command::Restart, services),
            Request::Reload { services, dry_run } if services.is_empty() => {
                let outcome = self.reload(dry_run);
                self.answer_changes(id, outcome);
            }
            Request::Reload { services, .. } => self.command(id, Command::Reload, services),
            Request::Scale { service, instances } => {
                let outcome = self.scale(&service, instances);
                self.answer_changes(id, outcome);
            }
            Request::Signal { services, signal } => self.signal(id, &services, signal),
            Request::Logs {
                services,
                tail,
                since,
                follow,
            } => self.logs(
                id,
                &services,
                Part {
                    tail,
                    since,
                    follow,
                },
            ),
            Request::Exec(exec) => self.exec(id, &exec, &descriptors),
            Request::ExecSignal { signal } => self.exec_signal(id, signal),
        }
    }

    /// A page of the status. A client that knows of none gets the whole, or the
    /// error that it is too long for a frame.
    fn status(&mut self, id: u64, from: u32) {
        let mut status = self.supervisor.status(self.now);
        for service in &mut status.services {
            // What only the shell knows.
            if let Some(id) = self.supervisor.id(&service.name) {
                self.log.complete(id, service);
                self.probes.complete(id, &mut service.counts);
            }
        }
        let version = self.control.get(id).map_or(0, |client| client.version);
        if version >= PAGED_SINCE {
            status = status.page(from);
        }
        self.answer(id, &Response::Status(status), None);
    }

    fn command(&mut self, id: u64, command: Command, services: Vec<ServiceName>) {
        let request = self.number();
        if let Some(client) = self.control.get_mut(id) {
            client.state = State::Waiting(request);
        }
        self.event(Event::Command {
            request,
            command,
            services,
        });
    }

    /// The services of these names, or the answer that one isn't there.
    pub(crate) fn ids(&self, names: &[ServiceName]) -> Result<Vec<ServiceId>, String> {
        self.supervisor.named(names)
    }

    fn signal(&mut self, id: u64, names: &[ServiceName], signal: Signal) {
        let services = match self.ids(names) {
            Ok(services) => services,
            Err(message) => return self.refuse(id, ErrorKind::UnknownService, message),
        };
        let runs = |service: &&ServiceId| {
            let instance = self.instances.get(service.index());
            instance.is_some_and(|instance| instance.pid.is_some())
        };
        if let Some(down) = services.iter().find(|service| !runs(service)) {
            let name = self
                .service(*down)
                .map_or("?", |service| service.name.as_str());
            let message = format!("{name} does not run, and nothing was sent");
            return self.refuse(id, ErrorKind::Failed, message);
        }
        for service in services {
            if let Some(instance) = self.instance(service) {
                instance.signal_main(signal);
            }
        }
        self.answer(id, &Response::Done, None);
    }

    fn exec(&mut self, id: u64, request: &Exec, descriptors: &[OwnedFd]) {
        if self.farewell.is_some() || self.supervisor.status(self.now).stopping {
            return self.refuse(id, ErrorKind::ShuttingDown, "the box is stopping");
        }
        let mark = self.marks.as_mut().map(Marks::next);
        match exec::start(request, descriptors, &self.child_env, mark) {
            Ok(running) => {
                let number = self.number();
                let (pid, terminal) = (running.child.pid, running.master.is_some());
                self.children.insert(pid, Role::Exec { number, terminal });
                if let Some(client) = self.control.get_mut(id) {
                    client.state = State::Exec(number);
                }
                let started = Response::Started {
                    pid: pid.unsigned_abs(),
                };
                self.answer(id, &started, running.master);
            }
            Err(error) => self.refuse(id, exec::kind(&error), error.to_string()),
        }
    }

    fn exec_signal(&mut self, id: u64, signal: Signal) {
        let state = self.control.get(id).map(|client| client.state.clone());
        // After its end this is late, not wrong.
        let Some(State::Exec(number)) = state else {
            return;
        };
        let running = self
            .children
            .iter()
            .find(|(_, role)| matches!(role, Role::Exec { number: found, .. } if *found == number));
        if let Some((pid, _)) = running {
            signal_group(*pid, signal);
        }
    }
}
