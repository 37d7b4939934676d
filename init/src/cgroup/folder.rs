//! The folder of one init among the groups, and those that inits which were
//! killed have left.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{CgroupError, errno};

/// What the folders of all inits begin with.
const PREFIX: &str = "holdall.";

/// Folders are tried under this many names: another init may be removing the
/// one that was made just now, before it is locked.
const ATTEMPTS: u64 = 8;

/// A folder that is this init's as long as it is open.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// The lock goes with the process, however it ends.
    _lock: File,
}

impl Folder {
    /// Makes one below a group, and removes what killed inits have left there.
    pub(super) fn make(parent: &Path) -> Result<Self, CgroupError> {
        sweep(parent);
        let salt = crate::clock::wall_micros() ^ (u64::from(std::process::id()) << 40);
        let mut failed = Errno::EEXIST;
        for attempt in 0..ATTEMPTS {
            let path = parent.join(format!("{PREFIX}{:x}", salt.wrapping_add(attempt)));
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => {
                    let errno = errno(&error);
                    return Err(CgroupError::Make { path, errno });
                }
            }
            match lock(&path) {
                Ok(lock) => return Ok(Self { path, _lock: lock }),
                Err(errno) => failed = errno,
            }
        }
        let (path, errno) = (parent.to_owned(), failed);
        Err(CgroupError::Make { path, errno })
    }

    /// A new group in it, in place of one of that name that nobody is in any
    /// more: with its own counts, and no limit.
    pub(super) fn group(&self, name: &str) -> Result<PathBuf, CgroupError> {
        let path = self.path.join(name);
        let _ = fs::remove_dir(&path);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                let errno = errno(&error);
                Err(CgroupError::Make { path, errno })
            }
            Ok(()) | Err(_) => Ok(path),
        }
    }

    /// Removes the groups in it that nobody is in.
    pub(super) fn remove_groups(&self) {
        remove_groups(&self.path);
    }

    /// Removes it with its groups, as far as nobody is in them.
    pub(super) fn remove(&self) {
        remove_groups(&self.path);
        let _ = fs::remove_dir(&self.path);
    }
}

/// Locks a folder, if it is still there and nobody else's.
fn lock(path: &Path) -> Result<File, Errno> {
    let folder = File::open(path).map_err(|error| errno(&error))?;
    folder.try_lock().map_err(|failed| match failed {
        TryLockError::WouldBlock => Errno::EAGAIN,
        TryLockError::Error(error) => errno(&error),
    })?;
    let inode = |found: std::io::Result<fs::Metadata>| found.ok().map(|found| found.ino());
    if inode(folder.metadata()) == inode(fs::symlink_metadata(path)) {
        Ok(folder)
    } else {
        Err(Errno::ENOENT)
    }
}

/// Removes folders whose init is gone. What it has left running is not ours to
/// end.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        let path = entry.path();
        if let Ok(_lock) = lock(&path) {
            remove_groups(&path);
            let _ = fs::remove_dir(&path);
        }
    }
}

fn remove_groups(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
