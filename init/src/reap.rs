//! Children that have ended, and signals that came.

use holdall_protocol::Signal;
use holdall_protocol::control::Response;
use holdall_supervise::{Event, ServiceId};

use crate::cgroup::Cgroup;
use crate::control::client::State;
use crate::kill::{Target, kill_group};
use crate::pid1::{Pid1, Role};
use crate::signals::{Meaning, meaning};
use crate::spawn;
use crate::sys::{self, Ended};
use crate::{listener, notes};

/// Reaped before everything else has its turn again.
const BATCH: usize = 512;

impl Pid1 {
    /// Reads all signals that wait.
    pub(crate) fn take_signals(&mut self) {
        while let Some(info) = self.signals.next() {
            let no_service = self
                .base
                .services
                .iter()
                .all(|service| listener::is(service));
            let only_command = no_service && self.foreground.is_some();
            let number = u8::try_from(info.ssi_signo).unwrap_or(0);
            match meaning(number, info.ssi_code, only_command) {
                Meaning::Children => self.reap_more = true,
                Meaning::Shutdown => self.event(Event::Shutdown),
                Meaning::Reload => self.reload_for_signal(),
                Meaning::ReopenLogs => {
                    let words = match self.log.reopen_files() {
                        0 => "SIGUSR1: there are no log files to open anew".to_owned(),
                        1 => "SIGUSR1: 1 log file opened anew".to_owned(),
                        count => format!("SIGUSR1: {count} log files opened anew"),
                    };
                    self.log.say(&words);
                }
                Meaning::Dump => {
                    for line in notes::table(&self.supervisor.status(self.now)) {
                        self.log.say(&line);
                    }
                }
                Meaning::Forward(signal) => self.forward(signal),
                Meaning::Nothing => {}
            }
        }
    }

    fn forward(&mut self, signal: Signal) {
        let Some(command) = &self.foreground else {
            return;
        };
        if let (Some(pid), Some(signal)) = (command.pid, command.forwarding.of(signal)) {
            // It is not reaped, so the number is its own. As it was sent: no
            // CONT after it.
            let to = if command.single_child { pid } else { -pid };
            let _ = sys::kill(to, signal);
        }
    }

    /// Reaps a batch; more wait for the next turn.
    pub(crate) fn reap(&mut self) {
        if !self.reap_more {
            return;
        }
        for _ in 0..BATCH {
            match sys::peek_ended() {
                Ok(Some(ended)) => self.ended(ended),
                Ok(None) | Err(_) => {
                    self.reap_more = false;
                    return;
                }
            }
        }
    }

    /// A service has ended: how many of it the kernel killed by its own hand,
    /// which is told from any other KILL.
    fn oom_kills(&mut self, id: ServiceId) -> u64 {
        let instance = self.instance(id);
        let cgroup = instance.and_then(|instance| instance.cgroup.as_ref());
        let kills = cgroup.map_or(0, Cgroup::oom_kills);
        if kills > 0 {
            self.log.about(
                id,
                "out of memory: the kernel has killed what was above `limits.memory`",
            );
        }
        kills
    }

    /// A child has ended, and is not reaped yet: its number is still its own.
    fn ended(&mut self, ended: Ended) {
        let Ended { pid, exit } = ended;
        let role = self.children.remove(&pid);
        if let Some(Role::Service(service)) = role {
            self.hear_out(service);
            if self.goes_on(service) {
                let _ = sys::reap(pid);
                return;
            }
        }
        match role {
            Some(
                Role::Service(_) | Role::Foreground | Role::Probe { .. } | Role::Errand { .. },
            ) => kill_group(pid),
            // What a client has left running goes on until the box stops.
            Some(Role::Exec { .. }) | None => {}
        }
        let _ = sys::reap(pid);
        match role {
            Some(Role::Service(service)) => {
                self.pipes.drain(service, &mut self.log);
                self.hear_log();
                let (mut late, mut told) = (None, false);
                if let Some(instance) = self.instance(service) {
                    (instance.pid, instance.named) = (None, None);
                    late = instance.late.take();
                    told = std::mem::take(&mut instance.end_is_told);
                }
                if let Some(reason) = late.as_ref().and_then(spawn::late_failure) {
                    self.log.about(service, &reason);
                }
                // What was told of the end of the one that it named includes it.
                let oom_kills = if told { 0 } else { self.oom_kills(service) };
                self.kills.leader_reaped(self.now, Target::Service(service));
                if !told {
                    self.event(Event::Exited {
                        service,
                        exit,
                        oom_kills,
                    });
                }
            }
            Some(Role::Foreground) => {
                if let Some(command) = &mut self.foreground {
                    command.pid = None;
                }
                self.kills.leader_reaped(self.now, Target::Foreground);
                self.event(Event::ForegroundExited { exit });
            }
            Some(Role::Probe { number, mark }) => {
                self.clear_behind(mark);
                let answer = self.probes.exited(&self.poll, self.now, number, exit);
                if let Some((service, outcome)) = answer {
                    self.event(Event::Probed { service, outcome });
                }
            }
            Some(Role::Errand { number, mark }) => {
                self.clear_behind(mark);
                if let Some(event) = self.errand_ended(number, exit) {
                    self.event(event);
                }
            }
            Some(Role::Exec { number, .. }) => {
                if let Some(client) = self.control.waiting_for(&State::Exec(number)) {
                    self.answer(client, &Response::Exited { code: exit.code() }, None);
                }
            }
            None => {
                if let Some(service) = self.named_by(pid) {
                    if let Some(instance) = self.instance(service) {
                        (instance.named, instance.end_is_told) = (None, true);
                    }
                    let oom_kills = self.oom_kills(service);
                    self.event(Event::Exited {
                        service,
                        exit,
                        oom_kills,
                    });
                }
            }
        }
    }
}
