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
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{self, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::Mode;

use crate::layer::OPAQUE_XATTR;
use crate::root::{self, Kind, Metadata, Node};

/// Links followed on one path, as in the kernel (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;
/// Names on one path, links' included: the kernel's own bound is PATH_MAX at
/// each link.
const MAX_NAMES: usize = 4096;

/// A read-only merged view of layer directories in overlay form. It holds a
/// descriptor for each layer, and while it walks one for each level of the path.
#[derive(Debug)]
pub struct Tree {
    /// Topmost first.
    layers: Vec<OwnedFd>,
}

/// The layers whose directories merge into one, as indexes, topmost first.
type Stack = Vec<usize>;

/// What a path leads to.
#[derive(Debug)]
pub struct Entry {
    /// The path with every link resolved; begins with `/`.
    pub path: PathBuf,
    /// What is there.
    pub metadata: Metadata,
    node: Node,
    /// Empty unless it is a directory.
    stack: Stack,
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
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = |path: &PathBuf| {
            fcntl::open(path, flags, Mode::empty()).map_err(|error| TreeError::Open {
                path: path.clone(),
                source: error.into(),
            })
        };
        let layers = layers
            .iter()
            .rev()
            .map(open)
            .collect::<Result<_, TreeError>>()?;
        Ok(Tree { layers })
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
        let Some(directory) = self.lookup(path)? else {
            return Ok(None);
        };
        if directory.metadata.kind != Kind::Directory {
            return Ok(None);
        }
        let mut hidden = BTreeSet::new();
        let mut names = BTreeSet::new();
        for layer in &directory.stack {
            for name in self.list(*layer, &directory.path).map_err(wrap)? {
                if hidden.contains(&name) || names.contains(&name) {
                    continue;
                }
                let at = directory.path.join(&name);
                match self.node(*layer, &at).and_then(|node| node.metadata()) {
                    Ok(metadata) if metadata.is_whiteout() => hidden.insert(name),
                    Ok(_) => names.insert(name),
                    Err(error) => return Err(wrap(error.into())),
                };
            }
        }
        Ok(Some(names.into_iter().collect()))
    }

    fn find(&self, path: &Path, follow_last: bool) -> Result<Option<Entry>, TreeError> {
        self.walk(path, follow_last).or_else(|error| match error {
            Errno::ENOTDIR | Errno::ENAMETOOLONG => Ok(None),
            error => Err(TreeError::Lookup {
                path: path.to_owned(),
                source: error.into(),
            }),
        })
    }

    fn walk(&self, path: &Path, follow_last: bool) -> nix::Result<Option<Entry>> {
        let mut left: VecDeque<OsString> = VecDeque::new();
        queue(&mut left, path);
        let Some(root) = self.root()? else {
            return Ok(None);
        };
        // The directory reached so far; what is above it, for `..`.
        let mut here = root;
        let mut above: Vec<Entry> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if left.len() > MAX_NAMES {
                return Err(Errno::ENAMETOOLONG);
            }
            if name == ".." {
                here = above.pop().unwrap_or(here);
                continue;
            }
            let Some(entry) = self.step(&here, &name)? else {
                return Ok(None);
            };
            match entry.metadata.kind {
                Kind::Directory => above.push(std::mem::replace(&mut here, entry)),
                Kind::Symlink if follow_last || !left.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    let target = entry.node.read_link()?;
                    let target = Path::new(&target);
                    if target.is_absolute() && !above.is_empty() {
                        here = above.swap_remove(0);
                        above.clear();
                    }
                    queue(&mut left, target);
                }
                _ if left.is_empty() => return Ok(Some(entry)),
                _ => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// `/` itself, merged of all layers; `None` where there are none.
    fn root(&self) -> nix::Result<Option<Entry>> {
        if self.layers.is_empty() {
            return Ok(None);
        }
        let path = PathBuf::from("/");
        let node = self.node(0, &path)?;
        let metadata = node.metadata()?;
        Ok(Some(Entry {
            path,
            metadata,
            node,
            stack: (0..self.layers.len()).collect(),
        }))
    }

    /// One name in a merged directory.
    fn step(&self, directory: &Entry, name: &OsStr) -> nix::Result<Option<Entry>> {
        let path = directory.path.join(name);
        let mut merged: Option<Entry> = None;
        for layer in &directory.stack {
            let node = match self.node(*layer, &path) {
                Ok(node) => node,
                Err(Errno::ENOENT) => continue,
                Err(error) => return Err(error),
            };
            let metadata = node.metadata()?;
            if metadata.kind != Kind::Directory {
                // A file below a directory is hidden by it, as by a whiteout.
                if merged.is_none() && !metadata.is_whiteout() {
                    merged = Some(Entry {
                        path,
                        metadata,
                        node,
                        stack: Vec::new(),
                    });
                }
                break;
            }
            let opaque = node.xattr(OsStr::new(OPAQUE_XATTR)).map_err(errno)?;
            let first = || Entry {
                path: path.clone(),
                metadata,
                node,
                stack: Vec::new(),
            };
            merged.get_or_insert_with(first).stack.push(*layer);
            if opaque.is_some_and(|value| value == b"y") {
                break;
            }
        }
        Ok(merged)
    }

    /// What is at `path` in one layer. The path has no links left in it, so
    /// that it has one now is an error, not a way out.
    fn node(&self, layer: usize, path: &Path) -> nix::Result<Node> {
        self.open_at(layer, path, OFlag::O_PATH | OFlag::O_NOFOLLOW)
            .map(Node::from)
    }

    fn list(&self, layer: usize, path: &Path) -> io::Result<Vec<OsString>> {
        Ok(root::names(self.open_at(
            layer,
            path,
            OFlag::O_RDONLY | OFlag::O_DIRECTORY,
        )?)?)
    }

    fn open_at(&self, layer: usize, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let layer = self.layers.get(layer).ok_or(Errno::ENOENT)?;
        fcntl::openat2(layer, path, how)
    }
}

impl Entry {
    /// Opens the regular file for reading; anything else is an error and is
    /// not opened.
    pub fn open(&self) -> io::Result<File> {
        self.node.open_regular()
    }

    /// The text of the link, if it is one.
    pub fn link(&self) -> io::Result<Option<OsString>> {
        match self.metadata.kind {
            Kind::Symlink => Ok(Some(self.node.read_link()?)),
            _ => Ok(None),
        }
    }
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

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
