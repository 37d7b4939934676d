//! Waiting for a box's end, and bringing it about.

use std::time::Duration;

use holdall_protocol::{Millis, Signal};

use super::error::BoxError;
use super::lock::Lock;
use super::logs::Watch;
use super::name::BoxId;
use super::record::Record;
use super::state::{BoxState, LOST, Life};
use super::{BoxName, Boxes};
use crate::oci::client::Client;
use crate::process::Handle;

/// How long a box may outlive SIGKILL: its processes may be in the middle of
/// disk or network waits that the kernel doesn't interrupt.
const KILLED: Duration = Duration::from_secs(10);

/// After this a box that was killed and is still there is taken for frozen,
/// and its cgroup is killed too.
const FROZEN: Duration = Duration::from_secs(2);

/// Between two looks at whether anybody still clears away after a box's end.
/// Only where a monitor is killed in those very milliseconds is there a second
/// look.
pub(super) const CLEARING: Duration = Duration::from_millis(500);

impl Boxes {
    /// Asks a box to stop, as its image wishes to be asked; after `grace` (the
    /// image's own where none) kills it. A box that doesn't run is stopped.
    ///
    /// # Errors
    /// Where it can't be killed.
    pub fn stop(&self, id: &BoxId, grace: Option<Millis>) -> Result<(), BoxError> {
        let record = self.record(id)?;
        let grace = Duration::from_millis(grace.unwrap_or(record.grace).0);
        self.end(&record, record.stop_signal, grace)
    }

    /// Sends a signal to a box's first process, and for KILL ends every one.
    ///
    /// # Errors
    /// Where it doesn't run.
    pub fn kill(&self, id: &BoxId, signal: Signal) -> Result<(), BoxError> {
        let record = self.record(id)?;
        let not_running = || BoxError::NotRunning(record.name.clone());
        let process = self.process(&record)?.ok_or_else(not_running)?;
        if signal == Signal::KILL {
            return self.end(&record, signal, FROZEN);
        }
        process
            .kill(i32::from(signal.number()))
            .map_err(BoxError::system("signal the box"))
    }

    /// Removes a box and what only it has; with `force` one that runs, too.
    /// Named volumes stay.
    ///
    /// # Errors
    /// [`BoxError::Running`] without `force`.
    pub fn remove(&self, id: &BoxId, force: bool) -> Result<(), BoxError> {
        loop {
            let record = self.record(id)?;
            if self.state(&record)?.is_running() {
                if !force {
                    return Err(BoxError::Running(record.name));
                }
                self.end(&record, Signal::KILL, FROZEN)?;
            }
            let lock = match self.store.lock(id) {
                // `--rm` was quicker.
                Err(BoxError::NotFound { .. }) => return Ok(()),
                other => other?,
            };
            // Somebody may have started it just before the lock.
            if self.is_alive(id)? {
                continue;
            }
            let (lock, guard) = match self.store.guard(&record, lock) {
                Err(BoxError::NotFound { .. }) => return Ok(()),
                other => other?,
            };
            if self.is_alive(id)? {
                continue;
            }
            if self.store.has_remains(id) {
                super::bury::clear(&self.store, id)?;
            }
            let removed = self.store.remove(id, &lock);
            drop(guard);
            return removed;
        }
    }

    /// Whether the box's first process is there, whoever minds it.
    pub(super) fn is_alive(&self, id: &BoxId) -> Result<bool, BoxError> {
        let life = self.store.life(id)?;
        Ok(matches!(life, Some(Life::Running(run)) if run.process.is_alive()))
    }

    /// Waits for a box's end; its exit code. At once where it has ended.
    ///
    /// # Errors
    /// [`BoxError::NotRunning`] where it never ran.
    pub fn wait(&self, id: &BoxId) -> Result<u8, BoxError> {
        let record = self.record(id)?;
        match self.state(&record)? {
            BoxState::Created => Err(BoxError::NotRunning(record.name)),
            BoxState::Exited { code, .. } => Ok(code),
            BoxState::Running { .. } => self.until_end(&record, None),
        }
    }

    /// Signal, grace, KILL, and then until everything is cleared away.
    fn end(&self, record: &Record, signal: Signal, grace: Duration) -> Result<(), BoxError> {
        let Some(process) = self.process(record)? else {
            return Ok(());
        };
        let signalled = BoxError::system("signal the box");
        let waited = || BoxError::system("wait for the box");
        process
            .kill(i32::from(signal.number()))
            .map_err(signalled)?;
        if !process.wait(Some(grace)).map_err(waited())? {
            self.kill_all(record, &process)?;
        }
        self.until_end(record, Some(&process))?;
        // The guard falls when nothing of the run is left.
        let guard = self.store.dir(&record.id).guard();
        match Lock::wait(&guard) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map(drop).map_err(BoxError::file("lock", &guard)),
        }
    }

    fn kill_all(&self, record: &Record, process: &Handle) -> Result<(), BoxError> {
        let kill = nix::sys::signal::Signal::SIGKILL;
        process
            .kill(kill as i32)
            .map_err(BoxError::system("kill the box"))?;
        // With the first process the kernel ends its whole namespace; this is
        // for what may sit frozen in its cgroup. Gone meanwhile is fine.
        let client = Client {
            state_root: self.store.dirs().runtime_state(),
        };
        let killed = client.kill_all(record.id.as_str(), kill);
        if process
            .wait(Some(KILLED))
            .map_err(BoxError::system("wait for the box"))?
        {
            return Ok(());
        }
        killed.map_err(|cause| BoxError::Runtime {
            verb: "kill",
            name: record.name.clone(),
            cause,
        })?;
        Err(BoxError::Unkillable(record.name.clone()))
    }

    /// A handle on the box's first process, if the box runs.
    pub(super) fn process(&self, record: &Record) -> Result<Option<Handle>, BoxError> {
        if !self.state(record)?.is_running() {
            return Ok(None);
        }
        match self.store.life(&record.id)? {
            Some(Life::Running(run)) => run
                .process
                .open()
                .map_err(BoxError::system("open the box's process")),
            Some(Life::Exited { .. }) | None => Ok(None),
        }
    }

    /// Waits until a box's end is written down.
    pub(super) fn until_end(
        &self,
        record: &Record,
        process: Option<&Handle>,
    ) -> Result<u8, BoxError> {
        let opened = match process {
            Some(_) => None,
            None => self.process(record)?,
        };
        let process = process.or(opened.as_ref());
        let dir = self.store.dir(&record.id);
        let watch = Watch::new(dir.path());
        let mut ended = process.is_none();
        loop {
            if let Some(code) = self.ended(record, process)? {
                return Ok(code);
            }
            // A box that is gone was seen by `ended`.
            let Ok(watch) = &watch else { return Ok(LOST) };
            if ended {
                self.state(record)?;
            }
            let (handle, limit) = match (ended, process) {
                (false, Some(process)) => (Some(std::os::fd::AsFd::as_fd(process)), None),
                _ => (None, Some(CLEARING)),
            };
            let waited = watch
                .wait(handle, limit)
                .map_err(BoxError::system("wait for the box"));
            ended |= waited?;
        }
    }

    /// The exit code, once the end is written down, or the box is removed.
    pub(super) fn ended(
        &self,
        record: &Record,
        process: Option<&Handle>,
    ) -> Result<Option<u8>, BoxError> {
        match self.store.life(&record.id)? {
            Some(Life::Exited { code, .. }) => return Ok(Some(code)),
            Some(Life::Running(_)) => return Ok(None),
            None => {}
        }
        let code = process.map(Handle::exit_code).transpose();
        let code = code.map_err(BoxError::system("read the box's exit code"))?;
        Ok(Some(code.flatten().unwrap_or(LOST)))
    }
}

/// For an error about a box that was asked for by name.
pub(super) fn similar<'a>(name: &str, known: impl Iterator<Item = &'a BoxName>) -> Option<String> {
    holdall_protocol::suggest::closest(name, known.map(BoxName::as_str)).map(str::to_owned)
}
