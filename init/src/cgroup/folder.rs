//! The folder of one init among the groups, and those that inits which were
//! killed have left.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;

use super::dir::{Dir, Group};
use super::{CgroupError, errno};

/// What the folders of all inits begin with.
const PREFIX: &str = "holdall.";

/// Folders are tried under this many names: another init may be removing the
/// one that was made just now, before it is locked.
const ATTEMPTS: u64 = 8;

/// A folder that is this init's as long as it is open.
#[derive(Debug)]
pub(super) struct Folder {
    /// The group of init.
    pub(super) parent: Rc<Dir>,
    /// The folder, which is locked: the lock goes with the process, however it
    /// ends.
    dir: Rc<Dir>,
    /// Its name in the group of init; none where that was handed over and is
    /// the folder itself.
    name: Option<String>,
    /// The groups in it.
    made: BTreeSet<String>,
}

impl Folder {
    /// Makes one below a group, and removes what killed inits have left there.
    pub(super) fn make(parent: &Path) -> Result<Self, CgroupError> {
        sweep(parent);
        let salt = crate::clock::wall_micros() ^ (u64::from(std::process::id()) << 40);
        let mut failed = Errno::EEXIST;
        for attempt in 0..ATTEMPTS {
            let name = format!("{PREFIX}{:x}", salt.wrapping_add(attempt));
            let path = parent.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => {
                    let errno = errno(&error);
                    return Err(CgroupError::Make { path, errno });
                }
            }
            let opened = lock(&path).and_then(|dir| {
                let above = File::open(parent).map_err(|error| errno(&error))?;
                Ok((dir, above))
            });
            match opened {
                Ok((dir, above)) => {
                    return Ok(Self {
                        parent: Rc::new(Dir::new(above.into(), parent)),
                        dir: Rc::new(Dir::new(dir.into(), path)),
                        name: Some(name),
                        made: BTreeSet::new(),
                    });
                }
                Err(errno) => failed = errno,
            }
        }
        let (path, errno) = (parent.to_owned(), failed);
        Err(CgroupError::Make { path, errno })
    }

    /// A group that was made for this init alone, and goes with its box.
    pub(super) fn handed(fd: OwnedFd, name: &Path) -> Self {
        let dir = Rc::new(Dir::new(fd, name));
        Self {
            parent: Rc::clone(&dir),
            dir,
            name: None,
            made: BTreeSet::new(),
        }
    }

    /// A new group in it, in place of one of that name that nobody is in any
    /// more: with its own counts, and no limit.
    pub(super) fn group(&mut self, name: &str) -> Result<Group, CgroupError> {
        if !self.dir.make(name)? {
            self.dir.remove(name);
            self.dir.make(name)?;
        }
        self.made.insert(name.to_owned());
        Ok(Group {
            folder: Rc::clone(&self.dir),
            name: name.to_owned(),
        })
    }

    /// Whether it is the group of init itself.
    pub(super) fn is_handed(&self) -> bool {
        self.name.is_none()
    }

    /// Lets a controller of version 2 act in the groups in it.
    pub(super) fn give(&self, controller: &str) -> Result<(), CgroupError> {
        let give = format!("+{controller}");
        if self.name.is_some() {
            self.parent.write(CONTROL, &give)?;
        }
        self.dir.write(CONTROL, &give)
    }

    /// No longer.
    pub(super) fn take(&self, controller: &str) {
        let take = format!("-{controller}");
        let _ = self.dir.write(CONTROL, &take);
        if self.name.is_some() {
            let _ = self.parent.write(CONTROL, &take);
        }
    }

    /// Removes the groups in it that nobody is in.
    pub(super) fn remove_groups(&self) {
        for name in &self.made {
            self.dir.remove(name);
        }
    }

    /// Removes it with its groups, as far as nobody is in them.
    pub(super) fn remove(&self) {
        self.remove_groups();
        if let Some(name) = &self.name {
            self.parent.remove(name);
        }
    }
}

/// Which controllers act in the groups of a group.
const CONTROL: &str = "cgroup.subtree_control";

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
