//! The images of an OCI layout (image-layout.md), in an archive or on disk.

use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::ArchiveError;
use crate::digest::Digest;
use crate::document::{
    self, Descriptor, DocumentError, Index, MAX_DOCUMENT, Manifest, REF_NAME, host_architecture,
    media,
};
use crate::reference::Reference;
use crate::root::RootDir;
use crate::store::{BlobMismatch, Image, Store, StoreError, entry_name};

/// Levels of an index within an index; one is what tools write.
const MAX_NESTING: u32 = 4;

/// Where the layout's blobs come from.
pub(super) trait Blobs {
    /// A document, bounded and verified.
    fn document(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, ArchiveError>;

    /// Puts the blob into the store, verified, as this media type.
    fn store(&mut self, store: &Store, descriptor: &Descriptor)
    -> Result<Descriptor, ArchiveError>;
}

/// Reads the images of an OCI layout directory into the store, as
/// [`load()`](super::load()).
pub fn import_layout(
    store: &Store,
    dir: &Path,
) -> Result<Vec<(Option<Reference>, Image)>, ArchiveError> {
    let failed = |source| ArchiveError::Layout {
        path: dir.to_owned(),
        source,
    };
    let root = RootDir::open(dir).map_err(failed)?;
    if root
        .stat(Path::new("oci-layout"))
        .map_err(failed)?
        .is_none()
    {
        return Err(ArchiveError::NotALayout {
            path: dir.to_owned(),
        });
    }
    let version = root
        .read(Path::new("oci-layout"), MAX_DOCUMENT)
        .map_err(failed)?;
    if !is_version_1(&version) {
        return Err(ArchiveError::NotALayout {
            path: dir.to_owned(),
        });
    }
    let index = root
        .read(Path::new("index.json"), MAX_DOCUMENT)
        .map_err(failed)?;
    images(store, &mut Directory { root, path: dir }, &index)
}

/// The images that `index.json` names, stored.
pub(super) fn images(
    store: &Store,
    blobs: &mut impl Blobs,
    index: &[u8],
) -> Result<Vec<(Option<Reference>, Image)>, ArchiveError> {
    let refused = |source| ArchiveError::Document {
        name: "index.json".to_owned(),
        source,
    };
    let index = Index::decode(index).map_err(refused)?;
    let mut found = Vec::new();
    for entry in index.manifests {
        let name = foreign_name(&entry);
        if let Some(manifest) = for_host(blobs, entry, 0)? {
            found.push((name, image(store, blobs, &manifest)?));
        }
    }
    if found.is_empty() {
        return Err(ArchiveError::Platform {
            architecture: host_architecture(),
        });
    }
    Ok(found)
}

/// The manifest that an index entry means on this machine, through nested
/// indexes; `None` where it is for others, or no image (an attestation).
fn for_host(
    blobs: &mut impl Blobs,
    entry: Descriptor,
    nesting: u32,
) -> Result<Option<Descriptor>, ArchiveError> {
    if entry
        .platform
        .as_ref()
        .is_some_and(|platform| !platform.is_host())
    {
        return Ok(None);
    }
    match entry.media_type.as_str() {
        media::MANIFEST | media::DOCKER_MANIFEST => Ok(Some(entry)),
        media::INDEX | media::DOCKER_LIST if nesting < MAX_NESTING => {
            let bytes = blobs.document(&entry)?;
            let index = Index::decode(&bytes).map_err(|source| refused(&entry, source))?;
            for inner in index.manifests {
                if let Some(manifest) = for_host(blobs, inner, nesting + 1)? {
                    return Ok(Some(manifest));
                }
            }
            Ok(None)
        }
        other => {
            let found = other.chars().take(100).collect();
            Err(refused(
                &entry,
                DocumentError::MediaType {
                    what: "index entry",
                    found,
                },
            ))
        }
    }
}

fn image(
    store: &Store,
    blobs: &mut impl Blobs,
    descriptor: &Descriptor,
) -> Result<Image, ArchiveError> {
    let bytes = blobs.document(descriptor)?;
    let manifest = Manifest::decode(&bytes).map_err(|source| refused(descriptor, source))?;
    // Read before anything is stored: it is small, and may be refused.
    blobs.document(&manifest.config)?;
    for wanted in manifest.layers.iter().chain([&manifest.config]) {
        let stored = blobs.store(store, wanted)?;
        if stored.size != wanted.size {
            let source = BlobMismatch::Size {
                expected: wanted.size,
                found: stored.size,
            };
            return Err(StoreError::Damaged {
                digest: wanted.digest,
                source,
            }
            .into());
        }
    }
    if descriptor.media_type == media::DOCKER_MANIFEST {
        return Ok(store.put_manifest(&manifest)?);
    }
    let stored = blobs.store(store, descriptor)?;
    Ok(store.image(&stored.digest)?)
}

/// A name given by another tool. `latest` alone is a tag that lost its
/// repository (docker, umoci write it so), not a repository of that name.
fn foreign_name(entry: &Descriptor) -> Option<Reference> {
    let bare = entry
        .annotations
        .get(REF_NAME)
        .is_some_and(|name| name == "latest");
    entry_name(entry).filter(|name| !(bare && name.repository() == "library/latest"))
}

fn refused(entry: &Descriptor, source: DocumentError) -> ArchiveError {
    ArchiveError::Document {
        name: entry.digest.to_string(),
        source,
    }
}

pub(super) fn is_version_1(document: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    document::decode::<Layout>("layout", document)
        .is_ok_and(|layout| layout.image_layout_version == "1.0.0")
}

/// A layout on disk. It may be another's, so its links stay within it.
struct Directory<'d> {
    root: RootDir,
    path: &'d Path,
}

impl Directory<'_> {
    fn blob_path(digest: &Digest) -> std::path::PathBuf {
        Path::new("blobs/sha256").join(digest.hex())
    }
}

impl Blobs for Directory<'_> {
    fn document(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, ArchiveError> {
        let path = Self::blob_path(&descriptor.digest);
        let bytes = self
            .root
            .read(&path, MAX_DOCUMENT)
            .map_err(|source| ArchiveError::Layout {
                path: self.path.to_owned(),
                source,
            })?;
        let found = Digest::of(&bytes);
        if found != descriptor.digest {
            return Err(ArchiveError::Digest {
                expected: descriptor.digest,
                found,
            });
        }
        Ok(bytes)
    }

    fn store(
        &mut self,
        store: &Store,
        descriptor: &Descriptor,
    ) -> Result<Descriptor, ArchiveError> {
        let path = Self::blob_path(&descriptor.digest);
        let file = self
            .root
            .open_file(&path)
            .map_err(|source| ArchiveError::Layout {
                path: self.path.to_owned(),
                source,
            })?;
        let mut writer = store.blob_writer()?;
        // One byte more than it says shows that it has too many.
        let mut content = file.take(descriptor.size.saturating_add(1));
        io::copy(&mut content, &mut writer).map_err(ArchiveError::Read)?;
        let staged = writer.finish();
        if staged.digest != descriptor.digest {
            let (expected, found) = (descriptor.digest, staged.digest);
            return Err(ArchiveError::Digest { expected, found });
        }
        Ok(staged.commit(&descriptor.media_type)?)
    }
}
