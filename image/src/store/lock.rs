//! Locks between processes: `flock`, which the kernel releases when its holder
//! dies, however that happens.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::StoreError;

/// A held lock; dropping it releases it.
pub(super) type Lock = Flock<File>;

/// Waits for the lock, which no one shares.
pub(super) fn exclusive(path: &Path) -> Result<Lock, StoreError> {
    lock(path, FlockArg::LockExclusive).and_then(|lock| lock.ok_or_else(|| busy(path)))
}

/// Waits for the lock, shared with others who share it.
pub(super) fn shared(path: &Path) -> Result<Lock, StoreError> {
    lock(path, FlockArg::LockShared).and_then(|lock| lock.ok_or_else(|| busy(path)))
}

/// Makes a lock that no one shares one that others may. Another may get in
/// between: what was known under it may have changed.
pub(super) fn share(lock: &mut Lock, path: &Path) -> Result<(), StoreError> {
    loop {
        match lock.relock(FlockArg::LockShared) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => {
                return Err(StoreError::Lock {
                    path: path.to_owned(),
                    source: error.into(),
                });
            }
        }
    }
}

/// The lock, if no one has it in any way.
pub(super) fn try_exclusive(path: &Path) -> Result<Option<Lock>, StoreError> {
    lock(path, FlockArg::LockExclusiveNonblock)
}

fn lock(path: &Path, kind: FlockArg) -> Result<Option<Lock>, StoreError> {
    let wrap = |source| StoreError::Lock {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(wrap)?;
    loop {
        match Flock::lock(file, kind) {
            Ok(lock) => return Ok(Some(lock)),
            Err((back, Errno::EINTR)) => file = back,
            Err((_, Errno::EAGAIN)) => return Ok(None),
            Err((_, error)) => return Err(wrap(error.into())),
        }
    }
}

fn busy(path: &Path) -> StoreError {
    StoreError::Lock {
        path: path.to_owned(),
        source: Errno::EAGAIN.into(),
    }
}
