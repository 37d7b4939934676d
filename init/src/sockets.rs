//! The sockets of `listen`: opened once inside the box, held as long as init
//! lives and their place is in the manifest, and handed to their service at
//! each start, so that who connects while it restarts waits in the backlog.
//! Beside them, those that were handed to init from outside.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use holdall_protocol::manifest::{Listen, Manifest, Service};
use holdall_supervise::ServiceId;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{getsockopt, sockopt};

use crate::handed::UNNAMED;
use crate::poll::{Poll, Token};

mod open;

use open::{File, Opened};
pub(crate) use open::{ListenError, is_stale};

/// Every socket that init holds for services.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    inner: Vec<Inner>,
    outer: Vec<Outer>,
    next_id: u64,
}

/// One that init has opened.
#[derive(Debug)]
struct Inner {
    listen: Listen,
    watch: Watch,
    /// Of a unix socket.
    file: Option<File>,
}

/// One of the outside, under the name of an inner one.
#[derive(Debug)]
struct Outer {
    name: String,
    watch: Watch,
}

/// A socket, and the services that are started when something comes to it.
#[derive(Debug)]
struct Watch {
    id: u64,
    fd: OwnedFd,
    waiting: BTreeSet<ServiceId>,
}

impl Sockets {
    /// Opens those of a service that aren't open yet, and makes the others as
    /// its manifest wants them now.
    pub(crate) fn open(&mut self, service: &Service) -> Result<(), ListenError> {
        for wanted in &service.listen {
            let known = self.inner.iter_mut().find(|inner| same(inner, wanted));
            match known {
                Some(inner) if inner.listen == *wanted => {}
                Some(inner) => {
                    open::adapt(&inner.watch.fd, inner.file.as_ref(), &inner.listen, wanted)?;
                    inner.listen = wanted.clone();
                }
                None => {
                    let Opened { fd, file } = open::open(wanted)?;
                    let watch = self.watch_of(fd);
                    self.inner.push(Inner {
                        listen: wanted.clone(),
                        watch,
                        file,
                    });
                }
            }
        }
        Ok(())
    }

    /// What a service is handed by LISTEN_FDS, with the names: its own in the manifest's
    /// order, then those of the outside in the same.
    pub(crate) fn of(&self, service: &Service) -> Vec<(String, RawFd)> {
        let (inner, outer) = self.places(service);
        let inner = inner.filter(|inner| !inner.listen.stdin);
        let name = |listen: &Listen| listen.name.clone();
        let inner = inner.map(|inner| (name(&inner.listen), inner.watch.fd.as_raw_fd()));
        let outer = outer.map(|outer| (outer.name.clone(), outer.watch.fd.as_raw_fd()));
        inner.chain(outer).collect()
    }

    /// The one that is the service's descriptor 0.
    pub(crate) fn stdin(&self, service: &Service) -> Option<BorrowedFd<'_>> {
        let wanted = service.listen.iter().find(|listen| listen.stdin)?;
        let inner = self.inner.iter().find(|inner| same(inner, wanted))?;
        Some(inner.watch.fd.as_fd())
    }

    fn places<'s>(
        &'s self,
        service: &'s Service,
    ) -> (
        impl Iterator<Item = &'s Inner>,
        impl Iterator<Item = &'s Outer>,
    ) {
        let wanted = service.listen.iter();
        let inner = wanted
            .clone()
            .filter_map(|wanted| self.inner.iter().find(|inner| same(inner, wanted)));
        let outer = wanted.filter(|_| service.handoff);
        let outer =
            outer.filter_map(|wanted| self.outer.iter().find(|outer| outer.name == wanted.name));
        (inner, outer)
    }

    /// Closes those that are not wanted any more.
    pub(crate) fn keep(&mut self, wanted: &[Arc<Service>]) {
        self.inner.retain(|inner| {
            let mut wanted = wanted.iter().flat_map(|service| &service.listen);
            let keep = wanted.any(|wanted| same(inner, wanted));
            if let (Some(file), false) = (&inner.file, keep) {
                file.remove();
            }
            keep
        });
    }

    /// Removes the files of unix sockets, at the end.
    pub(crate) fn unlink(&self) {
        for file in self.inner.iter().filter_map(|inner| inner.file.as_ref()) {
            file.remove();
        }
    }

    /// Takes what came from outside: each goes to the service with `handoff`
    /// that has a socket of its name. Those without a name are taken in the
    /// order of the manifest. What nobody wants, and why, one line each; it is
    /// closed, so that nobody waits at it in vain.
    pub(crate) fn receive(
        &mut self,
        handed: Vec<(String, OwnedFd)>,
        manifest: &Manifest,
    ) -> Vec<String> {
        let services = manifest.services.iter().filter(|service| service.handoff);
        let names: Vec<&str> = services
            .flat_map(|service| &service.listen)
            .map(|listen| listen.name.as_str())
            .collect();
        let mut refused = Vec::new();
        let (unnamed, named): (Vec<_>, Vec<_>) =
            handed.into_iter().partition(|(name, _)| name == UNNAMED);
        for (name, fd) in named {
            let taken = self.outer.iter().any(|outer| outer.name == name);
            match names.iter().find(|known| **known == name) {
                Some(_) if taken => {
                    refused.push(format!("a second socket named {name:?} was handed over"));
                }
                Some(known) => refused.extend(self.receive_one(known, fd)),
                None => refused.push(format!(
                    "no service has both `handoff` and a socket named {name:?}"
                )),
            }
        }
        for (_, fd) in unnamed {
            let free = |name: &&&str| !self.outer.iter().any(|outer| outer.name == ***name);
            match names.iter().find(free) {
                Some(name) => refused.extend(self.receive_one(name, fd)),
                None => refused.push("no service is left for a socket without a name".to_owned()),
            }
        }
        refused
    }

    fn receive_one(&mut self, name: &str, fd: OwnedFd) -> Option<String> {
        if getsockopt(&fd, sockopt::SockType).is_err() {
            return Some(format!("what was handed over as {name:?} is no socket"));
        }
        let watch = self.watch_of(fd);
        self.outer.push(Outer {
            name: name.to_owned(),
            watch,
        });
        None
    }

    fn watch_of(&mut self, fd: OwnedFd) -> Watch {
        self.next_id += 1;
        Watch {
            id: self.next_id,
            fd,
            waiting: BTreeSet::new(),
        }
    }

    /// From now on a service is started when something comes to one of its
    /// sockets, which are open.
    pub(crate) fn await_demand(
        &mut self,
        poll: &Poll,
        id: ServiceId,
        service: &Service,
    ) -> Result<(), Errno> {
        let (inner, outer) = self.places(service);
        let inner = inner.map(|inner| inner.watch.id);
        let of: Vec<u64> = inner.chain(outer.map(|outer| outer.watch.id)).collect();
        for watch in self.watches().filter(|watch| of.contains(&watch.id)) {
            if watch.waiting.is_empty() {
                poll.add(&watch.fd, Token::Demand(watch.id), EpollFlags::EPOLLIN)?;
            }
            watch.waiting.insert(id);
        }
        Ok(())
    }

    /// No longer. Where nobody waits, nothing wakes init up.
    pub(crate) fn forget_demand(&mut self, poll: &Poll, id: ServiceId) {
        for watch in self.watches() {
            if watch.waiting.remove(&id) && watch.waiting.is_empty() {
                poll.remove(&watch.fd);
            }
        }
    }

    /// Who waits for what has come to a socket.
    pub(crate) fn demanded(&mut self, id: u64) -> Vec<ServiceId> {
        let mut watches = self.watches();
        let watch = watches.find(|watch| watch.id == id);
        watch.map_or_else(Vec::new, |watch| watch.waiting.iter().copied().collect())
    }

    fn watches(&mut self) -> impl Iterator<Item = &mut Watch> {
        let inner = self.inner.iter_mut().map(|inner| &mut inner.watch);
        inner.chain(self.outer.iter_mut().map(|outer| &mut outer.watch))
    }
}

/// Whether an open socket can serve as one of the manifest: its place is what
/// it can't change.
fn same(inner: &Inner, wanted: &Listen) -> bool {
    let open = &inner.listen;
    open.address == wanted.address && open.reuse_port == wanted.reuse_port
}
