//! Images as one file: docker-archive and OCI archive.

use std::io::{Read, Write};
use std::path::Path;

use crate::reference::Reference;
use crate::store::{Image, Store, StoreError};

/// Form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What `docker save` writes; keeps `Healthcheck` under podman too.
    Docker,
    /// A tar of an OCI layout.
    Oci,
}

/// Why an archive could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store's part failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes images; the same images give the same bytes.
pub fn save(
    store: &Store,
    images: &[(Reference, Image)],
    out: impl Write,
    form: Form,
) -> Result<(), ArchiveError> {
    let _ = (store, images, out, form);
    todo!()
}

/// Reads a docker-archive or OCI archive, plain, gzip or zstd, into the
/// store. Nothing is tagged: an image appears once for each of its names, or
/// once with `None`.
pub fn load(
    store: &Store,
    input: impl Read,
) -> Result<Vec<(Option<Reference>, Image)>, ArchiveError> {
    let _ = (store, input);
    todo!()
}

/// Reads the images of an OCI layout directory into the store, as [`load`].
pub fn import_layout(
    store: &Store,
    dir: &Path,
) -> Result<Vec<(Option<Reference>, Image)>, ArchiveError> {
    let _ = (store, dir);
    todo!()
}
