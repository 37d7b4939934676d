//! The walk through a folder of the context, by several threads where it is
//! large: most of the time of an unchanged build is spent here, a system call
//! for each file.

use std::ffi::OsStr;
use std::fs::File;
use std::num::NonZero;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};
use sha2::{Digest as _, Sha256};

use super::content::{hash, stamp};
use super::{
    ContextError, Entry, MAX_DEPTH, Node, WITHIN, error_of, executable, kind, open, read_error,
};
use crate::host;
use crate::stat_index::{Content, Learned, StatIndex};

/// How many folders wait before other threads help: a start costs as much as
/// a few of them.
const HELP: usize = 16;

/// The most threads of a walk: more get in each other's way in the kernel.
const THREADS: usize = 4;

/// A walk through what one `copy` takes.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    /// `from`, below the context.
    pub(super) from: &'a Path,
    /// What is left out.
    pub(super) own: Option<&'a Path>,
    /// Ends it.
    pub(super) stop: &'a AtomicBool,
    /// Knows what files held.
    pub(super) index: &'a StatIndex,
}

/// What a walk, or one thread of it, found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    pub(super) learned: Learned,
}

/// Folders that nobody has listed yet.
#[derive(Default)]
struct Queue {
    todo: Mutex<Todo>,
    /// Told whenever `todo` changes.
    changed: Condvar,
}

#[derive(Default)]
struct Todo {
    folders: Vec<PathBuf>,
    /// Threads that are listing one, and may find more.
    busy: usize,
    /// One of them failed.
    failed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Todo> {
        self.todo
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The next folder; none when all are listed or one failed.
    fn next(&self) -> Option<PathBuf> {
        let mut todo = self.lock();
        loop {
            if todo.failed {
                return None;
            }
            if let Some(folder) = todo.folders.pop() {
                todo.busy += 1;
                return Some(folder);
            }
            if todo.busy == 0 {
                return None;
            }
            todo = self
                .changed
                .wait(todo)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// A folder is listed, and these are in it.
    fn done(&self, folders: Vec<PathBuf>, failed: bool) {
        let mut todo = self.lock();
        todo.folders.extend(folders);
        todo.busy -= 1;
        todo.failed |= failed;
        drop(todo);
        self.changed.notify_all();
    }
}

impl Walk<'_> {
    /// Everything below a folder, in no order.
    pub(super) fn folder(&self, root: BorrowedFd<'_>) -> Result<Found, ContextError> {
        let mut found = Found::default();
        let mut folders = vec![PathBuf::new()];
        while folders.len() < HELP {
            let Some(folder) = folders.pop() else {
                return Ok(found);
            };
            self.list(root, folder, &mut folders, &mut found)?;
        }
        let queue = Queue::default();
        queue.lock().folders = folders;
        let work = || self.work(root, &queue);
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let parts = thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads.min(THREADS))
                .map(|_| scope.spawn(work))
                .collect();
            let mut parts = vec![work()];
            for helper in helpers {
                parts.push(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            parts
        });
        for part in parts {
            let part = part?;
            found.entries.extend(part.entries);
            found.learned.extend(part.learned);
        }
        Ok(found)
    }

    fn work(&self, root: BorrowedFd<'_>, queue: &Queue) -> Result<Found, ContextError> {
        let mut found = Found::default();
        while let Some(folder) = queue.next() {
            let mut folders = Vec::new();
            let listed = self.list(root, folder, &mut folders, &mut found);
            queue.done(folders, listed.is_err());
            listed?;
        }
        Ok(found)
    }

    fn list(
        &self,
        root: BorrowedFd<'_>,
        path: PathBuf,
        folders: &mut Vec<PathBuf>,
        found: &mut Found,
    ) -> Result<(), ContextError> {
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
        let mut listing = Dir::from_fd(dir.try_clone().map_err(|error| read_error(&full, error))?)
            .map_err(failed)?;
        for entry in listing.iter() {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(ContextError::Stopped);
            }
            self.child(dir.as_fd(), path.join(name), name, folders, found)?;
        }
        found.entries.push(Entry {
            path,
            node: Node::Folder,
        });
        Ok(())
    }

    fn child(
        &self,
        dir: BorrowedFd<'_>,
        path: PathBuf,
        name: &OsStr,
        folders: &mut Vec<PathBuf>,
        found: &mut Found,
    ) -> Result<(), ContextError> {
        let full = below(self.from, &path);
        if self.own == Some(&full) {
            return Ok(());
        }
        let failed = |errno| error_of(&full, errno);
        let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
        let node = match kind(&stat) {
            SFlag::S_IFDIR => {
                folders.push(path);
                return Ok(());
            }
            SFlag::S_IFLNK => Node::Link(readlinkat(dir, name).map_err(failed)?),
            SFlag::S_IFREG => {
                let key = full.as_os_str().as_bytes();
                match self.index.known(key, &stamp(&stat), &mut found.learned) {
                    Some(content) => file_node(&stat, content),
                    None => {
                        let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
                        let file = open(dir, Path::new(name), flags, WITHIN).map_err(failed)?;
                        self.file(&path, &File::from(file), &mut found.learned)?
                    }
                }
            }
            _ => return Err(ContextError::Special { path: full }),
        };
        found.entries.push(Entry { path, node });
        Ok(())
    }

    /// A file that is open, read unless the index knows it.
    pub(super) fn file(
        &self,
        path: &Path,
        file: &File,
        learned: &mut Learned,
    ) -> Result<Node, ContextError> {
        let full = below(self.from, path);
        let now = host::file_clock();
        let stat = fstat(file).map_err(|errno| error_of(&full, errno))?;
        if kind(&stat) != SFlag::S_IFREG {
            return Err(ContextError::Special { path: full });
        }
        let key = full.as_os_str().as_bytes();
        if let Some(content) = self.index.known(key, &stamp(&stat), learned) {
            return Ok(file_node(&stat, content));
        }
        let content = hash(file).map_err(|source| read_error(&full, source))?;
        learned.remember(key, &stamp(&stat), content, now);
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
