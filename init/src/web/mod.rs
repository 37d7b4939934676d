//! The program behind `[init] listener`: health, metrics and a page to look at,
//! over HTTP.
//!
//! It is a process of its own that init starts and starts again, without any
//! privilege (`confine`): whoever breaks in finds a process that may read what
//! it shows anyway. All it has is the socket to listen on and a connection to
//! init that may look and not touch. Init answers it as any other client, at
//! most a few times a second (`upstream`), and never waits for it.

mod confine;
mod connection;
mod metrics;
mod page;
mod probes;
mod process;
mod request;
mod response;
mod upstream;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use holdall_protocol::Moment;
use holdall_protocol::manifest::LISTENER_SOCKET;
use holdall_supervise::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;
use nix::sys::prctl;
use nix::sys::socket::{SockFlag, accept4};

use crate::client::connection::ClientError;
use crate::clock::{Clock, wall_micros};
use crate::environment::Environment;
use crate::handed::HandedError;
use crate::poll::{Poll, Token};
use crate::{handed, sys};
use confine::ConfineError;
use connection::{Client, Turn};
use process::Units;
use request::{Refusal, Request};
use response::{Content, Kind};
use upstream::Upstream;

/// The name, in LISTEN_FDNAMES, of the connection to init.
pub(crate) const STATUS_FD_NAME: &str = "holdall-status";

/// Accepted in one turn of the loop.
const ACCEPT_BATCH: usize = 64;

/// The token of the connection to init; clients are counted from 1.
const INIT: u64 = 0;

/// Why it ends. Init starts it again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error(transparent)]
    Handed(#[from] HandedError),
    #[error("cannot listen: this program is for init to start, by `[init] listener`")]
    NotHanded,
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error("cannot ask init")]
    Init(#[source] ClientError),
    #[error("cannot {verb}")]
    System {
        verb: &'static str,
        #[source]
        errno: Errno,
    },
}

/// The whole program: its exit code.
pub(crate) fn run() -> u8 {
    // The kernel has the name of the file it was executed from. Only a name.
    let _ = prctl::set_name(c"holdall-listener");
    match Server::begin().and_then(|mut server| server.serve()) {
        Ok(()) => 0,
        Err(error) => {
            crate::say(&error);
            crate::FAILURE
        }
    }
}

struct Server {
    clock: Clock,
    now: Timestamp,
    poll: Poll,
    socket: OwnedFd,
    init: Upstream,
    clients: BTreeMap<u64, Client>,
    next: u64,
    most: usize,
    units: Units,
    host: String,
    /// What takes long to make, of the answer of init with this number.
    made: (u64, BTreeMap<&'static str, Content>),
}

fn system(verb: &'static str) -> impl Fn(Errno) -> WebError {
    move |errno| WebError::System { verb, errno }
}

impl Server {
    fn begin() -> Result<Self, WebError> {
        let handed = handed::descriptors(&Environment::inherited())?;
        let mut handed: BTreeMap<String, OwnedFd> = handed.into_iter().collect();
        let mut take = |name: &str| handed.remove(name).ok_or(WebError::NotHanded);
        let (socket, init) = (take(LISTENER_SOCKET)?, take(STATUS_FD_NAME)?);
        let most = confine::confine()?;
        // Init has the same open file, and never accepts from it.
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(system("listen"))?;
        let init = Upstream::over(init).map_err(WebError::Init)?;
        let poll = Poll::new().map_err(system("make an epoll"))?;
        let watch = system("watch a socket");
        poll.add(&socket, Token::Listener(0), EpollFlags::EPOLLIN)
            .map_err(&watch)?;
        poll.add(&init, Token::Client(INIT), EpollFlags::EPOLLRDHUP)
            .map_err(&watch)?;
        let host = nix::unistd::gethostname().unwrap_or_default();
        let clock = Clock::start();
        Ok(Self {
            now: clock.now(),
            clock,
            poll,
            socket,
            init,
            clients: BTreeMap::new(),
            next: INIT,
            most,
            units: Units::of_this_kernel(),
            host: host.to_string_lossy().into_owned(),
            made: (0, BTreeMap::new()),
        })
    }

    /// Until init hangs up.
    fn serve(&mut self) -> Result<(), WebError> {
        loop {
            let until = self.clients.values().map(|client| client.deadline).min();
            let ready = self.poll.wait(self.now, until);
            let ready = ready.map_err(system("wait for events"))?;
            self.now = self.clock.now();
            for ready in ready {
                match ready.token {
                    Token::Client(INIT) => return Ok(()),
                    Token::Client(id) => self.turn(id),
                    _ => self.accept()?,
                }
            }
            let now = self.now;
            // What is closed leaves the epoll by itself: there is no copy.
            self.clients.retain(|_, client| client.deadline > now);
        }
    }

    fn accept(&mut self) -> Result<(), WebError> {
        for _ in 0..ACCEPT_BATCH {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = match accept4(self.socket.as_raw_fd(), flags) {
                Ok(number) => sys::adopt(number),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::ECONNABORTED | Errno::EINTR) => None,
                Err(errno) => return Err(system("accept a connection")(errno)),
            };
            let Some(fd) = fd else { continue };
            if self.clients.len() >= self.most {
                // The one that has been here for longest has had its chance.
                self.clients.pop_first();
            }
            self.next += 1;
            let client = Client::new(fd, self.now);
            let added = self
                .poll
                .add(&client, Token::Client(self.next), client.wanted());
            if added.is_ok() {
                self.clients.insert(self.next, client);
            }
        }
        Ok(())
    }

    fn turn(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let before = client.wanted();
        let mut turn = client.turn(self.now);
        if let Turn::Asks(request) = turn {
            let content = self.content(&request);
            let head = content.head(Moment(wall_micros()));
            let head_only = request.is_ok_and(|request| request.head_only);
            let body = if head_only {
                Rc::from([])
            } else {
                content.body
            };
            let Some(client) = self.clients.get_mut(&id) else {
                return;
            };
            turn = client.answer(self.now, head, body);
        }
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        if let Turn::Over = turn {
            self.clients.remove(&id);
        } else if client.wanted() != before {
            self.poll.change(client, Token::Client(id), client.wanted());
        }
    }

    fn content(&mut self, request: &Result<Request, Refusal>) -> Content {
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return refused(*refusal),
        };
        let path = match request.path.as_str() {
            "/healthz" | "/readyz" | "/livez" => return self.probe(request),
            "/metrics" => "/metrics",
            "/" => "/",
            _ => {
                let words = "not found: there are / /healthz /readyz /livez and /metrics";
                return Content::line(404, words);
            }
        };
        let (number, answer) = self.init.snapshot(self.now);
        if self.made.0 != number {
            self.made = (number, BTreeMap::new());
        }
        if let Some(made) = self.made.1.get(path) {
            return made.clone();
        }
        let status = if answer.is_ok() { 200 } else { 503 };
        let content = match (path, answer) {
            ("/metrics", Ok(snapshot)) => {
                Content::new(status, Kind::Metrics, metrics::text(snapshot, self.units))
            }
            ("/metrics", Err(reason)) => Content::line(status, reason),
            (_, answer) => {
                let page = page::html(answer, &self.host, Moment(wall_micros()));
                Content::new(status, Kind::Html, page)
            }
        };
        self.made.1.insert(path, content.clone());
        content
    }

    fn probe(&mut self, request: &Request) -> Content {
        match self.init.snapshot(self.now).1 {
            Ok(snapshot) => probes::verdict(&request.path, snapshot).map_or_else(
                || Content::line(404, "not found"),
                |verdict| {
                    let services = snapshot.status.services.as_slice();
                    probes::answer(&request.path, verdict, services, request.verbose)
                },
            ),
            Err(reason) => Content::line(503, &format!("init does not answer: {reason}")),
        }
    }
}

fn refused(refusal: Refusal) -> Content {
    let words = match refusal {
        Refusal::Malformed => "this is not HTTP",
        Refusal::Method => "only GET and HEAD are answered",
        Refusal::Body => "no body is taken",
        Refusal::LineTooLong => "the first line is too long",
        Refusal::HeadTooLong => "the head is too long",
        Refusal::Version => "only HTTP/1.1 and HTTP/1.0 are spoken",
    };
    Content::line(refusal.status(), words)
}
