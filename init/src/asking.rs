//! Beginning the probes that the supervisor asks for.

use std::os::fd::AsFd;

use holdall_protocol::Millis;
use holdall_protocol::manifest::{Dialect, Probe};
use holdall_supervise::{Event, Question, ServiceId};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::connection::Connection;
use crate::kill::kill_group;
use crate::launch::Launch;
use crate::lineage::Marks;
use crate::pid1::{Pid1, Role};
use crate::probe::{Due, describe};
use crate::spawn::{self, SpawnError, Spawned, Stage, Stdio, words};

/// A probe of `ready` that takes longer has failed; for `health` the manifest
/// says it.
const READY_TIMEOUT: Millis = Millis(3000);

impl Pid1 {
    /// Asks a service; the outcome if that is known at once.
    pub(crate) fn probe(&mut self, service: ServiceId, question: Question) -> Option<Event> {
        if !self.probes.admit(service, question) {
            return None;
        }
        let definition = self.service(service)?;
        let (probe, timeout) = match question {
            Question::Health => {
                let health = definition.health.as_ref()?;
                (health.probe.clone(), health.timeout)
            }
            Question::Ready => match &definition.ready.as_ref()?.by {
                Dialect::Asked(probe) => (probe.clone(), READY_TIMEOUT),
                Dialect::After(_) | Dialect::Notify | Dialect::Fd(_) | Dialect::Log(_) => {
                    return None;
                }
            },
        };
        let due = Due {
            service,
            name: describe(&probe),
            timeout,
            deadline: self.now + timeout,
        };
        let reason = self.begin(due, &probe).err()?;
        self.probes.count(service, false, Millis::ZERO);
        Some(Event::Probed {
            service,
            outcome: Err(format!("{}: {reason}", describe(&probe))),
        })
    }

    fn begin(&mut self, due: Due, probe: &Probe) -> Result<(), String> {
        let number = self.probes.number();
        let (argv, looks) = match probe {
            Probe::Exec(argv) => (argv.as_slice(), false),
            Probe::File(path) => (std::slice::from_ref(path), true),
            Probe::Tcp(address) => return self.connect(number, due, Connection::to(*address)),
            Probe::Http(probe) => return self.connect(number, due, Connection::ask(probe)),
        };
        let begun = self.probe_process(number, due, argv, looks);
        begun.map_err(|error| match error {
            SpawnError::Stage {
                stage: Stage::Look,
                reason,
                ..
            } => reason,
            error => error.to_string(),
        })
    }

    fn connect(
        &mut self,
        number: u64,
        due: Due,
        connection: Result<Connection, Errno>,
    ) -> Result<(), String> {
        let add = |connection| {
            self.probes
                .add_connection(&self.poll, number, due, connection)
        };
        connection.and_then(add).map_err(words)
    }

    fn probe_process(
        &mut self,
        number: u64,
        due: Due,
        argv: &[String],
        looks: bool,
    ) -> Result<(), SpawnError> {
        let mark = self.marks.as_mut().map(Marks::next);
        let Some(service) = self.service(due.service) else {
            return Err(SpawnError::EmptyProgram);
        };
        let mut launch = Launch::service(service, argv, &self.child_env, &[])?;
        launch.mark = mark.map(|mark| mark.value);
        launch.looks = looks;
        let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(SpawnError::Pipe)?;
        let stdio = Stdio::Given([self.null.as_fd(), write.as_fd(), write.as_fd()]);
        let Spawned { pid, .. } = spawn::spawn(launch, &stdio)?;
        self.children.insert(pid, Role::Probe { number, mark });
        self.probes
            .add_process(&self.poll, number, due, pid, read)
            .map_err(|errno| {
                kill_group(pid);
                SpawnError::Pipe(errno)
            })
    }
}
