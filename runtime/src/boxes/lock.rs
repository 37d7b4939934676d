//! Locks that end with their holder.
//!
//! They belong to an open file description (`F_OFD_SETLK`), so a descriptor
//! passed to another process shares the lock, and a crash releases it.
//!
//! A box has two. Its monitor has the `guard` from its first moment on, and at
//! the end of a box that is to be removed waits for the `lock`. So of such a box
//! the order is guard, then lock: who has the lock and finds the guard held lets
//! go of the lock, waits for the guard, and takes the lock again
//! ([`BoxStore::guard`](super::store::BoxStore::guard)). The monitor of any
//! other box never takes the lock; there the lock is kept while the guard is
//! waited for, so that nobody starts the box meanwhile.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::sys;

/// A held lock. It lasts until every descriptor of it is closed.
#[derive(Debug)]
pub(crate) struct Lock(OwnedFd);

impl Lock {
    /// Waits for the lock.
    pub(crate) fn wait(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let record = sys::lock_record(libc::F_WRLCK);
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLKW(&record)) {
                Ok(_) => return Ok(Self(file.into())),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Takes the lock, or `None` where another holds it.
    pub(crate) fn attempt(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        let record = sys::lock_record(libc::F_WRLCK);
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&record)) {
            Ok(_) => Ok(Some(Self(file.into()))),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether anybody holds it. Asking takes nothing, so that two who ask at
    /// once don't see each other.
    pub(crate) fn is_held(path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut record = sys::lock_record(libc::F_WRLCK);
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut record))?;
        Ok(i32::from(record.l_type) != libc::F_UNLCK)
    }

    /// Takes over a lock that another process passed.
    pub(crate) fn passed(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_lasts_until_its_last_descriptor_is_closed() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("lock");
        assert!(!Lock::is_held(&path).expect("asked"));
        let lock = Lock::attempt(&path).expect("taken").expect("free");
        let copy = lock.as_fd().try_clone_to_owned().expect("copied");
        drop(lock);
        assert!(Lock::is_held(&path).expect("asked"));
        assert!(Lock::attempt(&path).expect("asked").is_none());
        drop(copy);
        assert!(!Lock::is_held(&path).expect("asked"));
        drop(Lock::wait(&path).expect("taken"));
    }
}
