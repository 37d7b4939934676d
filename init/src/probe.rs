//! Asking services for their health: many at a time, each bounded in time and
//! in what it may say.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use holdall_protocol::Millis;
use holdall_protocol::control::Exit;
use holdall_protocol::manifest::{HttpProbe, HttpTarget, Probe};
use holdall_supervise::{ServiceId, Timestamp};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, connect, getsockopt, send,
    socket, sockopt,
};
use nix::unistd;

use crate::http::{self, Answer};
use crate::last_line::LastLine;
use crate::poll::{Poll, Token};
use crate::spawn::words;
use crate::sys;

/// Probes at a time; more wait their turn. A box whose hundred services are
/// all asked at once must not fork a hundred commands at once.
const MAX_RUNNING: usize = 32;

/// What a probe found: the text says why it failed.
pub(crate) type Outcome = Result<(), String>;

enum How {
    /// A command: its process and its output.
    Exec {
        pid: i32,
        output: OwnedFd,
        last: LastLine,
    },
    /// A connection that is being made.
    Tcp { connection: OwnedFd },
    /// A request that is being sent, or an answer that is being read.
    Http {
        connection: OwnedFd,
        request: Vec<u8>,
        answer: Vec<u8>,
    },
}

struct Running {
    service: ServiceId,
    /// As it is called in a reason.
    name: String,
    timeout: Millis,
    deadline: Timestamp,
    how: How,
}

/// All probes under way.
#[derive(Default)]
pub(crate) struct Probes {
    running: BTreeMap<u64, Running>,
    queue: VecDeque<ServiceId>,
    next: u64,
}

impl Probes {
    /// Whether one more may start now; if not, its turn comes.
    pub(crate) fn admit(&mut self, service: ServiceId) -> bool {
        let free = self.running.len() < MAX_RUNNING;
        if !free {
            self.queue.push_back(service);
        }
        free
    }

    /// Whose turn it is.
    pub(crate) fn next_in_queue(&mut self) -> Option<ServiceId> {
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

    /// Takes over a command that was started with `output` as its stdout and
    /// stderr.
    pub(crate) fn add_exec(
        &mut self,
        poll: &Poll,
        number: u64,
        due: Due,
        pid: i32,
        output: OwnedFd,
    ) -> Result<(), Errno> {
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        poll.add(&output, Token::Probe(number), EpollFlags::EPOLLIN)?;
        self.add(
            number,
            due,
            How::Exec {
                pid,
                output,
                last: LastLine::default(),
            },
        );
        Ok(())
    }

    /// Begins to connect.
    pub(crate) fn add_connection(
        &mut self,
        poll: &Poll,
        number: u64,
        due: Due,
        probe: &Probe,
    ) -> Result<(), String> {
        let (address, request) = match probe {
            Probe::Tcp(address) => (*address, None),
            Probe::Http(HttpProbe {
                to: HttpTarget::Tcp(address),
                host,
                path,
                ..
            }) => (*address, Some(http::request(host, path))),
            Probe::Exec(_) | Probe::File(_) | Probe::Http(_) => {
                return Err(format!("{}: no TCP connection is made for it", due.name));
            }
        };
        let fail = |errno| format!("{}: {}", due.name, words(errno));
        let connection = begin_connect(address).map_err(fail)?;
        poll.add(&connection, Token::Probe(number), EpollFlags::EPOLLOUT)
            .map_err(fail)?;
        let how = match request {
            None => How::Tcp { connection },
            Some(request) => How::Http {
                connection,
                request,
                answer: Vec::new(),
            },
        };
        self.add(number, due, how);
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
    pub(crate) fn ready(&mut self, poll: &Poll, number: u64) -> Option<(ServiceId, Outcome)> {
        let running = self.running.get_mut(&number)?;
        let outcome = match &mut running.how {
            How::Exec { output, last, .. } => {
                if read_output(output, last) {
                    // Nobody writes any more; the exit is what counts.
                    poll.remove(&*output);
                }
                return None;
            }
            How::Tcp { connection } => connected(connection).map_err(words),
            How::Http {
                connection,
                request,
                answer,
            } => exchange(poll, number, connection, request, answer)?,
        };
        let running = self.remove(poll, number)?;
        let name = running.name;
        Some((
            running.service,
            outcome.map_err(|reason| format!("{name}: {reason}")),
        ))
    }

    /// Its command has ended: the outcome.
    pub(crate) fn exited(
        &mut self,
        poll: &Poll,
        number: u64,
        exit: Exit,
    ) -> Option<(ServiceId, Outcome)> {
        let mut running = self.remove(poll, number)?;
        let mut words = String::new();
        if let How::Exec { output, last, .. } = &mut running.how {
            read_output(output, last);
            words = last.text();
        }
        let name = running.name;
        let outcome = match (exit.success(), words.as_str()) {
            (true, _) => Ok(()),
            (false, "") => Err(format!("{name}: {exit}")),
            (false, words) => Err(format!("{name}: {exit}: {words}")),
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
        self.queue.retain(|queued| *queued != service);
        let found = self
            .running
            .iter()
            .find(|(_, running)| running.service == service);
        let number = found.map(|(number, _)| *number)?;
        self.remove(poll, number)?.pid()
    }

    fn remove(&mut self, poll: &Poll, number: u64) -> Option<Running> {
        let running = self.running.remove(&number)?;
        match &running.how {
            How::Exec { output: fd, .. }
            | How::Tcp { connection: fd }
            | How::Http { connection: fd, .. } => poll.remove(fd),
        }
        Some(running)
    }
}

impl Running {
    fn pid(&self) -> Option<i32> {
        match self.how {
            How::Exec { pid, .. } => Some(pid),
            How::Tcp { .. } | How::Http { .. } => None,
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

fn begin_connect(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let connection = socket(family, SockType::Stream, flags, None)?;
    match connect(connection.as_raw_fd(), &SockaddrStorage::from(address)) {
        Err(Errno::EINPROGRESS) | Ok(()) => Ok(connection),
        Err(errno) => Err(errno),
    }
}

fn connected(connection: &OwnedFd) -> Result<(), Errno> {
    match getsockopt(connection, sockopt::SocketError)? {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

/// Sends and reads what can be; none while more is to come.
fn exchange(
    poll: &Poll,
    number: u64,
    connection: &OwnedFd,
    request: &mut Vec<u8>,
    answer: &mut Vec<u8>,
) -> Option<Outcome> {
    if !request.is_empty() {
        if let Err(errno) = connected(connection) {
            return Some(Err(words(errno)));
        }
        match send(connection.as_raw_fd(), request, MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => drop(request.drain(..sent)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Some(Err(words(errno))),
        }
        if request.is_empty() {
            poll.change(connection, Token::Probe(number), EpollFlags::EPOLLIN);
        }
        return None;
    }
    let mut buffer = [0; 512];
    match unistd::read(connection, &mut buffer) {
        Ok(0) => Some(Err("closed the connection without an answer".to_owned())),
        Ok(read) => {
            answer.extend_from_slice(buffer.get(..read).unwrap_or(&[]));
            match http::answer(answer) {
                Answer::Partial => None,
                Answer::Healthy => Some(Ok(())),
                Answer::Unhealthy(reason) => Some(Err(reason)),
            }
        }
        Err(Errno::EAGAIN | Errno::EINTR) => None,
        Err(errno) => Some(Err(words(errno))),
    }
}

/// Reads what is there at this moment; true at the end.
fn read_output(output: &OwnedFd, last: &mut LastLine) -> bool {
    let mut left = sys::readable_bytes(output).unwrap_or(0).max(1);
    let mut buffer = [0; 4096];
    while left > 0 {
        match unistd::read(output, &mut buffer) {
            Ok(0) => return true,
            Ok(read) => {
                last.push(buffer.get(..read).unwrap_or(&[]));
                left = left.saturating_sub(read);
            }
            Err(_) => return false,
        }
    }
    false
}
