//! The walk through a folder of the context.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};
use sha2::{Digest as _, Sha256};

use super::content::{hash, stamp};
use super::{
    ContextError, Entry, MAX_DEPTH, Node, WITHIN, error_of, executable, kind, open, read_error,
};
use crate::host;
use crate::stat_index::{Content, StatIndex};

/// A walk through what one `copy` takes.
pub(super) struct Walk<'a> {
    /// `from`, below the context.
    pub(super) from: &'a Path,
    /// What is left out.
    pub(super) own: Option<&'a Path>,
    /// Ends it.
    pub(super) stop: &'a AtomicBool,
    /// Knows what files held.
    pub(super) index: &'a mut StatIndex,
    /// What was found.
    pub(super) entries: Vec<Entry>,
}

impl Walk<'_> {
    /// Everything below a folder.
    pub(super) fn folder(&mut self, root: BorrowedFd<'_>) -> Result<(), ContextError> {
        let mut todo = vec![PathBuf::new()];
        while let Some(path) = todo.pop() {
            let full = below(self.from, &path);
            if path.components().count() > MAX_DEPTH {
                return Err(ContextError::Deep { path: full });
            }
            let failed = |errno| error_of(&full, errno);
            let name = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &path
            };
            let dir =
                open(root, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, WITHIN).map_err(failed)?;
            self.entries.push(Entry {
                path: path.clone(),
                node: Node::Folder,
            });
            let mut listing =
                Dir::from_fd(dir.try_clone().map_err(|error| read_error(&full, error))?)
                    .map_err(failed)?;
            for entry in listing.iter() {
                let entry = entry.map_err(failed)?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." {
                    continue;
                }
                self.child(dir.as_fd(), path.join(name), name, &mut todo)?;
            }
        }
        Ok(())
    }

    fn child(
        &mut self,
        dir: BorrowedFd<'_>,
        path: PathBuf,
        name: &OsStr,
        todo: &mut Vec<PathBuf>,
    ) -> Result<(), ContextError> {
        let full = below(self.from, &path);
        if self.own == Some(&full) {
            return Ok(());
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(ContextError::Stopped);
        }
        let failed = |errno| error_of(&full, errno);
        let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
        let node = match kind(&stat) {
            SFlag::S_IFDIR => {
                todo.push(path);
                return Ok(());
            }
            SFlag::S_IFLNK => Node::Link(readlinkat(dir, name).map_err(failed)?),
            SFlag::S_IFREG => match self.index.known(full.as_os_str().as_bytes(), &stamp(&stat)) {
                Some(content) => file_node(&stat, content),
                None => {
                    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
                    let file = open(dir, Path::new(name), flags, WITHIN).map_err(failed)?;
                    self.file(&path, &File::from(file))?
                }
            },
            _ => return Err(ContextError::Special { path: full }),
        };
        self.entries.push(Entry { path, node });
        Ok(())
    }

    /// A file that is open, read unless the index knows it.
    pub(super) fn file(&mut self, path: &Path, file: &File) -> Result<Node, ContextError> {
        let full = below(self.from, path);
        let now = host::file_clock();
        let stat = fstat(file).map_err(|errno| error_of(&full, errno))?;
        if kind(&stat) != SFlag::S_IFREG {
            return Err(ContextError::Special { path: full });
        }
        let key = full.as_os_str().as_bytes();
        if let Some(content) = self.index.known(key, &stamp(&stat)) {
            return Ok(file_node(&stat, content));
        }
        let content = hash(file).map_err(|source| read_error(&full, source))?;
        self.index.remember(key, &stamp(&stat), content, now);
        Ok(file_node(&stat, content))
    }
}

fn file_node(stat: &FileStat, content: Content) -> Node {
    Node::File {
        executable: executable(stat),
        size: stamp(stat).size,
        content,
    }
}

/// `path` below `from`, which it is itself where `path` is empty: joining that
/// would append a slash, and a file has no such name.
pub(super) fn below(from: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        from.to_owned()
    } else {
        from.join(path)
    }
}

/// The digest of all entries, each field framed by its length.
pub(super) fn digest(entries: &[Entry]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for entry in entries {
        field(entry.path.as_os_str().as_bytes());
        match &entry.node {
            Node::Folder => field(b"folder"),
            Node::File {
                executable,
                content,
                // The content says it.
                size: _,
            } => {
                field(if *executable { b"program" } else { b"file" });
                field(content);
            }
            Node::Link(target) => {
                field(b"link");
                field(target.as_bytes());
            }
        }
    }
    hasher.finalize().into()
}
