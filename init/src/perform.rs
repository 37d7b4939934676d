//! What the supervisor wants done, done.

use holdall_protocol::control::Response;
use holdall_protocol::{Millis, Signal};
use holdall_supervise::{Action, Event, Note, ServiceId, Timestamp};

use crate::control::client::State;
use crate::kill::{Prey, Target, kill_group, signal_group};
use crate::lineage::{self, Mark};
use crate::pid1::{Pid1, Role};
use crate::spawn::SpawnError;
use crate::{notes, notify, sys};

/// Lines of a service's log that are printed when it is given up.
const LAST_WORDS: usize = 10;

/// What clients have running gets this long to end once the rest is over.
const GRACE: Millis = Millis(500);

/// Everything is decided; what clients had run ends.
pub(crate) struct Farewell {
    code: u8,
    pub(crate) deadline: Timestamp,
}

impl Pid1 {
    /// Does one thing; what came of it, where that is known at once.
    pub(crate) fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn { service } => match self.begin_service(service) {
                Ok(child) => {
                    self.starting.push_back((service, child));
                    None
                }
                Err(error) => Some(spawn_failed(service, &error)),
            },
            Action::Signal { service, signal } => {
                let group = self
                    .service(service)
                    .is_none_or(|service| service.stop.group);
                if let Some(instance) = self.instance(service) {
                    if group {
                        instance.signal(signal);
                    } else {
                        instance.signal_main(signal);
                        instance.signal_main(Signal::CONT);
                    }
                }
                None
            }
            Action::ReleaseStore { service } => {
                self.store.release(&self.poll, service);
                None
            }
            Action::StopCommand { service } => self.stop_command(service),
            Action::Reload { service } => self.reload_service(service),
            Action::KillAll { service } => {
                self.end_errands(service);
                let now = self.now;
                let instance = self.instance(service)?;
                let (leader, mark) = (instance.pid, instance.mark);
                let prey = Prey {
                    leader,
                    mark,
                    cgroup: instance.cgroup.clone(),
                };
                self.kills.begin(now, Target::Service(service), prey);
                None
            }
            Action::Probe { service, question } => self.probe(service, question),
            Action::CancelProbe { service } => {
                if let Some(pid) = self.probes.cancel(&self.poll, service) {
                    kill_group(pid);
                }
                None
            }
            Action::AwaitDemand { service } => self.await_demand(service),
            Action::ForgetDemand { service } => {
                self.forget_demand(service);
                None
            }
            Action::SpawnForeground => Some(match self.spawn_foreground() {
                Ok(pid) => Event::ForegroundSpawned { pid },
                Err(error) => Event::ForegroundFailed {
                    reason: error.to_string(),
                    code: error.code(),
                },
            }),
            Action::SignalForeground { signal } => {
                if let Some(pid) = self.foreground.as_ref().and_then(|command| command.pid) {
                    signal_group(pid, signal);
                }
                None
            }
            Action::KillForeground => {
                let command = self.foreground.as_ref()?;
                let (leader, mark) = (command.pid, command.mark);
                self.kills.begin(
                    self.now,
                    Target::Foreground,
                    Prey {
                        leader,
                        mark,
                        cgroup: None,
                    },
                );
                None
            }
            Action::Reply { request, result } => {
                let response = match result {
                    Ok(()) => Response::Done,
                    Err(refusal) => Response::Error {
                        kind: refusal.kind,
                        message: refusal.message,
                    },
                };
                if let Some(client) = self.control.waiting_for(&State::Waiting(request)) {
                    self.answer(client, &response, None);
                }
                None
            }
            Action::Note(note) => {
                self.note(&note);
                None
            }
            Action::Tell(changed) => {
                self.changed(changed);
                None
            }
            Action::Exit { code } => {
                self.end_execs(Signal::TERM);
                let deadline = self.now + GRACE;
                self.farewell.get_or_insert(Farewell { code, deadline });
                None
            }
        }
    }

    fn note(&mut self, note: &Note) {
        self.engine.stale = true;
        if let Note::Reconfigured { changes } = note {
            for change in changes {
                self.log.say(&format!("reload: {change}"));
            }
        }
        let (service, words) = notes::words(note);
        match service {
            Some(service) => self.log.about(service, &words),
            None => self.log.say(&words),
        }
        match note {
            Note::GivenUp { service, .. } => self.verdict(*service, &words),
            Note::Stopping => {
                notify::notify(&self.env, "STOPPING=1\n");
                self.end_execs(Signal::TERM);
            }
            Note::ForegroundFailed { reason } => {
                if !self.log.is_on_stderr() {
                    complain(&format!("holdall-init: {reason}"));
                }
            }
            Note::BoxReady { .. } => notify::notify(&self.env, "READY=1\n"),
            Note::Ready { .. }
            | Note::Exited { .. }
            | Note::Restarting { .. }
            | Note::SpawnFailed { .. }
            | Note::Unhealthy { .. }
            | Note::Recovered { .. }
            | Note::LeftBehind { .. }
            | Note::Missed { .. }
            | Note::StopCommandFailed { .. }
            | Note::Reconfigured { .. }
            | Note::KillAfterTimeout { .. } => {}
        }
    }

    /// A service is given up: its last lines once more, beside the verdict.
    fn verdict(&mut self, id: ServiceId, words: &str) {
        let Some(name) = self.service(id).map(|service| service.name.clone()) else {
            return;
        };
        let last = self.log.last_words(id, LAST_WORDS);
        if last.is_empty() {
            self.log.about(id, "it has said nothing");
        } else {
            self.log.about(id, "the last lines of its log:");
        }
        let mut text = format!("holdall-init: {name}: {words}\n");
        for line in last {
            self.log.about(id, &format!("  {line}"));
            text.push_str(&format!("  {name} | {line}\n"));
        }
        if !self.log.is_on_stderr() {
            complain(text.trim_end());
        }
    }

    /// Ends what clients have running. A shell ignores TERM but not the end of
    /// its terminal.
    pub(crate) fn end_execs(&self, signal: Signal) {
        for (pid, role) in &self.children {
            if let Role::Exec { terminal, .. } = role {
                signal_group(*pid, signal);
                if *terminal {
                    signal_group(*pid, Signal::HUP);
                }
            }
        }
    }

    /// The exit code, once nothing is left to wait for.
    pub(crate) fn over(&mut self) -> Option<u8> {
        let Farewell { code, deadline } = *self.farewell.as_ref()?;
        if !self.children.is_empty() && self.now < deadline {
            return None;
        }
        self.end_execs(Signal::KILL);
        self.sweep();
        self.sockets.unlink();
        self.cgroups.finish();
        self.log.finish();
        Some(code)
    }

    /// Not PID 1: what is left behind would outlive us. (For PID 1 the kernel
    /// sees to it.)
    fn sweep(&self) {
        if std::process::id() == 1 || !lineage::proc_is_ours() {
            return;
        }
        // One that forks while it is looked for is found in the next round; one
        // that does so forever is left after these.
        for _ in 0..10 {
            let scan = lineage::scan(None);
            if scan.found.is_empty() && !scan.uncertain {
                return;
            }
            for found in scan.found {
                let _ = sys::pidfd_signal(&found.handle, Signal::KILL);
            }
        }
    }

    /// Kills in the background what a main process has left behind.
    pub(crate) fn clear_behind(&mut self, mark: Option<Mark>) {
        if let Some(mark) = mark {
            let prey = Prey {
                leader: None,
                mark: Some(mark),
                cgroup: None,
            };
            self.kills.begin(self.now, Target::Loose(mark), prey);
        }
    }
}

pub(crate) fn spawn_failed(service: ServiceId, error: &SpawnError) -> Event {
    Event::SpawnFailed {
        service,
        reason: error.to_string(),
        code: error.code(),
    }
}

/// A line to stderr, where a person or an engine looks first.
pub(crate) fn complain(text: &str) {
    crate::log::sink::write_stderr(text);
}
