//! The clone of a container's first process.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{CreateError, Made, Request};
use crate::oci::apply::{Child, StartBy};
use crate::oci::channel::Channel;
use crate::oci::mounts::Mask;
use crate::oci::plan::Plan;
use crate::oci::prepare::Prepared;
use crate::oci::report::Reporter;
use crate::oci::seccomp::Filter;
use crate::oci::spec::NamespaceType;
use crate::oci::state::{Folder, State};
use crate::sys::{self, Cloned};

/// Everything the child takes with it.
pub(super) struct Launch<'a> {
    pub(super) request: &'a Request,
    pub(super) reports: &'a Reporter,
    pub(super) plan: Plan,
    pub(super) prepared: Prepared,
    pub(super) filter: Option<Filter>,
    pub(super) start: StartBy,
    pub(super) state: &'a State,
}

impl Launch<'_> {
    /// Clones; in the child this never returns.
    pub(super) fn clone_child(self, made: &Made) -> Result<(Pid, OwnedFd, Channel), CreateError> {
        let (ours, theirs) = Channel::pair()?;
        let own_pid_namespace = self.join_pid_namespace()?;
        let directory = made.cgroup.open_v2()?;
        let into = directory.as_ref().map(AsFd::as_fd);
        let cloned = match sys::clone_process(self.plan.clone_flags, into) {
            // A cgroup with controllers enabled below it takes no process; a
            // kernel before 5.7 can't clone into one. Joined afterwards then.
            Err(Errno::EBUSY | Errno::E2BIG | Errno::EOPNOTSUPP) if into.is_some() => {
                sys::clone_process(self.plan.clone_flags, None)
            }
            other => other,
        };
        match cloned.map_err(CreateError::Clone)? {
            Cloned::Child => {
                drop(ours);
                let lock = made
                    .folder
                    .as_ref()
                    .map_or(Ok(()), Folder::leave_lock_to_parent);
                if let Err(errno) = lock.and_then(|()| self.reports.leave_to_parent()) {
                    log::error!("cannot leave lock and reports to the runtime: {errno}");
                    sys::exit_now(125);
                }
                let mut child = Child {
                    spec: &self.request.config.spec,
                    state: self.state,
                    prepared: self.prepared,
                    channel: theirs,
                    filter: self.filter,
                    start: self.start,
                    preserve: self.request.preserve,
                    die_with_parent: self.request.state_root.is_none(),
                    program: None,
                    mask: Mask::default(),
                };
                sys::exit_now(child.run(&self.plan))
            }
            Cloned::Parent { pid, pidfd } => {
                if let Some(own) = own_pid_namespace {
                    nix::sched::setns(own, nix::sched::CloneFlags::CLONE_NEWPID)
                        .map_err(CreateError::Clone)?;
                }
                Ok((pid, pidfd, ours))
            }
        }
    }

    /// A pid namespace holds for children only, so it is joined here, and left
    /// again; our own comes back.
    fn join_pid_namespace(&self) -> Result<Option<OwnedFd>, CreateError> {
        let Some(target) = self.prepared.namespaces.get(&NamespaceType::Pid) else {
            return Ok(None);
        };
        let own = fs::File::open("/proc/self/ns/pid").map_err(CreateError::Outside)?;
        nix::sched::setns(target, nix::sched::CloneFlags::CLONE_NEWPID)
            .map_err(CreateError::Clone)?;
        Ok(Some(own.into()))
    }
}
