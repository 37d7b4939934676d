//! Connections ⇄ messages: who may connect, and whose turn it is. What the
//! messages do is not decided here.

pub(crate) mod client;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, OwnedFd};

use holdall_protocol::control::{ErrorKind, Request, Response};
use holdall_supervise::Timestamp;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{SockFlag, accept4, getsockopt, sockopt};

use crate::poll::{Poll, Token};
use crate::sys;
use client::{Authority, Client, Input, State};

/// Connections at a time. The one that has been idle for longest goes when
/// more come.
const MAX_CLIENTS: u64 = 512;

/// Accepted in one turn of the loop.
const ACCEPT_BATCH: usize = 32;

/// Requests of one client in one turn of the loop.
const REQUEST_BATCH: usize = 8;

struct Listener {
    fd: OwnedFd,
    /// Whose end lies inside the box: peers are told apart by their uid.
    /// Otherwise holding the path is the authority.
    checked: bool,
}

/// All connections.
pub(crate) struct Control {
    listeners: Vec<Listener>,
    clients: BTreeMap<u64, Client>,
    next: u64,
    max: usize,
    /// Those whose decoder may hold more whole requests.
    unfinished: BTreeSet<u64>,
    /// A descriptor to spend when no other is left.
    reserve: Option<OwnedFd>,
}

impl Control {
    pub(crate) fn new() -> Self {
        // Clients must not take the descriptors that services need.
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let max = usize::try_from(MAX_CLIENTS.min(limit / 4)).unwrap_or(16);
        let (listeners, clients) = (Vec::new(), BTreeMap::new());
        let unfinished = BTreeSet::new();
        Self {
            listeners,
            clients,
            next: 0,
            max,
            unfinished,
            reserve: reserve(),
        }
    }

    /// Takes connections from a listening socket.
    pub(crate) fn listen(&mut self, poll: &Poll, fd: OwnedFd, checked: bool) -> Result<(), Errno> {
        let index = u64::try_from(self.listeners.len()).unwrap_or(0);
        poll.add(&fd, Token::Listener(index), EpollFlags::EPOLLIN)?;
        self.listeners.push(Listener { fd, checked });
        Ok(())
    }

    /// Someone wants to connect.
    pub(crate) fn accept(&mut self, poll: &Poll, index: u64, now: Timestamp) {
        for _ in 0..ACCEPT_BATCH {
            let listener = usize::try_from(index)
                .ok()
                .and_then(|index| self.listeners.get(index));
            let Some(listener) = listener else { return };
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            if !acceptable(&listener.fd) {
                return;
            }
            let number = match accept4(listener.fd.as_raw_fd(), flags) {
                Ok(number) => number,
                Err(Errno::EMFILE | Errno::ENFILE) => return self.turn_away(index),
                Err(_) => return,
            };
            let Some(fd) = sys::adopt(number) else { return };
            let authority = authority(&fd, listener.checked);
            let mut client = Client::new(fd, authority, now);
            if self.clients.len() >= self.max && !self.evict(poll) {
                client.refuse(ErrorKind::Exhausted, "init has too many connections");
                let _ = client.write(now);
                continue;
            }
            self.next += 1;
            let interest = client.wanted();
            if poll
                .add(&client.fd, Token::Client(self.next), interest)
                .is_ok()
            {
                client.interest = interest;
                self.clients.insert(self.next, client);
                self.settle(poll, self.next, now);
            }
        }
    }

    /// No descriptor is left. A connection that stays in the queue would wake
    /// init for ever, so the reserve is spent on taking it and hanging up.
    fn turn_away(&mut self, index: u64) {
        self.reserve = None;
        let listener = usize::try_from(index)
            .ok()
            .and_then(|index| self.listeners.get(index));
        if let Some(listener) = listener {
            let taken = accept4(listener.fd.as_raw_fd(), SockFlag::SOCK_CLOEXEC);
            drop(taken.ok().and_then(sys::adopt));
        }
        self.reserve = reserve();
    }

    /// Makes room: hangs up on the one that has been idle for longest.
    fn evict(&mut self, poll: &Poll) -> bool {
        let idle = self.clients.iter().filter(|(_, client)| {
            let idle = matches!(client.state, State::Idle | State::Greeting | State::Closing);
            idle && !client.kept
        });
        let oldest = idle
            .min_by_key(|(_, client)| client.active)
            .map(|(id, _)| *id);
        oldest.is_some_and(|id| self.close(poll, id).is_some())
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Client> {
        self.clients.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Client> {
        self.clients.get_mut(&id)
    }

    /// Reads from a client. The state of one that is gone is given back.
    pub(crate) fn ready(
        &mut self,
        poll: &Poll,
        id: u64,
        flags: EpollFlags,
        now: Timestamp,
    ) -> Option<State> {
        let client = self.clients.get_mut(&id)?;
        let gone = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let mut input = Input::Open;
        if flags.contains(EpollFlags::EPOLLIN) {
            input = client.read(now);
        } else if flags.contains(EpollFlags::EPOLLRDHUP) {
            input = Input::Closed;
        }
        // What came before the hang-up is still heard: its end is read last.
        let deaf = flags.intersects(gone) && !client.hears();
        if matches!(input, Input::Closed) || deaf {
            return self.close(poll, id);
        }
        self.unfinished.insert(id);
        self.settle(poll, id, now)
    }

    /// Clients that may have whole requests waiting.
    pub(crate) fn unfinished(&self) -> Vec<u64> {
        self.unfinished.iter().copied().collect()
    }

    pub(crate) fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// The next requests of a client, as many as are its due in one turn, one
    /// at a time: `answer` is called for each and the next is looked for only
    /// once that is answered.
    pub(crate) fn next_request(&mut self, id: u64, turn: usize) -> Option<Request> {
        if turn >= REQUEST_BATCH {
            return None;
        }
        let request = self.clients.get_mut(&id).and_then(Client::next_request);
        if request.is_none() {
            self.unfinished.remove(&id);
        }
        request
    }

    /// Answers a client, if it is still there.
    pub(crate) fn respond(&mut self, id: u64, response: &Response, descriptor: Option<OwnedFd>) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.respond(response, descriptor);
        }
    }

    /// Sends what can be sent and watches for the rest. The state of a client
    /// that is gone is given back.
    pub(crate) fn settle(&mut self, poll: &Poll, id: u64, now: Timestamp) -> Option<State> {
        let client = self.clients.get_mut(&id)?;
        let had_more = client.waiting() > 0;
        if matches!(client.write(now), Input::Closed) {
            return self.close(poll, id);
        }
        if had_more && client.waiting() == 0 {
            // It is heard again, and may have sent its next request already.
            self.unfinished.insert(id);
        }
        let wanted = client.wanted();
        if wanted != client.interest {
            client.interest = wanted;
            poll.change(&client.fd, Token::Client(id), wanted);
        }
        None
    }

    /// Hangs up.
    pub(crate) fn close(&mut self, poll: &Poll, id: u64) -> Option<State> {
        self.unfinished.remove(&id);
        let client = self.clients.remove(&id)?;
        poll.remove(&client.fd);
        Some(client.state)
    }

    /// The client that waits for the request or the program of this number.
    pub(crate) fn waiting_for(&self, state: &State) -> Option<u64> {
        self.clients
            .iter()
            .find(|(_, client)| client.state == *state)
            .map(|(id, _)| *id)
    }

    /// The readers of the log that have taken everything so far.
    pub(crate) fn readers(&self) -> Vec<u64> {
        let readers = self.clients.iter().filter(|(_, client)| {
            matches!(client.state, State::Reading(_)) && client.waiting() == 0
        });
        readers.map(|(id, _)| *id).collect()
    }

    /// Clients that have taken everything so far, of a certain state: the first
    /// ones after `last`, in a circle.
    pub(crate) fn idle_after(
        &self,
        last: u64,
        most: usize,
        wanted: impl Fn(&State) -> bool,
    ) -> Vec<u64> {
        let (before, after) = (self.clients.range(..=last), self.clients.range(last + 1..));
        let circle = after.chain(before);
        let idle = circle.filter(|(_, client)| wanted(&client.state) && client.waiting() == 0);
        idle.map(|(id, _)| *id).take(most).collect()
    }

    /// Takes a connection that is open already, of a child of init's own, which
    /// may look at everything.
    pub(crate) fn adopt(&mut self, poll: &Poll, fd: OwnedFd, now: Timestamp) -> Result<(), Errno> {
        let mut client = Client::new(fd, Authority::Read, now);
        self.next += 1;
        let interest = client.wanted();
        poll.add(&client.fd, Token::Client(self.next), interest)?;
        (client.interest, client.kept) = (interest, true);
        self.clients.insert(self.next, client);
        self.settle(poll, self.next, now);
        Ok(())
    }

    /// When the next client has had enough time.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.clients.values().filter_map(Client::deadline).min()
    }

    /// Those that have had enough time.
    pub(crate) fn expired(&self, now: Timestamp) -> Vec<u64> {
        let late = |client: &Client| client.deadline().is_some_and(|at| at <= now);
        self.clients
            .iter()
            .filter(|(_, client)| late(client))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// Whether accept would give something now: the handed socket may be a blocking
/// one, and its flag is shared with whoever gave it.
fn acceptable(listener: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::ZERO) == Ok(1)
}

fn reserve() -> Option<OwnedFd> {
    std::fs::File::open("/").ok().map(OwnedFd::from)
}

fn authority(fd: &OwnedFd, checked: bool) -> Authority {
    if !checked {
        return Authority::Full;
    }
    let own = nix::unistd::geteuid().as_raw();
    match getsockopt(fd, sockopt::PeerCredentials) {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => Authority::Full,
        Ok(_) | Err(_) => Authority::Read,
    }
}
