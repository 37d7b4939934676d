//! A directory in overlay form → a layer's tar, the same bytes for the same
//! content: whatever the order of the directory, the umask, the clock.
//!
//! What is normalised: entries are sorted by name, whiteouts first as layer.md
//! asks; times are whole seconds, none after the epoch given; owners are
//! numbers; the root itself has no entry; attributes that belong to the host
//! (SELinux, IMA) or to the overlay are left out.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::{self, Mode};

use super::encode;
use super::entry::{Entry, What};
use super::limits::Limits;
use super::{LayerError, OPAQUE, OPAQUE_XATTR, Refusal, WHITEOUT};
use crate::root::{self, Kind, Metadata, Node};

/// Writes the tar of `dir`, which is in overlay form. Times after `epoch`
/// (seconds since 1970) become `epoch`.
///
/// Nobody may write beneath `dir` meanwhile: a file that changes is an error,
/// not a torn entry. Sockets are left out, as tar has none.
pub fn pack(dir: BorrowedFd<'_>, epoch: i64, out: impl Write) -> Result<(), LayerError> {
    let mut packer = Packer {
        out,
        epoch,
        links: HashMap::new(),
        buffer: vec![0; 128 << 10],
    };
    packer.tree(dir)?;
    encode::write_end(&mut packer.out).map_err(LayerError::Write)?;
    packer.out.flush().map_err(LayerError::Write)
}

struct Packer<W> {
    out: W,
    epoch: i64,
    /// First name of every file that has several, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

/// A directory on the way down.
struct Level {
    dir: OwnedFd,
    /// Its path with a slash at the end; empty for the root.
    prefix: Vec<u8>,
    /// What is still to be packed, last first.
    left: Vec<(OsString, Metadata)>,
}

impl<W: Write> Packer<W> {
    fn tree(&mut self, root: BorrowedFd<'_>) -> Result<(), LayerError> {
        let top = open_dir(root, OsStr::new(".")).map_err(|error| failed(b".", error))?;
        let mut levels = vec![self.enter(top, Vec::new())?];
        while let Some(level) = levels.last_mut() {
            let Some((name, metadata)) = level.left.pop() else {
                levels.pop();
                continue;
            };
            let mut path = level.prefix.clone();
            path.extend_from_slice(name.as_bytes());
            let parent = level.dir.as_fd();
            if metadata.kind != Kind::Directory {
                self.leaf(parent, &name, path, &metadata)?;
                continue;
            }
            let dir = open_dir(parent, &name).map_err(|error| failed(&path, error))?;
            path.push(b'/');
            self.directory(&dir, &path, &metadata)?;
            if levels.len() >= Limits::default().depth {
                return Err(unpackable(&path, Refusal::TooDeep));
            }
            let below = self.enter(dir, path)?;
            levels.push(below);
        }
        Ok(())
    }

    /// Lists a directory; writes its whiteouts and leaves the rest for later.
    fn enter(&mut self, dir: OwnedFd, prefix: Vec<u8>) -> Result<Level, LayerError> {
        let listed = dir
            .try_clone()
            .and_then(|dir| Ok(root::names(dir)?))
            .map_err(|error| failed(&prefix, error))?;
        let mut left = Vec::with_capacity(listed.len());
        for name in listed {
            let path = || [prefix.as_slice(), name.as_bytes()].concat();
            if name.as_bytes().starts_with(WHITEOUT) {
                return Err(unpackable(&path(), Refusal::WhiteoutName));
            }
            let metadata =
                Metadata::at(dir.as_fd(), &name).map_err(|error| failed(&path(), error))?;
            if metadata.is_whiteout() {
                let whiteout = [prefix.as_slice(), WHITEOUT, name.as_bytes()].concat();
                self.header(&marker(whiteout))?;
            } else if metadata.kind == Kind::Socket {
                log::info!("socket {} is not packed", String::from_utf8_lossy(&path()));
            } else {
                left.push((name, metadata));
            }
        }
        left.reverse();
        Ok(Level { dir, prefix, left })
    }

    fn directory(
        &mut self,
        dir: &OwnedFd,
        path: &[u8],
        metadata: &Metadata,
    ) -> Result<(), LayerError> {
        let node = dir
            .try_clone()
            .map(Node::from)
            .map_err(|error| failed(path, error))?;
        let (xattrs, opaque) = attributes(&node, path)?;
        self.header(&self.describe(path.to_vec(), What::Directory, metadata, xattrs))?;
        if opaque {
            self.header(&marker([path, OPAQUE].concat()))?;
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: Vec<u8>,
        metadata: &Metadata,
    ) -> Result<(), LayerError> {
        if metadata.links > 1 {
            if let Some(first) = self.links.get(&(metadata.dev, metadata.ino)) {
                let what = What::HardLink(first.clone());
                return self.header(&self.describe(path, what, metadata, Vec::new()));
            }
            self.links
                .insert((metadata.dev, metadata.ino), path.clone());
        }
        if metadata.kind == Kind::File {
            return self.file(parent, name, path, metadata);
        }
        let node = Node::at(parent, name).map_err(|error| failed(&path, error))?;
        let (xattrs, _) = attributes(&node, &path)?;
        let device = || {
            let part = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            (
                part(stat::major(metadata.rdev)),
                part(stat::minor(metadata.rdev)),
            )
        };
        let what = match metadata.kind {
            Kind::Symlink => {
                let target =
                    fcntl::readlinkat(parent, name).map_err(|error| failed(&path, error))?;
                What::Symlink(target.as_bytes().to_vec())
            }
            Kind::CharDevice => {
                let (major, minor) = device();
                What::CharDevice(major, minor)
            }
            Kind::BlockDevice => {
                let (major, minor) = device();
                What::BlockDevice(major, minor)
            }
            Kind::Fifo | Kind::Socket => What::Fifo,
            Kind::File | Kind::Directory => return Err(unpackable(&path, Refusal::Changed)),
        };
        self.header(&self.describe(path, what, metadata, xattrs))
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: Vec<u8>,
        listed: &Metadata,
    ) -> Result<(), LayerError> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = fcntl::openat(parent, name, flags, Mode::empty())
            .map_err(|error| failed(&path, error))?;
        let opened = Metadata::of(fd.as_fd()).map_err(|error| failed(&path, error))?;
        if opened != *listed {
            return Err(unpackable(&path, Refusal::Changed));
        }
        let node = fd
            .try_clone()
            .map(Node::from)
            .map_err(|error| failed(&path, error))?;
        let (xattrs, _) = attributes(&node, &path)?;
        let entry = self.describe(path, What::File, &opened, xattrs);
        self.header(&entry)?;
        let mut file = File::from(fd);
        let mut left = entry.size;
        loop {
            let read = match file.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|error| failed(&entry.path, error))?,
            };
            let Some(bytes) = self.buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            left = left
                .checked_sub(read as u64)
                .ok_or_else(|| unpackable(&entry.path, Refusal::Changed))?;
            self.out.write_all(bytes).map_err(LayerError::Write)?;
        }
        if left != 0 {
            return Err(unpackable(&entry.path, Refusal::Changed));
        }
        encode::pad(&mut self.out, entry.size).map_err(LayerError::Write)
    }

    fn describe(
        &self,
        path: Vec<u8>,
        what: What,
        metadata: &Metadata,
        xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Entry {
        let size = if what == What::File { metadata.size } else { 0 };
        // Links have no mode of their own; Linux shows 0777.
        let mode = if matches!(what, What::Symlink(_)) {
            0o777
        } else {
            metadata.mode
        };
        Entry {
            path,
            what,
            size,
            mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: metadata.mtime.min(self.epoch),
            mtime_nanos: 0,
            xattrs,
        }
    }

    fn header(&mut self, entry: &Entry) -> Result<(), LayerError> {
        encode::write_entry(&mut self.out, entry).map_err(LayerError::Write)
    }
}

/// A whiteout's entry: it says nothing but its name.
fn marker(path: Vec<u8>) -> Entry {
    Entry {
        path,
        what: What::File,
        size: 0,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nanos: 0,
        xattrs: Vec::new(),
    }
}

/// Attributes that travel, in the order of their names; and whether the
/// directory is opaque.
#[expect(
    clippy::type_complexity,
    reason = "pairs of name and value need no type of their own"
)]
fn attributes(node: &Node, path: &[u8]) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, bool), LayerError> {
    let mut kept = Vec::new();
    let mut opaque = false;
    for (name, value) in node.xattrs().map_err(|error| failed(path, error))? {
        let name = name.as_bytes();
        if name == OPAQUE_XATTR.as_bytes() {
            // "x" says that whiteouts may be attributes within; none is ours.
            opaque |= value == b"y";
        } else if name == b"trusted.overlay.redirect" || name == b"trusted.overlay.metacopy" {
            return Err(unpackable(path, Refusal::Redirect));
        } else if travels(name) {
            kept.push((name.to_vec(), value));
        }
    }
    Ok((kept, opaque))
}

fn travels(name: &[u8]) -> bool {
    let overlay = super::OVERLAY_XATTRS
        .iter()
        .any(|steering| name.starts_with(steering));
    !overlay
        && (name.starts_with(b"user.")
            || name.starts_with(b"trusted.")
            || name.starts_with(b"system.posix_acl_")
            || name == b"security.capability")
}

fn open_dir(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    fcntl::openat(parent, name, flags, Mode::empty())
}

fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}

fn failed(path: &[u8], error: impl Into<io::Error>) -> LayerError {
    match error.into() {
        // It was there when its directory was listed.
        gone if gone.raw_os_error() == Some(Errno::ENOENT as i32) => {
            unpackable(path, Refusal::Changed)
        }
        source => LayerError::Pack {
            path: shown(path),
            source,
        },
    }
}

fn unpackable(path: &[u8], refusal: Refusal) -> LayerError {
    LayerError::Unpackable {
        path: shown(path),
        refusal,
    }
}
