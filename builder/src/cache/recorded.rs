//! What becomes of a cache record, whichever it is.

use std::io;
use std::path::Path;

use holdall_image::{Digest, Store};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ImageRecord, MAX_RECORD, StepRecord, VERSION};
use crate::stat_index;

/// What a record is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It leads to something.
    Good,
    /// It leads to what is gone, or is of another release.
    Stale,
    /// It can't be read.
    Bad(String),
}

/// A record as it was read.
enum Found {
    /// The layers that the step made, or the one of some contents.
    Layers(Vec<Digest>),
    Image(Digest),
    Index,
    OtherVersion,
}

/// Looks at a record of one of the folders of [`super::RECORDS`].
pub(crate) fn recorded(folder: &str, path: &Path, store: &Store) -> Recorded {
    let found = match folder {
        "steps" | "layers" => read::<StepRecord>(path).map(|record| {
            record.map_or(Found::OtherVersion, |record| {
                let layers = record.layers.into_iter();
                Found::Layers(layers.map(|layer| layer.descriptor.digest).collect())
            })
        }),
        "images" => read::<ImageRecord>(path)
            .map(|record| record.map_or(Found::OtherVersion, |record| Found::Image(record.image))),
        _ => stat_index::is_readable(path).map(|known| match known {
            true => Found::Index,
            false => Found::OtherVersion,
        }),
    };
    judge(found, |digest| store.has_blob(digest))
}

/// What a record is worth, given which blobs there are.
fn judge(found: io::Result<Found>, there: impl Fn(&Digest) -> bool) -> Recorded {
    match found {
        Ok(Found::Index) => Recorded::Good,
        Ok(Found::Layers(blobs)) if blobs.iter().all(&there) => Recorded::Good,
        Ok(Found::Image(blob)) if there(&blob) => Recorded::Good,
        Ok(Found::Layers(_) | Found::Image(_) | Found::OtherVersion) => Recorded::Stale,
        Err(error) => Recorded::Bad(error.to_string()),
    }
}

/// A record of this version; `None` for one of another.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if path.symlink_metadata()?.len() > MAX_RECORD {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let bytes = std::fs::read(path)?;
    let Versioned { version } = serde_json::from_slice(&bytes)?;
    if version != VERSION {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&bytes)?))
}
