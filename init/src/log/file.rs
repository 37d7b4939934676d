//! A log file of a service's own, begun anew when it is full.
//!
//! It may lie in a folder that the service can write to, and init may be root:
//! so no symbolic link on its path is followed, a file with a second name is
//! refused, and everything goes by the folder's descriptor, whatever becomes of
//! its name. A new file belongs to init and to the group of the service, which
//! may read it (0640).

use std::os::fd::{AsFd, OwnedFd};

use holdall_protocol::manifest::LogFile as Wanted;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{self, Gid, UnlinkatFlags, unlinkat};

/// Why there is nothing to write to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot open folder {folder}: {}", words(*errno))]
    Folder { folder: String, errno: Errno },
    #[error("cannot open {path}: {}", words(*errno))]
    Open { path: String, errno: Errno },
    #[error("cannot write {path}: it is no regular file")]
    NotRegular { path: String },
    #[error("cannot write {path}: it has a second name, and could be any file")]
    SecondName { path: String },
    #[error("cannot rename {path}: {}", words(*errno))]
    Rename { path: String, errno: Errno },
    #[error("cannot write {path}: {}", words(*errno))]
    Write { path: String, errno: Errno },
}

fn words(errno: Errno) -> String {
    match errno {
        Errno::ELOOP => "a symbolic link is not followed".to_owned(),
        other => crate::spawn::words(other),
    }
}

/// Where it lies, and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) wanted: Wanted,
    /// The group of a new file; init's own where none.
    pub(crate) group: Option<u32>,
}

impl Plan {
    /// The folder, and the name in it.
    fn split(&self) -> (&str, &str) {
        let path = self.wanted.path.as_str();
        path.rsplit_once('/').unwrap_or(("", path))
    }

    fn error(&self, errno: Errno) -> FileError {
        let path = self.wanted.path.clone();
        FileError::Open { path, errno }
    }
}

/// One that is open.
#[derive(Debug)]
pub(crate) struct OpenFile {
    folder: OwnedFd,
    file: OwnedFd,
    length: u64,
    /// Beyond this it is begun anew; more than its size where that has failed.
    limit: u64,
}

impl OpenFile {
    pub(crate) fn open(plan: &Plan) -> Result<Self, FileError> {
        let (folder, name) = plan.split();
        let folder = open_folder(folder).map_err(|errno| FileError::Folder {
            folder: if folder.is_empty() { "/" } else { folder }.to_owned(),
            errno,
        })?;
        let (file, length) = open_in(&folder, name, plan)?;
        Ok(Self {
            folder,
            file,
            length,
            limit: plan.wanted.size,
        })
    }

    /// Writes lines; what is not written is given back, with the reason. A file
    /// that can't be begun anew goes on growing: that is told, and nothing is
    /// lost.
    pub(crate) fn write<'b>(
        &mut self,
        plan: &Plan,
        mut bytes: &'b [u8],
        mut told: impl FnMut(FileError),
    ) -> Result<(), (&'b [u8], FileError)> {
        while !bytes.is_empty() {
            let room = self.limit.saturating_sub(self.length);
            let mut fits = fit(room, bytes);
            if fits == 0 && self.length > 0 {
                match self.rotate(plan) {
                    Ok(()) => {}
                    Err(error) => {
                        self.limit = self.length.saturating_add(plan.wanted.size);
                        told(error);
                    }
                }
                continue;
            }
            if fits == 0 {
                fits = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            }
            let (now, _) = bytes.split_at(fits);
            match unistd::write(&self.file, now) {
                Ok(written) => {
                    self.length += u64::try_from(written).unwrap_or(0);
                    bytes = bytes.get(written..).unwrap_or(&[]);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    let path = plan.wanted.path.clone();
                    return Err((bytes, FileError::Write { path, errno }));
                }
            }
        }
        Ok(())
    }

    /// Begins it anew: `log` becomes `log.1`, and that `log.2`, and so on. Each
    /// name is given away only after what had it has another, so that whatever
    /// stops this in between loses no line.
    fn rotate(&mut self, plan: &Plan) -> Result<(), FileError> {
        let (_, name) = plan.split();
        // Somebody else may have emptied it.
        let length = fstat(&self.file)
            .map_err(|errno| plan.error(errno))?
            .st_size;
        self.length = u64::try_from(length).unwrap_or(0);
        if self.length == 0 {
            return Ok(());
        }
        let old = |number: u32| format!("{name}.{number}");
        let count = plan.wanted.count;
        let folder = self.folder.as_fd();
        let is_there = |number: &u32| {
            fstatat(folder, old(*number).as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
        };
        // The first that is free, or the last, which goes.
        let free = (1..count).find(|number| !is_there(number));
        let last = free.unwrap_or(count);
        let rename = |from: &str, to: &str| match renameat(folder, from, folder, to) {
            Err(Errno::ENOENT) | Ok(()) => Ok(()),
            Err(errno) => Err(FileError::Rename {
                path: format!("{}/{from}", plan.split().0),
                errno,
            }),
        };
        for number in (1..last).rev() {
            rename(&old(number), &old(number + 1))?;
        }
        if count == 0 {
            match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(plan.error(errno)),
            }
        } else {
            rename(name, &old(1))?;
        }
        let (file, length) = open_in(&self.folder, name, plan)?;
        (self.file, self.length) = (file, length);
        self.limit = plan.wanted.size;
        Ok(())
    }
}

/// How many bytes of these lines, in whole lines, there is room for.
fn fit(room: u64, bytes: &[u8]) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    match bytes.get(..room) {
        Some(head) if room < bytes.len() => memchr::memrchr(b'\n', head).map_or(0, |end| end + 1),
        _ => bytes.len(),
    }
}

/// A folder by its absolute path, on which no symbolic link is followed.
fn open_folder(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut folder = nix::fcntl::open("/", flags, Mode::empty())?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        folder = match openat(&folder, name, flags, Mode::empty()) {
            // What O_DIRECTORY says of a link that is not followed.
            Err(Errno::ENOTDIR) if is_link(&folder, name) => return Err(Errno::ELOOP),
            opened => opened?,
        };
    }
    Ok(folder)
}

fn is_link(folder: &OwnedFd, name: &str) -> bool {
    let found = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    found.is_ok_and(|found| kind(found.st_mode) == SFlag::S_IFLNK)
}

fn kind(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}

/// The file, to write at its end, and how long it is.
fn open_in(folder: &OwnedFd, name: &str, plan: &Plan) -> Result<(OwnedFd, u64), FileError> {
    // Not to wait for the reader of a FIFO, before it is known for one.
    let flags = OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    let new = flags | OFlag::O_CREAT | OFlag::O_EXCL;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP;
    let file = match openat(folder, name, new, mode) {
        Ok(file) => {
            let group = plan.group.map(Gid::from_raw);
            // Refused without privilege, where the group is right already.
            let _ = unistd::fchown(&file, None, group);
            file
        }
        Err(Errno::EEXIST) => {
            let opened = openat(folder, name, flags, Mode::empty());
            opened.map_err(|errno| match errno {
                // A FIFO without a reader, or a socket.
                Errno::ENXIO => FileError::NotRegular {
                    path: plan.wanted.path.clone(),
                },
                errno => plan.error(errno),
            })?
        }
        Err(errno) => return Err(plan.error(errno)),
    };
    let found = fstat(&file).map_err(|errno| plan.error(errno))?;
    let path = || plan.wanted.path.clone();
    if kind(found.st_mode) != SFlag::S_IFREG {
        return Err(FileError::NotRegular { path: path() });
    }
    if found.st_nlink > 1 {
        return Err(FileError::SecondName { path: path() });
    }
    Ok((file, u64::try_from(found.st_size).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
