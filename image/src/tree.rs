//! The merged view of stacked layer directories, without a mount: what a file
//! of the image is, before any box of it runs.
//!
//! A path is walked name by name. At each step the view is a stack of
//! directories, topmost first; a whiteout ends the search for a name, an
//! opaque directory ends the stack below it, and a link is followed within
//! the merged view, as it will be in the box.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::Mode;

use crate::layer::OPAQUE_XATTR;
use crate::root::{self, Kind, Metadata, Node};

/// Links followed on one path, as in the kernel (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;
/// Names on one path, links' included: the kernel's own bound is PATH_MAX at
/// each link.
const MAX_NAMES: usize = 4096;

/// A read-only merged view of layer directories in overlay form.
#[derive(Debug)]
pub struct Tree {
    /// Topmost first.
    top: Stack,
}

/// The directories that merge into one, topmost first.
type Stack = Vec<Arc<OwnedFd>>;

/// What a path leads to.
#[derive(Debug)]
pub struct Entry {
    /// The path with every link resolved; begins with `/`.
    pub path: PathBuf,
    /// What is there.
    pub metadata: Metadata,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Directory(Stack),
    /// Its topmost directory and its name there.
    Other(Arc<OwnedFd>, OsString),
}

/// Why a look into the tree failed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A layer's directory is gone.
    #[error("cannot open layer {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A path could not be walked: too many links, or an I/O error.
    #[error("cannot look up {} in the image", path.display())]
    Lookup {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be read, is no regular file, or is too long.
    #[error("cannot read {} of the image", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Tree {
    /// Opens the layers, bottom first.
    pub fn open(layers: &[PathBuf]) -> Result<Tree, TreeError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = |path: &PathBuf| {
            fcntl::open(path, flags, Mode::empty())
                .map(Arc::new)
                .map_err(|error| TreeError::Open {
                    path: path.clone(),
                    source: error.into(),
                })
        };
        let top = layers
            .iter()
            .rev()
            .map(open)
            .collect::<Result<Stack, TreeError>>()?;
        Ok(Tree { top })
    }

    /// What `path` leads to, links followed within the tree; `None` where
    /// nothing is.
    pub fn lookup(&self, path: &Path) -> Result<Option<Entry>, TreeError> {
        self.find(path, true)
    }

    /// As [`Tree::lookup`], but a link at the end is not followed.
    pub fn lookup_link(&self, path: &Path) -> Result<Option<Entry>, TreeError> {
        self.find(path, false)
    }

    /// The file at `path`; `None` where nothing is. More than `limit` bytes,
    /// or no regular file, is an error; a FIFO or device is never opened.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TreeError> {
        let wrap = |source| TreeError::Read {
            path: path.to_owned(),
            source,
        };
        let Some(entry) = self.lookup(path)? else {
            return Ok(None);
        };
        let file = entry.open().map_err(wrap)?;
        root::read_bounded(file, limit).map(Some).map_err(wrap)
    }

    /// Names in the directory at `path`, sorted; `None` where no directory is.
    pub fn entries(&self, path: &Path) -> Result<Option<Vec<OsString>>, TreeError> {
        let wrap = |error: io::Error| TreeError::Read {
            path: path.to_owned(),
            source: error,
        };
        let Some(Entry {
            found: Found::Directory(stack),
            ..
        }) = self.lookup(path)?
        else {
            return Ok(None);
        };
        let mut hidden = BTreeSet::new();
        let mut names = BTreeSet::new();
        for dir in &stack {
            for name in list(dir).map_err(wrap)? {
                if hidden.contains(&name) || names.contains(&name) {
                    continue;
                }
                match Metadata::at(dir.as_fd(), &name) {
                    Ok(metadata) if metadata.is_whiteout() => hidden.insert(name),
                    Ok(_) => names.insert(name),
                    Err(error) => return Err(wrap(error.into())),
                };
            }
        }
        Ok(Some(names.into_iter().collect()))
    }

    fn find(&self, path: &Path, follow_last: bool) -> Result<Option<Entry>, TreeError> {
        self.walk(path, follow_last)
            .or_else(|error| match error.raw_os_error() {
                Some(code)
                    if code == Errno::ENOTDIR as i32 || code == Errno::ENAMETOOLONG as i32 =>
                {
                    Ok(None)
                }
                _ => Err(TreeError::Lookup {
                    path: path.to_owned(),
                    source: error,
                }),
            })
    }

    fn walk(&self, path: &Path, follow_last: bool) -> io::Result<Option<Entry>> {
        let mut left: VecDeque<OsString> = VecDeque::new();
        queue(&mut left, path);
        // The directories on the way, for `..`; the first is the root.
        let mut below: Vec<(OsString, Stack)> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if left.len() + below.len() > MAX_NAMES {
                return Err(Errno::ENAMETOOLONG.into());
            }
            if name == ".." {
                below.pop();
                continue;
            }
            let stack = below.last().map_or(&self.top, |(_, stack)| stack);
            let Some((metadata, found)) = step(stack, &name)? else {
                return Ok(None);
            };
            match found {
                Found::Directory(stack) => below.push((name, stack)),
                Found::Other(dir, _)
                    if metadata.kind == Kind::Symlink && (follow_last || !left.is_empty()) =>
                {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    let target = fcntl::readlinkat(&*dir, name.as_os_str())?;
                    let target = Path::new(&target);
                    if target.is_absolute() {
                        below.clear();
                    }
                    queue(&mut left, target);
                }
                Found::Other(..) if !left.is_empty() => return Ok(None),
                Found::Other(..) => {
                    let path = full_path(&below).join(name);
                    return Ok(Some(Entry {
                        path,
                        metadata,
                        found,
                    }));
                }
            }
        }
        let path = full_path(&below);
        let stack = below
            .pop()
            .map_or_else(|| self.top.clone(), |(_, stack)| stack);
        let Some(dir) = stack.first() else {
            return Ok(None);
        };
        let metadata = Metadata::of(dir.as_fd())?;
        Ok(Some(Entry {
            path,
            metadata,
            found: Found::Directory(stack),
        }))
    }
}

impl Entry {
    /// Opens the regular file for reading; anything else is an error and is
    /// not opened.
    pub fn open(&self) -> io::Result<File> {
        match &self.found {
            Found::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
            Found::Other(dir, name) => Node::at(dir.as_fd(), name)?.open_regular(),
        }
    }

    /// The text of the link, if it is one.
    pub fn link(&self) -> io::Result<Option<OsString>> {
        match &self.found {
            Found::Other(dir, name) if self.metadata.kind == Kind::Symlink => {
                Ok(Some(fcntl::readlinkat(&**dir, name.as_os_str())?))
            }
            Found::Other(..) | Found::Directory(_) => Ok(None),
        }
    }
}

/// One name in a merged directory.
fn step(stack: &Stack, name: &OsStr) -> io::Result<Option<(Metadata, Found)>> {
    let mut merged: Option<(Metadata, Stack)> = None;
    for dir in stack {
        let metadata = match Metadata::at(dir.as_fd(), name) {
            Ok(metadata) => metadata,
            Err(Errno::ENOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        if metadata.kind != Kind::Directory {
            // A file below a directory is hidden by it, as by a whiteout.
            if merged.is_some() || metadata.is_whiteout() {
                break;
            }
            let found = Found::Other(Arc::clone(dir), name.to_owned());
            return Ok(Some((metadata, found)));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = Arc::new(fcntl::openat(dir.as_fd(), name, flags, Mode::empty())?);
        let opaque = is_opaque(opened.as_fd())?;
        match &mut merged {
            None => merged = Some((metadata, vec![opened])),
            Some((_, stack)) => stack.push(opened),
        }
        if opaque {
            break;
        }
    }
    Ok(merged.map(|(metadata, stack)| (metadata, Found::Directory(stack))))
}

fn is_opaque(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let node = Node::from(dir.try_clone_to_owned()?);
    Ok(node
        .xattr(OsStr::new(OPAQUE_XATTR))?
        .is_some_and(|value| value == b"y"))
}

/// A descriptor of its own: reading a directory moves the position.
fn list(dir: &OwnedFd) -> io::Result<Vec<OsString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(root::names(fcntl::openat(dir, ".", flags, Mode::empty())?)?)
}

/// Puts the path's names before what is left to walk.
fn queue(left: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => left.push_front(name.to_owned()),
            Component::ParentDir => left.push_front(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

fn full_path(below: &[(OsString, Stack)]) -> PathBuf {
    let mut path = PathBuf::from("/");
    path.extend(
        below
            .iter()
            .map(|(name, _)| OsStr::from_bytes(name.as_bytes())),
    );
    path
}
