//! The merged view of stacked layer directories, without a mount.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::root::Metadata;

/// A read-only merged view of layer directories in overlay form.
#[derive(Debug)]
pub struct Tree {
    layers: Vec<OwnedFd>,
}

/// What a path leads to.
#[derive(Debug)]
pub struct Entry {
    /// The path with every link resolved; begins with `/`.
    pub path: PathBuf,
    /// What is there.
    pub metadata: Metadata,
    node: OwnedFd,
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
}

impl Tree {
    /// Opens the layers, bottom first.
    pub fn open(layers: &[PathBuf]) -> Result<Tree, TreeError> {
        let _ = layers;
        todo!()
    }

    /// What `path` leads to, links followed within the tree; `None` where
    /// nothing is.
    pub fn lookup(&self, path: &Path) -> Result<Option<Entry>, TreeError> {
        let _ = path;
        todo!()
    }

    /// As [`Tree::lookup`], but a link at the end is not followed.
    pub fn lookup_link(&self, path: &Path) -> Result<Option<Entry>, TreeError> {
        let _ = path;
        todo!()
    }

    /// The file at `path`; `None` where nothing is. More than `limit` bytes,
    /// or no regular file, is an error.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TreeError> {
        let _ = (path, limit);
        todo!()
    }

    /// Names in the directory at `path`, sorted; `None` where there is none.
    pub fn entries(&self, path: &Path) -> Result<Option<Vec<OsString>>, TreeError> {
        let _ = path;
        todo!()
    }
}

impl Entry {
    /// Opens the regular file for reading.
    pub fn open(&self) -> io::Result<File> {
        let _ = &self.node;
        todo!()
    }
}
