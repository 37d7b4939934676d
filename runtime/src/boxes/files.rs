//! Files that are there as a whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::BoxError;

/// Makes a folder that only root enters.
pub(crate) fn make_private(path: &Path) -> Result<(), BoxError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(BoxError::file("make", path))
}

/// Whether a write must outlive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    Yes,
    No,
}

impl Durable {
    /// For what a box is known by. One that is removed at its end is not worth
    /// waiting for a disk: a power cut ends it.
    pub(crate) fn of_box(remove: bool) -> Self {
        if remove { Self::No } else { Self::Yes }
    }
}

/// Replaces a file as a whole.
pub(crate) fn write_json(
    path: &Path,
    value: &impl Serialize,
    durable: Durable,
) -> Result<(), BoxError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|cause| BoxError::Record {
        path: path.to_owned(),
        cause,
    })?;
    bytes.push(b'\n');
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&bytes)?;
        if durable == Durable::Yes {
            file.sync_all()?;
        }
        fs::rename(&new, path)
    };
    write().map_err(|cause| {
        // A half-written file has no value; the error to tell is the first.
        drop(fs::remove_file(&new));
        BoxError::file("write", path)(cause)
    })?;
    match path.parent() {
        Some(parent) if durable == Durable::Yes => sync_dir(parent),
        Some(_) | None => Ok(()),
    }
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), BoxError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(BoxError::file("sync", path))
}

pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, BoxError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BoxError::file("read", path)(error)),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, BoxError> {
    serde_json::from_slice(bytes).map_err(|cause| BoxError::Record {
        path: path.to_owned(),
        cause,
    })
}

/// A file, a link or a folder with all in it.
pub(crate) fn remove_any(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

pub(crate) fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
