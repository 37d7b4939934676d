//! Whether who says something of a service is of it.

use std::os::fd::OwnedFd;

use nix::unistd::{Pid, getsid};

use crate::ancillary::Credentials;
use crate::lineage::{self, Mark};
use crate::sys;

/// What is known of a service's processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kin {
    /// The first one, whose session the others are in unless they left it.
    pub(crate) leader: Option<i32>,
    pub(crate) mark: Option<Mark>,
    /// As whom they run.
    pub(crate) uid: u32,
}

impl Kin {
    /// Whether a process is one of them.
    pub(crate) fn has(&self, pid: i32) -> bool {
        let leads = |leader| leader == pid || session(pid) == Some(leader);
        self.leader.is_some_and(leads) || self.mark.is_some_and(|mark| lineage::belongs(pid, mark))
    }

    /// Whether the sender of a message is one of them. One that is gone
    /// meanwhile can't be looked at any more: then who runs as the same user is
    /// believed, who could trace the service as well.
    pub(crate) fn sent(&self, sender: Credentials, handle: Option<&OwnedFd>) -> bool {
        let there = || handle.is_none_or(sys::pidfd_is_there);
        // Zero is a process that can't be seen from here.
        if sender.pid <= 0 {
            return false;
        }
        // Looked at by its number, which is its own if it is there afterwards.
        if self.has(sender.pid) && there() {
            return true;
        }
        let gone = !there() || !lineage::lives(sender.pid);
        gone && sender.uid == self.uid
    }
}

fn session(pid: i32) -> Option<i32> {
    getsid(Some(Pid::from_raw(pid))).ok().map(Pid::as_raw)
}
