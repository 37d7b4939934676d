//! A group by a descriptor of its directory: where it lies is not looked up
//! again, and one that was handed over has no path at all.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{self, UnlinkatFlags, unlinkat};

use super::CgroupError;

/// A directory of a hierarchy.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    /// What it is called in messages.
    name: PathBuf,
}

impl Dir {
    pub(super) fn new(fd: OwnedFd, name: impl Into<PathBuf>) -> Self {
        let name = name.into();
        Self { fd, name }
    }

    /// Makes a group below it, with the mode of one that has no secrets. False
    /// where it is there.
    pub(super) fn make(&self, name: &str) -> Result<bool, CgroupError> {
        match mkdirat(&self.fd, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => {
                let path = self.at(name);
                Err(CgroupError::Make { path, errno })
            }
        }
    }

    /// Removes a group below it, if nobody is in it.
    pub(super) fn remove(&self, name: &str) {
        let _ = unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir);
    }

    pub(super) fn has(&self, file: &str) -> bool {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        openat(&self.fd, file, flags, Mode::empty()).is_ok()
    }

    /// What is in a file; nothing where it can't be read.
    pub(super) fn read(&self, file: &str) -> String {
        let mut text = String::new();
        if let Ok(fd) = self.open(file, OFlag::O_RDONLY) {
            // What was read until it failed is as good as nothing.
            let _ = File::from(fd).read_to_string(&mut text);
        }
        text
    }

    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        let written = self
            .open(file, OFlag::O_WRONLY)
            .and_then(|fd| unistd::write(fd, value.as_bytes()));
        written.map(drop).map_err(|errno| CgroupError::Write {
            path: self.at(file),
            value: value.to_owned(),
            errno,
        })
    }

    pub(super) fn open_for_writing(&self, file: &str) -> Result<OwnedFd, CgroupError> {
        self.open(file, OFlag::O_WRONLY)
            .map_err(|errno| CgroupError::Open {
                path: self.at(file),
                errno,
            })
    }

    fn open(&self, file: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        openat(&self.fd, file, flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    fn at(&self, file: &str) -> PathBuf {
        Path::new(&self.name).join(file)
    }
}

/// A group in the folder of an init.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) folder: Rc<Dir>,
    pub(super) name: String,
}

impl Group {
    pub(super) fn read(&self, file: &str) -> String {
        self.folder.read(&self.file(file))
    }

    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        self.folder.write(&self.file(file), value)
    }

    pub(super) fn open_for_writing(&self, file: &str) -> Result<OwnedFd, CgroupError> {
        self.folder.open_for_writing(&self.file(file))
    }

    fn file(&self, file: &str) -> String {
        format!("{}/{file}", self.name)
    }
}
