//! Commands that init runs for a service beside its main process: the one that
//! stops it, and the one that makes it read its files again. What they say goes
//! into the service's log.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use holdall_protocol::Millis;
use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{Reload, Service};
use holdall_supervise::{Event, ServiceId, Timestamp};

use crate::kill::kill_group;
use crate::launch::Launch;
use crate::lineage::Marks;
use crate::pid1::{Pid1, Role};
use crate::spawn::{self, SpawnError, Stdio};

/// A command that makes a service reload is given this long. One that stops a
/// service is bounded by the service's own timeout.
const RELOAD_TIMEOUT: Millis = Millis(30_000);

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Stop,
    Reload,
}

/// A command under way.
#[derive(Debug)]
struct Errand {
    service: ServiceId,
    purpose: Purpose,
    pid: i32,
    /// None where something else bounds it.
    deadline: Option<Timestamp>,
}

/// All of them, by number.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    running: BTreeMap<u64, Errand>,
}

impl Errands {
    /// When one has taken too long.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.running
            .values()
            .filter_map(|errand| errand.deadline)
            .min()
    }
}

impl Pid1 {
    /// Runs the stop command of a service; the answer, if it can't be run.
    pub(crate) fn stop_command(&mut self, service: ServiceId) -> Option<Event> {
        let command = |service: &Service| service.stop.command.clone();
        let outcome = self.run_errand(service, Purpose::Stop, command).err()?;
        Some(answer(service, Purpose::Stop, Err(outcome.to_string())))
    }

    /// Makes a service read its files again; the answer, if it is known at
    /// once.
    pub(crate) fn reload_service(&mut self, id: ServiceId) -> Option<Event> {
        let how = self.service(id)?.reload.clone();
        let outcome = match how {
            Some(Reload::Signal(signal)) => {
                let instance = self.instance(id);
                match instance.filter(|instance| instance.pid.is_some()) {
                    Some(instance) => {
                        instance.signal_main(signal);
                        Ok(())
                    }
                    None => Err("it does not run".to_owned()),
                }
            }
            Some(Reload::Command(words)) => {
                match self.run_errand(id, Purpose::Reload, |_| Some(words)) {
                    Ok(()) => return None,
                    Err(error) => Err(error.to_string()),
                }
            }
            None => Err("it has no `reload`".to_owned()),
        };
        Some(answer(id, Purpose::Reload, outcome))
    }

    fn run_errand(
        &mut self,
        id: ServiceId,
        purpose: Purpose,
        command: impl FnOnce(&Service) -> Option<Vec<String>>,
    ) -> Result<(), SpawnError> {
        let mark = self.marks.as_mut().map(Marks::next);
        let main = self.instance(id).and_then(|instance| instance.main());
        let Some(service) = self.supervisor.service(id) else {
            return Err(SpawnError::EmptyProgram);
        };
        let words = command(service).unwrap_or_default();
        let mut env = self.child_env.clone();
        if let Some(pid) = main {
            env.set("MAINPID", pid.to_string());
        }
        let mut launch = Launch::service(service, &words, &env, &[])?;
        launch.mark = mark.map(|mark| mark.value);
        let owner = launch.owner();
        let pipes = self.pipes.pair(id, self.log.gate(id), owner);
        let [stdout, stderr] = pipes.map_err(SpawnError::Pipe)?;
        let stdio = Stdio::Given([self.null.as_fd(), stdout.as_fd(), stderr.as_fd()]);
        let pid = spawn::spawn(launch, &stdio)?.pid;
        let number = self.number();
        self.children.insert(pid, Role::Errand { number, mark });
        let deadline = match purpose {
            Purpose::Stop => None,
            Purpose::Reload => Some(self.now + RELOAD_TIMEOUT),
        };
        let errand = Errand {
            service: id,
            purpose,
            pid,
            deadline,
        };
        self.errands.running.insert(number, errand);
        Ok(())
    }

    /// A command has ended: the answer, unless nobody waits for it any more.
    pub(crate) fn errand_ended(&mut self, number: u64, exit: Exit) -> Option<Event> {
        let errand = self.errands.running.remove(&number)?;
        let outcome = if exit.success() {
            Ok(())
        } else {
            Err(format!("the command ended with {exit}"))
        };
        Some(answer(errand.service, errand.purpose, outcome))
    }

    /// Ends what is under way for a service whose processes are all killed.
    pub(crate) fn end_errands(&mut self, service: ServiceId) {
        let of = self.errands.running.iter();
        let of = of.filter(|(_, errand)| errand.service == service);
        let numbers: Vec<u64> = of.map(|(number, _)| *number).collect();
        for number in numbers {
            let Some(errand) = self.errands.running.remove(&number) else {
                continue;
            };
            kill_group(errand.pid);
            if errand.purpose == Purpose::Reload {
                let outcome = Err("it ended meanwhile".to_owned());
                self.event(answer(service, errand.purpose, outcome));
            }
        }
    }

    /// Ends those that have taken too long.
    pub(crate) fn expire_errands(&mut self) {
        let now = self.now;
        let late = self.errands.running.iter();
        let late = late.filter(|(_, errand)| errand.deadline.is_some_and(|at| at <= now));
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        for number in late {
            if let Some(errand) = self.errands.running.remove(&number) {
                kill_group(errand.pid);
                let outcome = Err(format!("the command took longer than {RELOAD_TIMEOUT}"));
                self.event(answer(errand.service, errand.purpose, outcome));
            }
        }
    }
}

fn answer(service: ServiceId, purpose: Purpose, outcome: Result<(), String>) -> Event {
    match purpose {
        Purpose::Stop => Event::StopCommandEnded { service, outcome },
        Purpose::Reload => Event::ReloadEnded { service, outcome },
    }
}
