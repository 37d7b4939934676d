//! A new layer, said before it is made: every path with its kind, mode, owner
//! and the digest of its content. So that a layer that was made before is
//! found again by what is in it, whatever lies below, and a large one can be
//! cut into parts that change one by one.
//!
//! ```text
//! filling   files and where they go → Contents, over the layers below
//! parts     Contents → Contents that change one by one, pure
//! write     Contents → a folder in overlay form
//! ```

mod filling;
mod parts;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use sha2::{Digest as _, Sha256};

pub(crate) use self::filling::Filling;
pub(crate) use self::parts::{most_parts, parts, weight};
pub(crate) use self::write::{Source, write};
use crate::stat_index::Content;

/// Grows whenever the same contents would make another layer than before.
const FORMAT: u8 = 1;

/// Who a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
}

/// Everything in a layer. Each folder on the way to a file is there as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// By path below the root, which itself is the empty path.
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// One path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    mode: u32,
    owner: Owner,
    what: What,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Folder,
    Link(Vec<u8>),
    File(Bytes),
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bytes {
    /// Its digest.
    pub(crate) content: Content,
    /// Its length.
    pub(crate) size: u64,
    /// What the [`Source`] knows it by. It says nothing about the layer.
    pub(crate) from: PathBuf,
}

impl Contents {
    /// The name of the layer that has these contents with all times at
    /// `epoch`: different for different layers, each field framed by its
    /// length.
    pub(crate) fn key(&self, epoch: i64) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(b"holdall layer");
        hasher.update([FORMAT]);
        hasher.update(epoch.to_le_bytes());
        for (path, entry) in &self.entries {
            let (kind, bytes): (u8, &[u8]) = match &entry.what {
                What::Folder => (b'd', &[]),
                What::Link(target) => (b'l', target),
                What::File(bytes) => (b'f', &bytes.content),
            };
            hasher.update([kind]);
            for number in [entry.mode, entry.owner.uid, entry.owner.gid] {
                hasher.update(number.to_le_bytes());
            }
            for field in [path.as_slice(), bytes] {
                hasher.update((field.len() as u64).to_le_bytes());
                hasher.update(field);
            }
        }
        hasher.finalize().into()
    }

    fn get(&self, path: &Path) -> Option<&What> {
        self.entries.get(below_root(path)).map(|entry| &entry.what)
    }

    fn put(&mut self, path: &Path, mode: u32, owner: Owner, what: What) {
        let entry = Entry { mode, owner, what };
        self.entries.insert(below_root(path).to_vec(), entry);
    }
}

/// The bytes of a path without the slash it begins with.
fn below_root(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes)
}

/// The folder that a path below the root lies in; none for the root.
fn parent(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.get(..slash)
}

/// Gives the files of a layer that are newer than `epoch` that time, so that
/// what lies in the folder is what its archive says. The folder is ours alone,
/// so that no link turns up in the middle of a path.
pub(crate) fn settle(dir: &Path, epoch: i64) -> io::Result<()> {
    let time = TimeSpec::new(epoch, 0);
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let found = path.symlink_metadata()?;
        if found.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                todo.push(entry?.path());
            }
        }
        if (found.mtime(), found.mtime_nsec()) > (epoch, 0) {
            utimensat(
                AT_FDCWD,
                &path,
                &time,
                &time,
                UtimensatFlags::NoFollowSymlink,
            )?;
        }
    }
    Ok(())
}
