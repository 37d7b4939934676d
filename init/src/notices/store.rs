//! Descriptors that services have stored with init (`FDSTORE=1`), to get them
//! back at their next start.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use holdall_supervise::ServiceId;
use holdall_supervise::notice;
use nix::sys::epoll::EpollFlags;

use crate::poll::{Poll, Token};

/// Of one service.
const MAX_EACH: usize = 64;

/// Of all services: they must not take the descriptors that init itself needs,
/// of which it usually has 1024.
const MAX_ALL: usize = 256;

struct Stored {
    service: ServiceId,
    name: String,
    fd: OwnedFd,
}

/// All of them, in the order in which they came.
#[derive(Default)]
pub(crate) struct Store {
    held: BTreeMap<u64, Stored>,
    next: u64,
}

impl Store {
    /// Keeps a descriptor; false where there are too many already.
    pub(crate) fn keep(
        &mut self,
        poll: &Poll,
        service: ServiceId,
        how: &notice::Store,
        fd: OwnedFd,
    ) -> bool {
        let of = self.held.values().filter(|held| held.service == service);
        if of.count() >= MAX_EACH || self.held.len() >= MAX_ALL {
            return false;
        }
        self.next += 1;
        if how.polled {
            // Only that its other end hangs up. What can't be watched (a file)
            // has no other end.
            let _ = poll.add(&fd, Token::Stored(self.next), EpollFlags::empty());
        }
        let name = how.name.clone();
        self.held.insert(self.next, Stored { service, name, fd });
        true
    }

    /// What a service has stored, oldest first.
    pub(crate) fn of(&self, service: ServiceId) -> Vec<(String, RawFd)> {
        let of = self.held.values().filter(|held| held.service == service);
        of.map(|held| (held.name.clone(), held.fd.as_raw_fd()))
            .collect()
    }

    /// The other end of one has hung up.
    pub(crate) fn hung_up(&mut self, poll: &Poll, number: u64) {
        self.close(poll, number);
    }

    /// Closes those of a name.
    pub(crate) fn remove(&mut self, poll: &Poll, service: ServiceId, name: &str) {
        self.close_if(poll, |held| held.service == service && held.name == name);
    }

    /// Closes all of a service.
    pub(crate) fn release(&mut self, poll: &Poll, service: ServiceId) {
        self.close_if(poll, |held| held.service == service);
    }

    fn close_if(&mut self, poll: &Poll, goes: impl Fn(&Stored) -> bool) {
        let going = self.held.iter().filter(|(_, held)| goes(held));
        for number in going.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.close(poll, number);
        }
    }

    fn close(&mut self, poll: &Poll, number: u64) {
        if let Some(held) = self.held.remove(&number) {
            poll.remove(&held.fd);
        }
    }
}
