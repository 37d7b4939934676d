//! Asking services for their health: many at a time, each bounded in time and
//! in what it may say.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use holdall_protocol::Millis;
use holdall_protocol::control::{Counts, Exit};
use holdall_protocol::manifest::{HttpProbe, HttpTarget, Probe};
use holdall_supervise::{Question, ServiceId, Timestamp};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;
use nix::unistd;

use crate::connection::Connection;
use crate::poll::{Poll, Token};
use crate::sys;
use crate::tail::Tail;

/// Probes at a time; more wait their turn. A box whose hundred services are
/// all asked at once must not fork a hundred commands at once.
const MAX_RUNNING: usize = 32;

/// What a probe found: the text says why it failed in one line, and below it
/// what it printed.
pub(crate) type Outcome = Result<(), String>;

enum How {
    /// A process: a command, or one that looks for a file. And its output.
    Process {
        pid: i32,
        output: OwnedFd,
        tail: Tail,
    },
    /// A connection.
    Connection(Connection),
}

struct Running {
    service: ServiceId,
    /// As it is called in a reason.
    name: String,
    timeout: Millis,
    deadline: Timestamp,
    how: How,
}

/// What came of the probes of a service, ever.
#[derive(Default)]
struct Answers {
    good: u64,
    failed: u64,
    took: Millis,
}

/// All probes under way.
#[derive(Default)]
pub(crate) struct Probes {
    running: BTreeMap<u64, Running>,
    answers: BTreeMap<ServiceId, Answers>,
    queue: VecDeque<(ServiceId, Question)>,
    next: u64,
}

impl Probes {
    /// Whether one more may start now; if not, its turn comes.
    pub(crate) fn admit(&mut self, service: ServiceId, question: Question) -> bool {
        let free = self.running.len() < MAX_RUNNING;
        if !free {
            self.queue.push_back((service, question));
        }
        free
    }

    /// Whose turn it is.
    pub(crate) fn next_in_queue(&mut self) -> Option<(ServiceId, Question)> {
        if self.running.len() >= MAX_RUNNING {
            return None;
        }
        self.queue.pop_front()
    }

    /// A number for a probe that begins.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes over a process that was started with `output` as its stdout and
    /// stderr.
    pub(crate) fn add_process(
        &mut self,
        poll: &Poll,
        number: u64,
        due: Due,
        pid: i32,
        output: OwnedFd,
    ) -> Result<(), Errno> {
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        poll.add(&output, Token::Probe(number), EpollFlags::EPOLLIN)?;
        let tail = Tail::default();
        self.add(number, due, How::Process { pid, output, tail });
        Ok(())
    }

    /// Takes over a connection that is being made.
    pub(crate) fn add_connection(
        &mut self,
        poll: &Poll,
        number: u64,
        due: Due,
        connection: Connection,
    ) -> Result<(), Errno> {
        poll.add(&connection, Token::Probe(number), EpollFlags::EPOLLOUT)?;
        self.add(number, due, How::Connection(connection));
        Ok(())
    }

    fn add(&mut self, number: u64, due: Due, how: How) {
        let Due {
            service,
            name,
            timeout,
            deadline,
        } = due;
        self.running.insert(
            number,
            Running {
                service,
                name,
                timeout,
                deadline,
                how,
            },
        );
    }

    /// Something moved. The outcome, if it has come to one.
    pub(crate) fn ready(
        &mut self,
        poll: &Poll,
        now: Timestamp,
        number: u64,
    ) -> Option<(ServiceId, Outcome)> {
        let running = self.running.get_mut(&number)?;
        let outcome = match &mut running.how {
            How::Process { output, tail, .. } => {
                if read_output(output, tail) {
                    // Nobody writes any more; the exit is what counts.
                    poll.remove(&*output);
                }
                return None;
            }
            How::Connection(connection) => connection.moved(poll, number)?,
        };
        let running = self.remove(poll, number)?;
        self.count(running.service, outcome.is_ok(), running.took(now));
        let name = running.name;
        Some((
            running.service,
            outcome.map_err(|reason| format!("{name}: {reason}")),
        ))
    }

    /// Its process has ended: the outcome.
    pub(crate) fn exited(
        &mut self,
        poll: &Poll,
        now: Timestamp,
        number: u64,
        exit: Exit,
    ) -> Option<(ServiceId, Outcome)> {
        let mut running = self.remove(poll, number)?;
        self.count(running.service, exit.success(), running.took(now));
        let mut tail = Tail::default();
        if let How::Process {
            output, tail: said, ..
        } = &mut running.how
        {
            read_output(output, said);
            tail = std::mem::take(said);
        }
        let name = running.name;
        let outcome = if exit.success() {
            Ok(())
        } else {
            Err(failed(&name, exit, &tail))
        };
        Some((running.service, outcome))
    }

    /// When the next one has taken too long.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.running.values().map(|running| running.deadline).min()
    }

    /// Ends those that have taken too long: whom it was about, what to say, and
    /// the process that is to be killed.
    pub(crate) fn expired(&mut self, poll: &Poll, now: Timestamp) -> Vec<Expired> {
        let late = self
            .running
            .iter()
            .filter(|(_, running)| running.deadline <= now);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        let end = |number| {
            let running = self.remove(poll, number)?;
            self.count(running.service, false, running.took(now));
            let reason = format!("{}: no answer within {}", running.name, running.timeout);
            Some(Expired {
                service: running.service,
                pid: running.pid(),
                reason,
            })
        };
        late.into_iter().filter_map(end).collect()
    }

    /// Forgets the probe of a service; the process that is to be killed.
    pub(crate) fn cancel(&mut self, poll: &Poll, service: ServiceId) -> Option<i32> {
        self.queue.retain(|(queued, _)| *queued != service);
        let found = self
            .running
            .iter()
            .find(|(_, running)| running.service == service);
        let number = found.map(|(number, _)| *number)?;
        self.remove(poll, number)?.pid()
    }

    /// One has come to its answer.
    pub(crate) fn count(&mut self, service: ServiceId, good: bool, took: Millis) {
        let answers = self.answers.entry(service).or_default();
        answers.good += u64::from(good);
        answers.failed += u64::from(!good);
        answers.took = Millis(answers.took.0.saturating_add(took.0));
    }

    /// Puts what is known of the probes of a service into its status.
    pub(crate) fn complete(&self, service: ServiceId, counts: &mut Counts) {
        if let Some(answers) = self.answers.get(&service) {
            counts.probes_good = answers.good;
            counts.probes_failed = answers.failed;
            counts.probe_time = answers.took;
        }
    }

    fn remove(&mut self, poll: &Poll, number: u64) -> Option<Running> {
        let running = self.running.remove(&number)?;
        match &running.how {
            How::Process { output, .. } => poll.remove(output),
            How::Connection(connection) => poll.remove(connection),
        }
        Some(running)
    }
}

impl Running {
    fn took(&self, now: Timestamp) -> Millis {
        let left = self.deadline.since(now);
        Millis(self.timeout.0.saturating_sub(left.0))
    }

    fn pid(&self) -> Option<i32> {
        match self.how {
            How::Process { pid, .. } => Some(pid),
            How::Connection(_) => None,
        }
    }
}

/// Of whom, and until when.
pub(crate) struct Due {
    pub(crate) service: ServiceId,
    pub(crate) name: String,
    pub(crate) timeout: Millis,
    pub(crate) deadline: Timestamp,
}

/// A probe that has taken too long.
pub(crate) struct Expired {
    pub(crate) service: ServiceId,
    pub(crate) pid: Option<i32>,
    pub(crate) reason: String,
}

/// How a probe is called in a reason.
pub(crate) fn describe(probe: &Probe) -> String {
    match probe {
        Probe::Exec(words) => format!("`{}`", words.join(" ")),
        Probe::Tcp(address) => format!("tcp {address}"),
        Probe::File(path) => format!("file {path}"),
        Probe::Http(HttpProbe { to, path, .. }) => match to {
            HttpTarget::Tcp(address) => format!("GET http://{address}{path}"),
            HttpTarget::Unix(socket) => format!("GET {path} at {socket}"),
        },
    }
}

/// What it says of a failure: the reason with its last words, and all that is
/// kept of what it printed.
fn failed(name: &str, exit: Exit, tail: &Tail) -> String {
    let (last, lines) = tail.words();
    let mut text = format!("{name}: {exit}");
    if !last.is_empty() {
        text.push_str(": ");
        text.push_str(&last);
    }
    for line in lines {
        text.push('\n');
        text.push_str(&line);
    }
    text
}

/// Reads what is there at this moment; true at the end.
fn read_output(output: &OwnedFd, tail: &mut Tail) -> bool {
    let mut left = sys::readable_bytes(output).unwrap_or(0).max(1);
    let mut buffer = [0; 4096];
    while left > 0 {
        match unistd::read(output, &mut buffer) {
            Ok(0) => return true,
            Ok(read) => {
                tail.push(buffer.get(..read).unwrap_or(&[]));
                left = left.saturating_sub(read);
            }
            Err(_) => return false,
        }
    }
    false
}
