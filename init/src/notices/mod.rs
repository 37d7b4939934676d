//! Where services say something of themselves: a socket for `sd_notify(3)`
//! each, a descriptor for a line, or a line of the log.
//!
//! **One socket a service, with a new name for each of its lives.** What comes
//! in belongs to that life: a message that is late finds nobody, one that was
//! sent just before its sender's end is read before that end is told, and one
//! service's flood fills no other's queue. The names are abstract: they need no
//! folder that a service of another user could reach on a read-only root, and
//! leave nothing behind. Whoever shares the network namespace can send to them,
//! and whoever is not of the service is not heeded.

mod hear;
mod log_line;
mod sender;
mod store;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use holdall_protocol::manifest::{Dialect, Service};
use holdall_supervise::notice::MAX_MESSAGE;
use holdall_supervise::{Pattern, ServiceId};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::unistd;

use crate::ancillary::{self, Received};
use crate::environment::Environment;
use crate::poll::{Poll, Token};
use crate::sys;

pub(crate) use log_line::Watches;
pub(crate) use store::Store;

/// Another main process than the one that was started, as `MAINPID` named it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) pid: i32,
    /// It, and not whoever has its number later.
    pub(crate) handle: OwnedFd,
}

/// Where one service is heard, in one of its lives.
#[derive(Default)]
struct Line {
    socket: Option<OwnedFd>,
    /// Where a line is waited for.
    descriptor: Option<OwnedFd>,
    /// As whom it runs; init's own where none.
    owner: Option<u32>,
    /// Something was said about what is not heeded: once is enough.
    complained: bool,
}

/// All of them.
pub(crate) struct Notices {
    lines: BTreeMap<ServiceId, Line>,
    /// Keeps the names of inits side by side apart.
    salt: u64,
    opened: u64,
}

/// What a program is given so that it can be heard.
#[derive(Default)]
pub(crate) struct Given {
    /// Names of variables and their values.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Where it writes its line, and which descriptor that is to become.
    pub(crate) announce: Option<(OwnedFd, RawFd)>,
    /// The line of its log that is waited for.
    pub(crate) pattern: Option<Pattern>,
}

impl Given {
    /// The environment with the variables in it.
    pub(crate) fn environment(&self, base: &Environment) -> Environment {
        let mut env = base.clone();
        for (name, value) in &self.variables {
            env.set(*name, value.as_str());
        }
        env
    }
}

impl Notices {
    pub(crate) fn new(salt: u64) -> Self {
        Self {
            lines: BTreeMap::new(),
            salt,
            opened: 0,
        }
    }

    /// Opens what the service says itself by, for a new life of it.
    pub(crate) fn open(
        &mut self,
        poll: &Poll,
        id: ServiceId,
        service: &Service,
    ) -> Result<Given, Errno> {
        self.close(poll, id);
        let mut given = Given::default();
        let mut line = Line::default();
        let by = service.ready.as_ref().map(|ready| &ready.by);
        match by {
            Some(Dialect::Fd(number)) => {
                let (read, write) = unistd::pipe2(OFlag::O_CLOEXEC)?;
                fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                poll.add(&read, Token::Announcement(id.0), EpollFlags::EPOLLIN)?;
                line.descriptor = Some(read);
                let number = RawFd::try_from(*number).map_err(|_| Errno::EBADF)?;
                given.announce = Some((write, number));
            }
            Some(Dialect::Log(pattern)) => given.pattern = Some(Pattern::new(pattern)),
            Some(Dialect::After(_) | Dialect::Notify | Dialect::Asked(_)) | None => {}
        }
        if by == Some(&Dialect::Notify) || service.watchdog.is_some() {
            let (socket, name) = self.listen()?;
            poll.add(&socket, Token::Notice(id.0), EpollFlags::EPOLLIN)?;
            line.socket = Some(socket);
            given.variables.push(("NOTIFY_SOCKET", name));
        }
        if let Some(every) = service.watchdog {
            let micros = every.0.saturating_mul(1000).to_string();
            given.variables.push(("WATCHDOG_USEC", micros));
        }
        if line.socket.is_some() || line.descriptor.is_some() {
            self.lines.insert(id, line);
        }
        Ok(given)
    }

    /// A socket with a name that nobody has: it, and NOTIFY_SOCKET.
    fn listen(&mut self) -> Result<(OwnedFd, String), Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        sys::ask_for_sender(&fd)?;
        loop {
            self.opened += 1;
            let name = format!("holdall/{:016x}/{}", self.salt, self.opened);
            match bind(fd.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?) {
                // Somebody squats on it: the numbers of others are not ours.
                Err(Errno::EADDRINUSE) => self.salt = self.salt.wrapping_add(1),
                done => return done.map(|()| (fd, format!("@{name}"))),
            }
        }
    }

    /// As whom the program runs.
    pub(crate) fn set_owner(&mut self, id: ServiceId, owner: Option<u32>) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.owner = owner;
        }
    }

    /// The service's life is over: what was sent and not heard goes.
    pub(crate) fn close(&mut self, poll: &Poll, id: ServiceId) {
        let Some(line) = self.lines.remove(&id) else {
            return;
        };
        for fd in line.socket.iter().chain(&line.descriptor) {
            poll.remove(fd);
        }
    }

    /// Services that can say something.
    fn heard(&self) -> impl Iterator<Item = ServiceId> {
        self.lines.keys().copied()
    }

    /// The next message to a service's socket, if one waits: its bytes, and
    /// what came with them.
    fn receive(&self, id: ServiceId) -> Option<(Vec<u8>, Received)> {
        let socket = self.lines.get(&id)?.socket.as_ref()?;
        // One byte more than may be: what is longer is seen to be so.
        let mut buffer = vec![0; MAX_MESSAGE + 1];
        let received = ancillary::receive(socket, &mut buffer).ok()?;
        buffer.truncate(received.bytes);
        Some((buffer, received))
    }

    /// Reads from the descriptor of a service: whether a line has come; none
    /// while more is to come. After either it is closed.
    fn announced(&mut self, poll: &Poll, id: ServiceId) -> Option<bool> {
        let line = self.lines.get_mut(&id)?;
        let mut buffer = [0; 512];
        let came = match unistd::read(line.descriptor.as_ref()?, &mut buffer) {
            Ok(0) => false,
            Ok(read) if buffer.iter().take(read).any(|byte| *byte == b'\n') => true,
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => return None,
            Err(_) => false,
        };
        let descriptor = line.descriptor.take();
        descriptor.iter().for_each(|fd| poll.remove(fd));
        Some(came)
    }
}
