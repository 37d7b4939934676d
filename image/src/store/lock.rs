//! Locks between processes: `flock`, which the kernel releases when its holder
//! dies, however that happens.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::StoreError;

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // At once, also where a child that is on its way to its own program
        // still has the file. Where this fails, closing it does the same, if
        // later.
        drop(self.0.unlock());
    }
}

/// Waits for the lock, which no one shares.
pub(super) fn exclusive(path: &Path) -> Result<Lock, StoreError> {
    let file = open(path)?;
    again(|| file.lock()).map_err(failed(path))?;
    Ok(Lock(file))
}

/// Waits for the lock, shared with others who share it.
pub(super) fn shared(path: &Path) -> Result<Lock, StoreError> {
    let file = open(path)?;
    again(|| file.lock_shared()).map_err(failed(path))?;
    Ok(Lock(file))
}

/// Makes a lock that no one shares one that others may. Another may get in
/// between: what was known under it may have changed.
pub(super) fn share(lock: &mut Lock, path: &Path) -> Result<(), StoreError> {
    again(|| lock.0.lock_shared()).map_err(failed(path))
}

/// The lock, if no one has it in any way.
pub(super) fn try_exclusive(path: &Path) -> Result<Option<Lock>, StoreError> {
    let file = open(path)?;
    let attempt = || match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    };
    let ours = again(attempt).map_err(failed(path))?;
    Ok(ours.then_some(Lock(file)))
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path).map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Lock { path, source }
}

/// Once more after a signal.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
