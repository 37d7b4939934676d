//! A layer's tar → a directory in overlay form.
//!
//! The tar is hostile. Three things keep it in: parents are resolved by the
//! kernel beneath the root ([`RootDir`]); the last component is made with
//! `O_EXCL` or its like, so nothing that exists is ever opened or followed;
//! and nothing but an own whiteout is ever replaced, so an entry cannot change
//! what an earlier one made.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag};
use nix::sys::stat::{self, SFlag};
use nix::unistd::{self, UnlinkatFlags};

use super::entry::{Entry, What};
use super::limits::{LimitError, Limits};
use super::path::Target;
use super::stream::{TarError, TarReader};
use super::{LayerError, OPAQUE_XATTR, OVERLAY_XATTRS, Refusal};
use crate::root::{self, Kind, Metadata, Node, RootDir};

/// Mode of parents that no entry describes.
const IMPLIED_MODE: u32 = 0o755;

/// Unpacks the tar into `root`, which must be empty; reads to the tar's end
/// mark. After an error the directory holds a part and is good for nothing.
///
/// Implements image-spec layer.md, *Applying Changesets*, onto an empty
/// directory: a whiteout is written down, not applied.
pub fn unpack(tar: impl Read, root: &RootDir, limits: &Limits) -> Result<(), LayerError> {
    let mut unpacker = Unpacker {
        root,
        limits: *limits,
        parent: None,
        directories: Vec::new(),
        held: 0,
        buffer: vec![0; 128 << 10],
    };
    let mut tar = TarReader::new(tar, limits);
    while let Some(entry) = tar.next()? {
        unpacker.entry(&entry, &mut tar)?;
    }
    unpacker.finish()
}

struct Unpacker<'r> {
    root: &'r RootDir,
    limits: Limits,
    /// The parent of the entry before: most entries share theirs. It stays
    /// valid because directories are never removed or replaced.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Directories' times, set last: making entries changes them.
    directories: Vec<(PathBuf, i64, u32)>,
    held: u64,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, tar: &mut TarReader<R>) -> Result<(), LayerError> {
        let at = At(&entry.path);
        let target = Target::of(&entry.path, &self.limits).map_err(|refusal| at.refuse(refusal))?;
        let steers = |name: &[u8]| OVERLAY_XATTRS.iter().any(|prefix| name.starts_with(prefix));
        if entry.xattrs.iter().any(|(name, _)| steers(name)) {
            return Err(at.refuse(Refusal::OverlayAttribute));
        }
        match target {
            // The root's own attributes are the box's affair, not a layer's.
            Target::Root if entry.what == What::Directory => Ok(()),
            Target::Root => Err(at.refuse(Refusal::Root)),
            Target::Opaque(_) | Target::Whiteout(..) if entry.what != What::File => {
                Err(at.refuse(Refusal::Whiteout))
            }
            Target::Opaque(dir) if dir.as_os_str().is_empty() => {
                Err(at.refuse(Refusal::OpaqueRoot))
            }
            Target::Opaque(dir) => {
                let dir = self.parent(dir, at)?;
                let dir = dir.try_clone_to_owned().map_err(|error| at.failed(error))?;
                set_opaque(dir).map_err(|error| at.failed(error))
            }
            Target::Whiteout(parent, name) => self.whiteout(parent, name, at),
            Target::Make(parent, name) => self.make(parent, name, entry, tar, at),
        }
    }

    /// Deletes the name from the layers below.
    fn whiteout(&mut self, parent: PathBuf, name: &OsStr, at: At<'_>) -> Result<(), LayerError> {
        let parent = self.parent(parent, at)?;
        match make_whiteout(parent, name) {
            Err(Errno::EEXIST) => {}
            other => return other.map_err(|error| at.failed(error)),
        }
        // This layer's own entry of the name hides the ones below already,
        // save that directories merge.
        let existing = Metadata::at(parent, name).map_err(|error| at.failed(error))?;
        match existing.kind {
            Kind::Directory => open_dir(parent, name)
                .map_err(io::Error::from)
                .and_then(set_opaque)
                .map_err(|error| at.failed(error)),
            _ if existing.is_whiteout() => Err(at.refuse(Refusal::Duplicate)),
            _ => Ok(()),
        }
    }

    fn make<R: Read>(
        &mut self,
        parent_path: PathBuf,
        name: &OsStr,
        entry: &Entry,
        tar: &mut TarReader<R>,
        at: At<'_>,
    ) -> Result<(), LayerError> {
        if entry.what == What::Directory {
            let path = parent_path.join(name);
            self.held += path.as_os_str().len() as u64 + 64;
            if self.held > self.limits.held {
                let limit = self.limits.held;
                return Err(TarError::Limit(LimitError::Held { limit }).into());
            }
            self.directories
                .push((path, entry.mtime, entry.mtime_nanos));
        }
        let link = match &entry.what {
            What::HardLink(target) => Some(self.link_target(target, at)?),
            _ => None,
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let parent = self.parent(parent_path, at)?;
        let mut result = create(parent, name, entry, link.as_ref(), at);
        if matches!(&result, Err(LayerError::Unpack { source, .. }) if is(source, Errno::EEXIST)) {
            result = replace(parent, name, entry, link.as_ref(), at);
        }
        let made = match result? {
            // A hard link's attributes are those of its file.
            Made::Link => None,
            Made::Node(node) => Some(node),
            Made::File(file) => {
                let file = copy_content(file, tar, &mut buffer, at)?;
                Some(Node::from(file))
            }
        };
        if let Some(node) = made {
            set_attributes(&node, parent, name, entry, at)?;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// The parent directory, made with its own parents where no entry did.
    fn parent(&mut self, path: PathBuf, at: At<'_>) -> Result<BorrowedFd<'_>, LayerError> {
        let known = matches!(&self.parent, Some((known, _)) if *known == path);
        if !known {
            let fd = self
                .root
                .ensure_dir(&path, IMPLIED_MODE)
                .map_err(|error| match error {
                    Errno::ENOTDIR | Errno::ELOOP | Errno::ENOENT => at.refuse(Refusal::Parent),
                    error => at.failed(error),
                })?;
            self.parent = Some((path, fd));
        }
        match &self.parent {
            Some((_, fd)) => Ok(fd.as_fd()),
            None => Err(at.failed(Errno::ENOENT)),
        }
    }

    /// The directory and name of a hard link's file: one that this layer made.
    fn link_target<'t>(
        &self,
        target: &'t [u8],
        at: At<'_>,
    ) -> Result<(OwnedFd, &'t OsStr), LayerError> {
        let Ok(Target::Make(parent, name)) = Target::of(target, &self.limits) else {
            return Err(at.refuse(Refusal::HardLink));
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let found = self.root.resolve(&parent, flags).and_then(|parent| {
            Metadata::at(parent.as_fd(), name).map(|metadata| (parent, metadata))
        });
        match found {
            Ok((_, metadata)) if metadata.kind == Kind::Directory || metadata.is_whiteout() => {
                Err(at.refuse(Refusal::HardLink))
            }
            Ok((parent, _)) => Ok((parent, name)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Err(at.refuse(Refusal::HardLink)),
            Err(error) => Err(at.failed(error)),
        }
    }

    fn finish(self) -> Result<(), LayerError> {
        for (path, seconds, nanos) in self.directories.iter().rev() {
            self.root.set_mtime(path, *seconds, *nanos)?;
        }
        Ok(())
    }
}

/// The entry that an error is about.
#[derive(Clone, Copy)]
struct At<'e>(&'e [u8]);

impl At<'_> {
    fn path(self) -> String {
        String::from_utf8_lossy(self.0).chars().take(200).collect()
    }

    fn refuse(self, refusal: Refusal) -> LayerError {
        LayerError::Refused {
            path: self.path(),
            refusal,
        }
    }

    fn failed(self, error: impl Into<io::Error>) -> LayerError {
        LayerError::Unpack {
            path: self.path(),
            source: error.into(),
        }
    }
}

enum Made {
    File(File),
    Node(Node),
    Link,
}

/// Makes the inode, which must not exist.
fn create(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    entry: &Entry,
    link: Option<&(OwnedFd, &OsStr)>,
    at: At<'_>,
) -> Result<Made, LayerError> {
    let make_node = |kind: SFlag, device: u64| {
        stat::mknodat(parent, name, kind, root::bits(0o600), device)?;
        Node::at(parent, name).map(Made::Node)
    };
    let made = match &entry.what {
        What::File => {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            // Set-id bits only once it has its owner.
            let mode = root::bits(entry.mode & 0o777);
            fcntl::openat(parent, name, flags | OFlag::O_CLOEXEC, mode)
                .map(|fd| Made::File(File::from(fd)))
        }
        What::Directory => stat::mkdirat(parent, name, root::bits(0o700))
            .and_then(|()| Node::at(parent, name))
            .map(Made::Node),
        What::Symlink(target) if target.is_empty() => return Err(at.refuse(Refusal::EmptyLink)),
        What::Symlink(target) if target.contains(&0) => return Err(at.refuse(Refusal::Nul)),
        What::Symlink(target) => unistd::symlinkat(OsStr::from_bytes(target), parent, name)
            .and_then(|()| Node::at(parent, name))
            .map(Made::Node),
        What::HardLink(_) => match link {
            Some((from, from_name)) => {
                unistd::linkat(from, *from_name, parent, name, AtFlags::empty())
                    .map(|()| Made::Link)
            }
            None => Err(Errno::ENOENT),
        },
        What::CharDevice(0, 0) => return Err(at.refuse(Refusal::Device)),
        What::CharDevice(major, minor) => make_node(
            SFlag::S_IFCHR,
            stat::makedev(u64::from(*major), u64::from(*minor)),
        ),
        What::BlockDevice(major, minor) => make_node(
            SFlag::S_IFBLK,
            stat::makedev(u64::from(*major), u64::from(*minor)),
        ),
        What::Fifo => make_node(SFlag::S_IFIFO, 0),
    };
    made.map_err(|error| at.failed(error))
}

/// The name is taken: by a whiteout of this layer, which the new entry takes
/// the place of, or by an implied or repeated directory.
fn replace(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    entry: &Entry,
    link: Option<&(OwnedFd, &OsStr)>,
    at: At<'_>,
) -> Result<Made, LayerError> {
    let existing = Metadata::at(parent, name).map_err(|error| at.failed(error))?;
    if existing.is_whiteout() {
        unistd::unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)
            .map_err(|error| at.failed(error))?;
        let made = create(parent, name, entry, link, at)?;
        if let (Made::Node(node), What::Directory) = (&made, &entry.what) {
            // It was deleted below: the new directory must not merge with it.
            node.set_xattr(OsStr::new(OPAQUE_XATTR), b"y")
                .map_err(|error| at.failed(error))?;
        }
        return Ok(made);
    }
    if existing.kind == Kind::Directory && entry.what == What::Directory {
        return Node::at(parent, name)
            .map(Made::Node)
            .map_err(|error| at.failed(error));
    }
    Err(at.refuse(Refusal::Duplicate))
}

fn copy_content<R: Read>(
    mut file: File,
    tar: &mut TarReader<R>,
    buffer: &mut [u8],
    at: At<'_>,
) -> Result<File, LayerError> {
    loop {
        let read = tar.read_content(buffer)?;
        match buffer.get(..read) {
            Some([]) | None => return Ok(file),
            Some(bytes) => file.write_all(bytes).map_err(|error| at.failed(error))?,
        }
    }
}

/// Owner first, which clears set-id bits and capabilities; then those; the
/// time last. What is right as it was made is left: a change of an inode costs
/// more than the look.
fn set_attributes(
    node: &Node,
    parent: BorrowedFd<'_>,
    name: &OsStr,
    entry: &Entry,
    at: At<'_>,
) -> Result<(), LayerError> {
    let failed = |error: Errno| at.failed(error);
    let found = node.metadata().map_err(failed)?;
    let owned = (found.uid, found.gid) == (entry.uid, entry.gid);
    if !owned {
        node.set_owner(entry.uid, entry.gid).map_err(failed)?;
    }
    let has_mode = !matches!(entry.what, What::Symlink(_));
    if has_mode && !(owned && found.mode == entry.mode) {
        node.set_mode(entry.mode).map_err(failed)?;
    }
    for (key, value) in &entry.xattrs {
        match node.set_xattr(OsStr::from_bytes(key), value) {
            // SELinux labels and the like belong to the host they came from; a
            // lost capability would change what the program can do.
            Err(error) if is(&error, Errno::EOPNOTSUPP) && key != b"security.capability" => {
                log::warn!(
                    "{}: attribute {} is not supported here",
                    at.path(),
                    String::from_utf8_lossy(key)
                );
            }
            other => other.map_err(|error| at.failed(error))?,
        }
    }
    node.set_mtime(parent, name, entry.mtime, entry.mtime_nanos)
        .map_err(|error| at.failed(error))
}

/// The deletion of `name`, in overlay form. Its time says nothing.
fn make_whiteout(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<()> {
    stat::mknodat(parent, name, SFlag::S_IFCHR, root::bits(0), 0)?;
    root::set_mtime_at(parent, name, 0, 0)
}

fn open_dir(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    fcntl::openat(parent, name, flags, stat::Mode::empty())
}

fn set_opaque(dir: OwnedFd) -> io::Result<()> {
    Node::from(dir).set_xattr(OsStr::new(OPAQUE_XATTR), b"y")
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}
