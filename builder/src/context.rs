//! The files that a build may copy: a folder, opened once, and nothing outside
//! it. A link is stored as a link, and followed only where `from` itself goes
//! through one, never out (podman-compose#721 put the host's files in images).

mod content;
mod walk;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, SFlag, fstat};

pub(crate) use self::content::{copy, file_digest, hash};
use self::walk::{Found, Walk, digest};
use crate::stat_index::{Content, Learned, StatIndex};

/// The deepest folder that is walked: deeper ones are no source code.
const MAX_DEPTH: usize = 256;

/// Why a file of the context can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The folder itself.
    #[error("cannot open the context {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing is there.
    #[error("the context has no {}", path.display())]
    Missing {
        /// What.
        path: PathBuf,
    },
    /// A link on the way leads out of the context.
    #[error("{} leads out of the context", path.display())]
    Outside {
        /// What.
        path: PathBuf,
    },
    /// A device, FIFO or socket.
    #[error("{} is neither a file nor a folder nor a link", path.display())]
    Special {
        /// What.
        path: PathBuf,
    },
    /// Folders in folders without end.
    #[error("{} lies more than {MAX_DEPTH} folders deep", path.display())]
    Deep {
        /// What.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("cannot read {} of the context", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The build was told to stop.
    #[error("stopped")]
    Stopped,
    /// It was written while the build went on.
    #[error("{} changed while it was built from", path.display())]
    Changed {
        /// What.
        path: PathBuf,
    },
}

/// An opened context.
#[derive(Debug)]
pub(crate) struct Context {
    dir: OwnedFd,
    /// What the builder itself writes here, and so never copies with a folder:
    /// the copy would be another one after the first build.
    own: Option<PathBuf>,
}

/// What one `copy` takes.
#[derive(Debug)]
pub(crate) struct Tree {
    /// `from` itself.
    root: OwnedFd,
    from: PathBuf,
    /// Everything, parents before what is in them; the first has an empty
    /// path.
    pub(crate) entries: Vec<Entry>,
    /// Digest of all of it: names, kinds, contents, and who may execute.
    pub(crate) digest: [u8; 32],
}

/// One file of a [`Tree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Below `from`.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) node: Node,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its length.
        size: u64,
        /// What it holds.
        content: Content,
    },
    /// A symbolic link.
    Link(OsString),
}

impl Context {
    /// Opens the folder. `own` is a file below it that is never copied with a
    /// folder.
    pub(crate) fn open(path: &Path, own: Option<PathBuf>) -> Result<Self, ContextError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty());
        let dir = dir.map_err(|errno| ContextError::Open {
            path: path.to_owned(),
            source: errno.into(),
        })?;
        Ok(Self { dir, own })
    }

    /// Reads a file again, for the index alone.
    pub(crate) fn reread(&self, path: &Path, index: &mut StatIndex) -> Result<(), ContextError> {
        let flags = OFlag::O_NONBLOCK;
        let file = open(self.dir.as_fd(), path, flags, ResolveFlag::RESOLVE_BENEATH);
        let file = File::from(file.map_err(|errno| error_of(path, errno))?);
        let stop = AtomicBool::new(false);
        let mut learned = Learned::default();
        let walk = Walk {
            from: Path::new(""),
            own: None,
            index,
            stop: &stop,
        };
        walk.file(path, &file, &mut learned)?;
        index.merge(learned);
        Ok(())
    }

    /// Walks what one `copy` takes, reading only what `index` doesn't know.
    pub(crate) fn tree(
        &self,
        from: &Path,
        index: &mut StatIndex,
        stop: &AtomicBool,
    ) -> Result<Tree, ContextError> {
        let failed = |errno| error_of(from, errno);
        let name = if from.as_os_str().is_empty() {
            Path::new(".")
        } else {
            from
        };
        let beneath = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let node = open(self.dir.as_fd(), name, OFlag::O_PATH, beneath).map_err(failed)?;
        let stat = fstat(&node).map_err(failed)?;
        let own = self.own.as_deref();
        let walk = Walk {
            from,
            own,
            index,
            stop,
        };
        let (root, found) = match kind(&stat) {
            SFlag::S_IFDIR => {
                let root =
                    open(self.dir.as_fd(), name, OFlag::O_DIRECTORY, beneath).map_err(failed)?;
                let found = walk.folder(root.as_fd())?;
                (root, found)
            }
            SFlag::S_IFREG => {
                let flags = OFlag::O_NONBLOCK;
                let root = open(self.dir.as_fd(), name, flags, beneath).map_err(failed)?;
                let file = File::from(
                    root.try_clone()
                        .map_err(|source| read_error(from, source))?,
                );
                let mut found = Found::default();
                let node = walk.file(Path::new(""), &file, &mut found.learned)?;
                found.entries.push(Entry {
                    path: PathBuf::new(),
                    node,
                });
                (root, found)
            }
            _ => {
                return Err(ContextError::Special {
                    path: from.to_owned(),
                });
            }
        };
        let Found {
            mut entries,
            learned,
        } = found;
        index.merge(learned);
        // By bytes: comparing paths part by part takes ten times as long.
        entries.sort_unstable_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
        let digest = digest(&entries);
        Ok(Tree {
            root,
            from: from.to_owned(),
            entries,
            digest,
        })
    }
}

impl Tree {
    /// Whether `from` is a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.entries
            .first()
            .is_some_and(|entry| entry.node == Node::Folder)
    }

    /// The length of all its files together.
    pub(crate) fn size(&self) -> u64 {
        let sizes = self.entries.iter().map(|entry| match entry.node {
            Node::File { size, .. } => size,
            Node::Folder | Node::Link(_) => 0,
        });
        sizes.sum()
    }

    /// The last part of `from`, which a file keeps where it is copied into a
    /// folder.
    pub(crate) fn name(&self) -> &OsStr {
        self.from.file_name().unwrap_or_default()
    }

    /// Opens one of its files. What it holds may have changed since.
    pub(crate) fn open(&self, path: &Path) -> Result<File, ContextError> {
        if path.as_os_str().is_empty() {
            let file = self
                .root
                .try_clone()
                .map_err(|source| read_error(&self.from, source))?;
            let mut file = File::from(file);
            io::Seek::rewind(&mut file).map_err(|source| read_error(&self.from, source))?;
            return Ok(file);
        }
        let opened = open(
            self.root.as_fd(),
            path,
            OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW,
            WITHIN,
        );
        opened
            .map(File::from)
            .map_err(|errno| error_of(&walk::below(&self.from, path), errno))
    }

    /// The error for a file that no longer holds what it did.
    pub(crate) fn changed(&self, path: &Path) -> ContextError {
        ContextError::Changed {
            path: walk::below(&self.from, path),
        }
    }
}

/// Below `from` no link is followed at all.
const WITHIN: ResolveFlag = ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_SYMLINKS);

fn open(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlag,
    resolve: ResolveFlag,
) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(resolve);
    openat2(dir, path, how)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn executable(stat: &FileStat) -> bool {
    stat.st_mode & 0o100 != 0
}

fn error_of(path: &Path, errno: nix::Error) -> ContextError {
    let path = path.to_owned();
    match errno {
        nix::Error::ENOENT => ContextError::Missing { path },
        nix::Error::EXDEV => ContextError::Outside { path },
        nix::Error::ELOOP => ContextError::Changed { path },
        errno => ContextError::Read {
            path,
            source: errno.into(),
        },
    }
}

fn read_error(path: &Path, source: io::Error) -> ContextError {
    ContextError::Read {
        path: path.to_owned(),
        source,
    }
}
