//! After a box's end.

use std::num::NonZeroU32;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::error::BoxError;
use super::files::Durable;
use super::name::BoxId;
use super::state::{LOST, Run, ended};
use super::store::BoxStore;
use crate::clock::WallTime;
use crate::oci::client::Client;
use crate::process::Handle;

/// Collects the children that a monitor has or inherits, and keeps the exit
/// code of the one that matters.
#[derive(Debug)]
pub(crate) struct Reaper {
    first: i32,
    code: Option<u8>,
}

impl Reaper {
    pub(crate) fn new(first: NonZeroU32) -> Self {
        Self {
            first: i32::try_from(first.get()).unwrap_or(i32::MAX),
            code: None,
        }
    }

    /// Collects whoever has ended.
    pub(crate) fn reap(&mut self) {
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, u8::try_from(code).unwrap_or(u8::MAX)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))
                }
                // No child, or none that has ended.
                Ok(_) | Err(_) => return,
            };
            if pid == Pid::from_raw(self.first) {
                self.code = Some(code);
            }
        }
    }

    /// A process that is traced is its tracer's before it is its parent's, so
    /// one of ours that is dead may come a moment later.
    fn wait_for_first(&mut self) {
        loop {
            match waitpid(Pid::from_raw(self.first), None) {
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::Exited(_, code)) => {
                    self.code = Some(u8::try_from(code).unwrap_or(u8::MAX));
                    return;
                }
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    self.code = Some(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX));
                    return;
                }
                // Another's child.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// The exit code of the box, which has ended.
    pub(crate) fn exit_code(&mut self, process: &Handle) -> u8 {
        self.reap();
        if self.code.is_none() {
            self.wait_for_first();
        }
        // Another's child (its first monitor was killed): the kernel tells.
        self.code
            .or_else(|| process.exit_code().ok().flatten())
            .unwrap_or(LOST)
    }
}

/// Writes a run's end down and removes what was only there for the run. Doing
/// it twice does no harm, so whoever is killed in it is followed by another.
pub(crate) fn bury(
    store: &BoxStore,
    id: &BoxId,
    run: &Run,
    code: u8,
    now: WallTime,
    durable: Durable,
) -> Result<(), BoxError> {
    let written = write_end(store, id, run, code, now, durable);
    written.and(clear(store, id))
}

/// The first half of it.
pub(crate) fn write_end(
    store: &BoxStore,
    id: &BoxId,
    run: &Run,
    code: u8,
    now: WallTime,
    durable: Durable,
) -> Result<(), BoxError> {
    let life = store.life(id)?;
    store.set_life(id, &ended(life, run, code, now), durable)
}

/// Removes what a run has outside the box's own folder.
pub(crate) fn clear(store: &BoxStore, id: &BoxId) -> Result<(), BoxError> {
    let client = Client {
        state_root: store.dirs().runtime_state(),
    };
    let deleted = match client.delete(id.as_str(), true) {
        Ok(()) => Ok(()),
        Err(cause) => {
            let name = store.record(id)?.map(|record| record.name);
            Err(BoxError::Runtime {
                verb: "clear away",
                name: name.unwrap_or_else(|| super::name::BoxName::from_image(id.as_str())),
                cause,
            })
        }
    };
    // The mark of a run, so it goes last; and whatever failed before.
    deleted.and(store.remove_run_dir(id))
}
