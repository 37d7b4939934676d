//! Places under a container's root: found and made beneath one descriptor,
//! never by a path that is walked twice.
//!
//! The image belongs to somebody else. Each link in it is resolved by the
//! kernel as if the root were `/` (openat2, RESOLVE_IN_ROOT), and what is made
//! is made in a directory that is already open (CVE-2021-30465,
//! CVE-2024-45310).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

/// Links on one path before it is taken for a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory.
    Directory,
    /// Anything else that a file can be mounted on.
    File,
}

/// A container's root directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rootfs<'fd>(BorrowedFd<'fd>);

impl<'fd> Rootfs<'fd> {
    /// Works beneath this directory.
    pub(crate) fn new(root: BorrowedFd<'fd>) -> Self {
        Self(root)
    }

    /// Opens what is there, as a handle for mounts and `*at` calls.
    pub(crate) fn open(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.resolve(path, ResolveFlag::RESOLVE_IN_ROOT)
    }

    /// Opens what is there if no link is on the way.
    pub(crate) fn open_strictly(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.resolve(
            path,
            ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS,
        )
    }

    fn resolve(&self, path: &Path, how: ResolveFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(how | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        loop {
            // EAGAIN: a rename raced with `..` on the way.
            match openat2(self.0, path, how) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                done => return done,
            }
        }
    }

    /// Opens what is there, or makes it: its directories too.
    pub(crate) fn open_or_make(&self, path: &Path, place: Place) -> nix::Result<OwnedFd> {
        match self.open(path) {
            Err(Errno::ENOENT) => {}
            done => return done,
        }
        let mut left: VecDeque<OsString> = names(path);
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(&name);
            match self.open(&next) {
                Ok(_) => done = next,
                Err(Errno::ENOENT) => {
                    let parent = self.open(&done)?;
                    if let Ok(target) = readlinkat(&parent, name.as_os_str()) {
                        // A link to nothing: what it names is made.
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::ELOOP);
                        }
                        let target = PathBuf::from(target);
                        if target.is_absolute() {
                            done = PathBuf::from("/");
                        }
                        for part in names(&target).into_iter().rev() {
                            left.push_front(part);
                        }
                        continue;
                    }
                    let last = left.is_empty();
                    make(
                        parent.as_fd(),
                        &name,
                        if last { place } else { Place::Directory },
                    )?;
                    done = next;
                }
                Err(errno) => return Err(errno),
            }
        }
        self.open(&done)
    }

    /// Opens the directory that a path's last name stands in, making what is
    /// missing, and returns that name.
    pub(crate) fn parent<'path>(&self, path: &'path Path) -> nix::Result<(OwnedFd, &'path OsStr)> {
        let name = path.file_name().ok_or(Errno::EINVAL)?;
        let parent = path.parent().unwrap_or_else(|| Path::new("/"));
        Ok((self.open_or_make(parent, Place::Directory)?, name))
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn make(parent: BorrowedFd<'_>, name: &OsStr, place: Place) -> nix::Result<()> {
    let made = match place {
        Place::Directory => mkdirat(parent, name, Mode::from_bits_truncate(0o755)),
        Place::File => openat(
            parent,
            name,
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::from_bits_truncate(0o644),
        )
        .map(drop),
    };
    match made {
        // Somebody who shares the tree was faster.
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// Whether an open handle is a directory.
pub(crate) fn place_of(fd: BorrowedFd<'_>) -> nix::Result<Place> {
    let format = SFlag::from_bits_truncate(fstat(fd)?.st_mode & SFlag::S_IFMT.bits());
    Ok(if format == SFlag::S_IFDIR {
        Place::Directory
    } else {
        Place::File
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root(dir: &Path) -> OwnedFd {
        std::fs::File::open(dir).unwrap().into()
    }

    #[test]
    fn missing_directories_are_made_inside() {
        let dir = tempfile::tempdir().unwrap();
        let fd = root(dir.path());
        let rootfs = Rootfs::new(fd.as_fd());
        rootfs
            .open_or_make(Path::new("/a/b/c"), Place::Directory)
            .unwrap();
        rootfs
            .open_or_make(Path::new("/a/b/f"), Place::File)
            .unwrap();
        assert!(dir.path().join("a/b/c").is_dir());
        assert!(dir.path().join("a/b/f").is_file());
    }

    #[test]
    fn a_link_out_of_the_root_stays_in_it() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("etc")).unwrap();
        let fd = root(dir.path());
        Rootfs::new(fd.as_fd())
            .open_or_make(Path::new("/etc/x"), Place::File)
            .unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let inside = dir.path().join(outside.path().strip_prefix("/").unwrap());
        assert!(inside.join("x").is_file());
    }

    #[test]
    fn a_dangling_relative_link_names_what_is_made() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        symlink("../run/resolv.conf", dir.path().join("etc/resolv.conf")).unwrap();
        let fd = root(dir.path());
        Rootfs::new(fd.as_fd())
            .open_or_make(Path::new("/etc/resolv.conf"), Place::File)
            .unwrap();
        assert!(dir.path().join("run/resolv.conf").is_file());
    }

    #[test]
    fn links_that_lead_in_circles_end() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let fd = root(dir.path());
        let rootfs = Rootfs::new(fd.as_fd());
        assert_eq!(
            rootfs.open_or_make(Path::new("/a"), Place::File).err(),
            Some(Errno::ELOOP)
        );
        assert!(rootfs.open_strictly(Path::new("/a")).is_err());
    }
}
