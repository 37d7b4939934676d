//! A directory as the root of every path: nothing named through it is ever
//! outside of it, whatever links lie within.
//!
//! Parents are opened by `openat2` with `RESOLVE_IN_ROOT` and
//! `RESOLVE_NO_MAGICLINKS`: an absolute link means the root's own `/`, and
//! `..` at the root stays there. The last component is acted upon by the
//! parent's descriptor and never followed, so no name is resolved twice.
//! Metadata is set through descriptors alone.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{self, Mode};
use nix::unistd;

mod metadata;
mod remove;
pub use metadata::{Kind, Metadata};
pub(crate) use metadata::{Node, set_mtime_at};
pub(crate) use remove::remove_entry;

/// A directory that is the root of all paths given to its methods. Paths may
/// begin with `/` or not; both start at the root.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
}

/// A failed operation within a [`RootDir`].
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct RootError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On what, as it was given.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Retries of `openat2` when something beneath was renamed meanwhile; the
/// kernel asks for it by EAGAIN. A writer that renames without end gets an
/// error rather than our patience.
const RESOLVE_ATTEMPTS: u32 = 128;

impl RootDir {
    /// Opens `path` (followed, on the host) as a root.
    pub fn open(path: &Path) -> Result<RootDir, RootError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match fcntl::open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(RootDir { fd }),
            Err(error) => Err(failed("open", path, error)),
        }
    }

    /// Takes a directory's descriptor (`O_PATH` suffices) as a root.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> RootDir {
        RootDir { fd }
    }

    /// The file at `path`, for reading. Links are followed within the root;
    /// anything but a regular file is refused and never opened, so neither a
    /// FIFO nor a device can hold us up.
    pub fn open_file(&self, path: &Path) -> Result<File, RootError> {
        let node = self
            .follow(path)
            .map_err(|error| failed("open", path, error))?;
        node.open_regular().map_err(|source| RootError {
            action: "open",
            path: path.to_owned(),
            source,
        })
    }

    /// The directory at `path`, links followed within the root.
    pub fn open_dir(&self, path: &Path) -> Result<OwnedFd, RootError> {
        self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
            .map_err(|error| failed("open", path, error))
    }

    /// At most `limit` bytes of the file at `path`; a longer one is an error.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, RootError> {
        let file = self.open_file(path)?;
        let wrap = |source| RootError {
            action: "read",
            path: path.to_owned(),
            source,
        };
        read_bounded(file, limit).map_err(wrap)
    }

    /// Makes the file `path`, which must not exist, for writing, with exactly
    /// this mode whatever the umask.
    pub fn create_file(&self, path: &Path, mode: u32) -> Result<File, RootError> {
        let create = || {
            let (parent, name) = self.parent(path)?;
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            let fd = fcntl::openat(&parent, name, flags | OFlag::O_CLOEXEC, bits(0o600))?;
            stat::fchmod(&fd, bits(mode))?;
            Ok(File::from(fd))
        };
        create().map_err(|error| failed("create", path, error))
    }

    /// Makes the directory `path`, which must not exist, with exactly this
    /// mode whatever the umask.
    pub fn mkdir(&self, path: &Path, mode: u32) -> Result<(), RootError> {
        let make = || {
            let (parent, name) = self.parent(path)?;
            make_dir(parent.as_fd(), name, mode)
        };
        make().map_err(|error| failed("make directory", path, error))
    }

    /// Makes `path` and the parents it lacks, each with this mode; what
    /// exists keeps its own. Links are followed within the root.
    pub fn mkdir_all(&self, path: &Path, mode: u32) -> Result<(), RootError> {
        self.ensure_dir(path, mode)
            .map(drop)
            .map_err(|error| failed("make directory", path, error))
    }

    /// Makes the symbolic link `path`; `target` is stored as it is.
    pub fn symlink(&self, target: &OsStr, path: &Path) -> Result<(), RootError> {
        let make = || {
            let (parent, name) = self.parent(path)?;
            unistd::symlinkat(target, &parent, name)
        };
        make().map_err(|error| failed("link", path, error))
    }

    /// Makes `path` another name of `existing`, neither of which is followed.
    pub fn link(&self, existing: &Path, path: &Path) -> Result<(), RootError> {
        let make = || {
            let (from, from_name) = self.parent(existing)?;
            let (to, to_name) = self.parent(path)?;
            unistd::linkat(&from, from_name, &to, to_name, AtFlags::empty())
        };
        make().map_err(|error| failed("link", path, error))
    }

    /// Makes a device, FIFO or socket with exactly this mode. A character
    /// device of number 0 is an overlay whiteout.
    pub fn mknod(&self, path: &Path, kind: Kind, mode: u32, device: u64) -> Result<(), RootError> {
        let make = || {
            let (parent, name) = self.parent(path)?;
            stat::mknodat(&parent, name, kind.bits(), bits(mode), device)?;
            Node::at(parent.as_fd(), name)?.set_mode(mode)
        };
        make().map_err(|error| failed("make node", path, error))
    }

    /// Moves `from` to `to`, replacing what is there as `rename(2)` does;
    /// neither last component is followed.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), RootError> {
        let rename = || {
            let (old, old_name) = self.parent(from)?;
            let (new, new_name) = self.parent(to)?;
            fcntl::renameat(&old, old_name, &new, new_name)
        };
        rename().map_err(|error| failed("rename", from, error))
    }

    /// Removes `path`, whatever it is, with all beneath; links are removed,
    /// not followed. That it was not there is no error.
    pub fn remove(&self, path: &Path) -> Result<(), RootError> {
        let remove = || {
            let (parent, name) = self.parent(path)?;
            remove_entry(parent.as_fd(), name)
        };
        match remove() {
            Err(Errno::ENOENT) => Ok(()),
            other => other.map_err(|error| failed("remove", path, error)),
        }
    }

    /// What `path` is; a link is not followed. `None` where nothing is.
    pub fn stat(&self, path: &Path) -> Result<Option<Metadata>, RootError> {
        let look = || match self.parent(path) {
            Ok((parent, name)) => Metadata::at(parent.as_fd(), name),
            // The root itself, or a path that ends in `..`.
            Err(Errno::EINVAL) => Metadata::of(self.resolve(path, OFlag::O_PATH)?.as_fd()),
            Err(error) => Err(error),
        };
        absent(look()).map_err(|error| failed("examine", path, error))
    }

    /// What `path` leads to, links followed within the root. `None` where
    /// nothing is.
    pub fn stat_follow(&self, path: &Path) -> Result<Option<Metadata>, RootError> {
        let look = || Metadata::of(self.resolve(path, OFlag::O_PATH)?.as_fd());
        absent(look()).map_err(|error| failed("examine", path, error))
    }

    /// The text of the link at `path`.
    pub fn read_link(&self, path: &Path) -> Result<OsString, RootError> {
        let read = || {
            let (parent, name) = self.parent(path)?;
            fcntl::readlinkat(&parent, name)
        };
        read().map_err(|error| failed("read link", path, error))
    }

    /// Names in the directory at `path`, sorted by their bytes.
    pub fn entries(&self, path: &Path) -> Result<Vec<OsString>, RootError> {
        let list = || names(self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?);
        list().map_err(|error| failed("list", path, error))
    }

    /// Sets owner and group of `path` itself, as numbers.
    pub fn set_owner(&self, path: &Path, uid: u32, gid: u32) -> Result<(), RootError> {
        let set = || self.node(path)?.set_owner(uid, gid);
        set().map_err(|error| failed("change owner of", path, error))
    }

    /// Sets the mode of `path` itself, which must not be a link.
    pub fn set_mode(&self, path: &Path, mode: u32) -> Result<(), RootError> {
        let set = || self.node(path)?.set_mode(mode);
        set().map_err(|error| failed("change mode of", path, error))
    }

    /// Sets access and modification time of `path` itself, in seconds and
    /// nanoseconds since 1970.
    pub fn set_mtime(&self, path: &Path, seconds: i64, nanoseconds: u32) -> Result<(), RootError> {
        let set = || {
            let (parent, name) = self.parent(path)?;
            set_mtime_at(parent.as_fd(), name, seconds, nanoseconds)
        };
        set().map_err(|error| failed("change time of", path, error))
    }

    /// Sets an extended attribute of `path` itself, link or not.
    pub fn set_xattr(&self, path: &Path, name: &OsStr, value: &[u8]) -> Result<(), RootError> {
        let set = || Ok::<_, io::Error>(self.node(path)?.set_xattr(name, value))?;
        set().map_err(|source| RootError {
            action: "set an attribute of",
            path: path.to_owned(),
            source,
        })
    }

    /// All extended attributes of `path` itself, sorted by name.
    pub fn xattrs(&self, path: &Path) -> Result<Vec<(OsString, Vec<u8>)>, RootError> {
        let get = || Ok::<_, io::Error>(self.node(path)?.xattrs())?;
        get().map_err(|source| RootError {
            action: "read the attributes of",
            path: path.to_owned(),
            source,
        })
    }

    /// The parent's descriptor and the last component. EINVAL where there is
    /// none that could be made or removed.
    pub(crate) fn parent<'p>(&self, path: &'p Path) -> nix::Result<(OwnedFd, &'p OsStr)> {
        let name = match path.components().next_back() {
            Some(Component::Normal(name)) => name,
            _ => return Err(Errno::EINVAL),
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        Ok((self.resolve(parent, flags)?, name))
    }

    /// A handle on `path` itself.
    fn node(&self, path: &Path) -> nix::Result<Node> {
        match self.parent(path) {
            Ok((parent, name)) => Node::at(parent.as_fd(), name),
            Err(Errno::EINVAL) => self.follow(path),
            Err(error) => Err(error),
        }
    }

    /// A handle on what `path` leads to.
    fn follow(&self, path: &Path) -> nix::Result<Node> {
        Ok(Node::from(self.resolve(path, OFlag::O_PATH)?))
    }

    /// Opens what `path` leads to, everything resolved beneath the root.
    pub(crate) fn resolve(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let mut attempts = RESOLVE_ATTEMPTS;
        loop {
            match fcntl::openat2(&self.fd, path, how) {
                Err(Errno::EAGAIN) if attempts > 0 => attempts -= 1,
                Err(Errno::EINTR) => {}
                other => return other,
            }
        }
    }

    /// The directory at `path`, made with its parents where it is not there.
    pub(crate) fn ensure_dir(&self, path: &Path, mode: u32) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.resolve(path, flags) {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
        let mut made = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    let parent = self.resolve(&made, flags)?;
                    match make_dir(parent.as_fd(), name, mode) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(error) => return Err(error),
                    }
                    made.push(name);
                }
                Component::ParentDir => made.push(".."),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        self.resolve(path, flags)
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn failed(action: &'static str, path: &Path, error: Errno) -> RootError {
    RootError {
        action,
        path: path.to_owned(),
        source: error.into(),
    }
}

/// "Not there" as a value rather than an error.
fn absent(found: nix::Result<Metadata>) -> nix::Result<Option<Metadata>> {
    match found {
        Ok(metadata) => Ok(Some(metadata)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Permission bits with set-id and sticky.
pub(crate) fn bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode & 0o7777)
}

/// `mkdirat` with exactly this mode.
pub(crate) fn make_dir(parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> nix::Result<()> {
    stat::mkdirat(parent, name, bits(0o700))?;
    Node::at(parent, name)?.set_mode(mode)
}

/// Names in a directory, sorted by their bytes, without `.` and `..`.
pub(crate) fn names(dir: OwnedFd) -> nix::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in nix::dir::Dir::from_fd(dir)? {
        let name = entry?;
        let name = name.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Reads to the end, but no more than `limit` bytes.
pub(crate) fn read_bounded(from: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        ));
    }
    Ok(bytes)
}
