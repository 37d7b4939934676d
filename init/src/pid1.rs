//! The loop: wait, turn what happened into events, do what the supervisor
//! decides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;

use holdall_protocol::Signal;
use holdall_protocol::manifest::{Manifest, Service};
use holdall_supervise::{Event, ServiceId, Supervisor, Timestamp};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::unistd::{Pid, getpgid};

use crate::cgroup::{Cgroup, Cgroups};
use crate::clock::{Clock, Watch};
use crate::config::Origin;
use crate::control::Control;
use crate::environment::Environment;
use crate::errand::Errands;
use crate::events::Events;
use crate::kill::{Kills, Target, signal_group};
use crate::lineage::{Mark, Marks};
use crate::log::Log;
use crate::log::pipes::Pipes;
use crate::notices::{Named, Notices, Store};
use crate::notify::Engine;
use crate::perform::Farewell;
use crate::poll::{Poll, Ready, Token};
use crate::probe::Probes;
use crate::signals::{Forwarding, Signals};
use crate::sockets::Sockets;
use crate::spawn::Starting;
use crate::sys;
use crate::terminal::Arrangement;

/// Services on their way to exec at a time: enough to keep every processor
/// busy, few enough that their environments don't add up.
const STARTS_AT_ONCE: usize = 8;

/// Whose main process a child is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Service(ServiceId),
    Foreground,
    Probe { number: u64, mark: Option<Mark> },
    Errand { number: u64, mark: Option<Mark> },
    Exec { number: u64, terminal: bool },
}

/// What init holds of a service beside what the supervisor knows.
#[derive(Debug, Default)]
pub(crate) struct Instance {
    /// Its main process, while it is not reaped.
    pub(crate) pid: Option<i32>,
    pub(crate) mark: Option<Mark>,
    pub(crate) cgroup: Option<Cgroup>,
    /// Where a start that takes long still reports.
    pub(crate) late: Option<OwnedFd>,
    /// The process that it named as its main one, while the one that was
    /// started lives.
    pub(crate) named: Option<Named>,
    /// That its main process ended was told, though the one that was started
    /// still lives.
    pub(crate) end_is_told: bool,
}

impl Instance {
    /// The number of its main process.
    pub(crate) fn main(&self) -> Option<i32> {
        let named = self.named.as_ref();
        let named = named.filter(|named| sys::pidfd_is_there(&named.handle));
        named.map(|named| named.pid).or(self.pid)
    }

    /// Signals its main process.
    pub(crate) fn signal_main(&self, signal: Signal) {
        let named = self.named.as_ref();
        let told = named.map(|named| sys::pidfd_signal(&named.handle, signal));
        if let (None | Some(Err(_)), Some(pid)) = (told, self.pid) {
            // It is not reaped, so the number is its own.
            let _ = sys::kill(pid, signal);
        }
    }

    /// Signals all that it consists of, as far as it has not gone its own way,
    /// and lets it go on, so that a stopped process hears the signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let Some(pid) = self.pid else { return };
        signal_group(pid, signal);
        let group = |pid| getpgid(Some(Pid::from_raw(pid))).map(Pid::as_raw);
        if let Some(named) = &self.named
            && group(named.pid) != Ok(pid)
        {
            for signal in [signal, Signal::CONT] {
                let _ = sys::pidfd_signal(&named.handle, signal);
            }
        }
    }
}

/// The foreground command.
pub(crate) struct Foreground {
    pub(crate) command: Vec<Vec<u8>>,
    pub(crate) terminal: Arrangement,
    pub(crate) forwarding: Forwarding,
    /// Forwarded signals go to its main process alone.
    pub(crate) single_child: bool,
    pub(crate) pid: Option<i32>,
    pub(crate) mark: Option<Mark>,
}

/// The whole init.
pub(crate) struct Pid1 {
    pub(crate) clock: Clock,
    pub(crate) now: Timestamp,
    pub(crate) poll: Poll,
    pub(crate) signals: Signals,
    pub(crate) supervisor: Supervisor,
    /// As the file and its profile say it; the supervisor has it expanded.
    pub(crate) base: Manifest,
    /// Where the file is read again.
    pub(crate) origin: Origin,
    pub(crate) sockets: Sockets,
    /// Services that start when something comes to their sockets.
    pub(crate) awaiting: BTreeSet<ServiceId>,
    pub(crate) errands: Errands,
    /// Where there is a job that goes by the wall clock.
    pub(crate) clock_watch: Option<Watch>,
    pub(crate) log: Log,
    pub(crate) events: Events,
    pub(crate) pipes: Pipes,
    pub(crate) children: BTreeMap<i32, Role>,
    pub(crate) instances: Vec<Instance>,
    /// Children of services on their way to exec. Empty whenever init waits.
    pub(crate) starting: VecDeque<(ServiceId, Starting)>,
    pub(crate) foreground: Option<Foreground>,
    pub(crate) kills: Kills,
    pub(crate) probes: Probes,
    pub(crate) notices: Notices,
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) control: Control,
    pub(crate) marks: Option<Marks>,
    pub(crate) cgroups: Cgroups,
    /// As init was given it.
    pub(crate) env: Environment,
    /// As its children get it.
    pub(crate) child_env: Environment,
    pub(crate) null: OwnedFd,
    /// Of requests and of programs under way.
    pub(crate) next_number: u64,
    /// More children may wait to be reaped.
    pub(crate) reap_more: bool,
    /// The sink is being watched.
    pub(crate) sink_watched: bool,
    pub(crate) farewell: Option<Farewell>,
    /// Where the control socket lies.
    pub(crate) run_dir: Option<std::path::PathBuf>,
}

impl Pid1 {
    /// Runs until everything is over: the exit code.
    pub(crate) fn run(&mut self) -> Result<u8, Errno> {
        self.poll
            .add(&self.signals.fd, Token::Signals, EpollFlags::EPOLLIN)?;
        self.watch_clock();
        self.event(Event::Boot);
        loop {
            self.send_out();
            if let Some(code) = self.over() {
                return Ok(code);
            }
            let until = self.next_wakeup();
            let ready = self.poll.wait(self.now, until)?;
            self.now = self.clock.now();
            self.log.set_time(self.now);
            for ready in ready {
                self.dispatch(ready);
            }
            self.hear_log();
            self.reap();
            self.due();
            self.relieve();
        }
    }

    /// Tells the supervisor, and does what it wants done.
    pub(crate) fn event(&mut self, event: Event) {
        self.supervisor.handle(self.now, event);
        self.act();
    }

    pub(crate) fn act(&mut self) {
        loop {
            self.relieve();
            let event = match self.supervisor.poll_action() {
                Some(action) => self.perform(action),
                None if self.starting.is_empty() => return,
                None => self.finish_start(),
            };
            let event = match event {
                None if self.starting.len() >= STARTS_AT_ONCE => self.finish_start(),
                event => event,
            };
            if let Some(event) = event {
                // A start takes its time.
                self.now = self.clock.now();
                self.supervisor.handle(self.now, event);
            }
        }
    }

    /// Lets go of what can be done without, where memory has run short.
    fn relieve(&mut self) {
        if sys::memory_ran_short() {
            self.log.relieve();
            sys::refill_memory();
        }
    }

    fn dispatch(&mut self, ready: Ready) {
        match ready.token {
            Token::Signals => self.take_signals(),
            Token::Pipes => self.pipes.read(&mut self.log),
            // It is written at the end of the turn.
            Token::Sink => {
                if let Some(sink) = self.log.sink() {
                    sink.made_room();
                }
            }
            Token::Listener(index) => self.control.accept(&self.poll, index, self.now),
            Token::Client(id) => {
                let gone = self.control.ready(&self.poll, id, ready.flags, self.now);
                self.client_gone(gone);
            }
            Token::Demand(socket) => self.take_demand(socket),
            Token::Clock => {
                if let Some(watch) = &self.clock_watch {
                    watch.again();
                    self.tell_time();
                }
            }
            Token::Probe(number) => {
                if let Some((service, outcome)) = self.probes.ready(&self.poll, self.now, number) {
                    self.event(Event::Probed { service, outcome });
                }
            }
            Token::Notice(service) => self.hear(ServiceId(service)),
            Token::Announcement(service) => self.hear_line(ServiceId(service)),
            Token::Stored(number) => self.store.hung_up(&self.poll, number),
        }
    }

    /// When to wake up without anybody's doing: never, while nothing is due.
    fn next_wakeup(&mut self) -> Option<Timestamp> {
        if self.reap_more || self.control.has_unfinished() || self.has_hungry() {
            return Some(self.now);
        }
        let stuck = self.log.sink().and_then(|sink| sink.stuck_at());
        let times = [
            self.supervisor.poll_timeout(),
            self.kills.next(),
            self.probes.next_deadline(),
            self.errands.next_deadline(),
            self.control.next_deadline(),
            self.farewell.as_ref().map(|farewell| farewell.deadline),
            stuck,
        ];
        times.into_iter().flatten().min()
    }

    /// Everything whose time has come.
    fn due(&mut self) {
        if self
            .supervisor
            .poll_timeout()
            .is_some_and(|at| at <= self.now)
        {
            self.supervisor.handle_timeout(self.now);
            self.act();
        }
        for expired in self.probes.expired(&self.poll, self.now) {
            if let Some(pid) = expired.pid {
                crate::kill::kill_group(pid);
            }
            let outcome = Err(expired.reason);
            self.event(Event::Probed {
                service: expired.service,
                outcome,
            });
        }
        while let Some((service, question)) = self.probes.next_in_queue() {
            if let Some(event) = self.probe(service, question) {
                self.event(event);
            }
        }
        self.expire_errands();
        for id in self.control.expired(self.now) {
            let gone = self.control.close(&self.poll, id);
            self.client_gone(gone);
        }
        self.requests();
        let children = &self.children;
        for target in self
            .kills
            .rounds(self.now, |pid| children.contains_key(&pid))
        {
            match target {
                Target::Service(service) => {
                    self.pipes.close_all(service, &mut self.log);
                    self.notices.close(&self.poll, service);
                    self.event(Event::Cleared { service });
                }
                Target::Foreground => self.event(Event::ForegroundCleared),
                Target::Loose(_) => {}
            }
        }
    }

    /// What was said in this turn goes out, as far as it is taken.
    fn send_out(&mut self) {
        self.tell_engine();
        self.log.flush();
        if let Some(sink) = self.log.sink() {
            let waits = sink.waiting() > 0;
            if let Some(fd) = sink.watched().filter(|_| waits != self.sink_watched) {
                if waits {
                    let _ = self.poll.add(fd, Token::Sink, EpollFlags::EPOLLOUT);
                } else {
                    self.poll.remove(fd);
                }
                self.sink_watched = waits;
            }
        }
        self.pipes.watch(&self.poll, &self.log);
        self.feed_readers();
        self.feed_events();
    }

    pub(crate) fn service(&self, id: ServiceId) -> Option<&Service> {
        self.supervisor.service(id)
    }

    pub(crate) fn instance(&mut self, id: ServiceId) -> Option<&mut Instance> {
        self.instances.get_mut(usize::try_from(id.0).ok()?)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
