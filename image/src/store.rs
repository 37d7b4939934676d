//! The content store: an OCI layout, and the layers unpacked beside it.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::document::{Descriptor, DocumentError, ImageConfig, Manifest};
use crate::layer::{LayerError, PackedLayer};
use crate::reference::Reference;

/// Images by digest and by name, and their layers unpacked.
#[derive(Debug)]
pub struct Store {
    blobs: PathBuf,
    layers: PathBuf,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The config.
    pub config: ImageConfig,
}

impl Image {
    /// The image id as docker has it: the config's digest.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.manifest.config.digest
    }
}

/// One line of [`Store::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name; an image with several names is listed under each.
    pub reference: Option<Reference>,
    /// The manifest's digest.
    pub digest: Digest,
    /// The config's digest.
    pub id: Digest,
    /// RFC 3339, where the config says.
    pub created: Option<String>,
    /// Bytes of its blobs.
    pub size: u64,
}

/// What [`Store::gc`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs removed.
    pub blobs: u64,
    /// Unpacked layers removed.
    pub layers: u64,
    /// Bytes of the removed blobs; unpacked layers are not counted.
    pub bytes: u64,
    /// Others were writing, so what is younger than the grace was kept.
    pub postponed: bool,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A document was refused.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Takes a blob's bytes; dropped without [`BlobWriter::commit`], it leaves
/// nothing.
#[derive(Debug)]
pub struct BlobWriter {}

impl BlobWriter {
    /// Makes the blob durable under its digest.
    pub fn commit(self, media_type: &str) -> Result<Descriptor, StoreError> {
        let _ = media_type;
        todo!()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = bytes;
        todo!()
    }

    fn flush(&mut self) -> io::Result<()> {
        todo!()
    }
}

/// Reads a blob; its end is an error if size or digest are wrong.
#[derive(Debug)]
pub struct VerifiedReader {}

impl Read for VerifiedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = buffer;
        todo!()
    }
}

impl Store {
    /// Opens the store, and makes both folders if they are not there.
    pub fn open(store_dir: &Path, layers_dir: &Path) -> Result<Store, StoreError> {
        let _ = (store_dir, layers_dir);
        todo!()
    }

    /// Stores a document.
    pub fn write_blob(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, StoreError> {
        let _ = (media_type, bytes, &self.blobs, &self.layers);
        todo!()
    }

    /// Stores a blob that is written piece by piece.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        todo!()
    }

    /// Whether the blob is there; its content is not read.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        let _ = digest;
        todo!()
    }

    /// A whole document of at most 4 MiB, verified.
    pub fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
        let _ = descriptor;
        todo!()
    }

    /// A blob's content, verified as it is read.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<VerifiedReader, StoreError> {
        let _ = descriptor;
        todo!()
    }

    /// Stores an image of this config and these layers, bottom first. It has
    /// no name yet: see [`Store::tag`].
    pub fn put_image(
        &self,
        config: &ImageConfig,
        layers: &[Descriptor],
    ) -> Result<Image, StoreError> {
        let _ = (config, layers);
        todo!()
    }

    /// The image of this manifest.
    pub fn image(&self, manifest_digest: &Digest) -> Result<Image, StoreError> {
        let _ = manifest_digest;
        todo!()
    }

    /// Gives the image this name, which another one then loses. A name
    /// without a tag gets `latest`.
    pub fn tag(&self, reference: &Reference, image: &Image) -> Result<(), StoreError> {
        let _ = (reference, image);
        todo!()
    }

    /// Takes the name away; the manifest it had, if any.
    pub fn untag(&self, reference: &Reference) -> Result<Option<Digest>, StoreError> {
        let _ = reference;
        todo!()
    }

    /// The image of a name (default tag latest), a digest, or a unique hex
    /// prefix of its id or its manifest's digest.
    pub fn resolve(&self, name: &str) -> Result<Image, StoreError> {
        let _ = name;
        todo!()
    }

    /// All names and their images, sorted by name.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        todo!()
    }

    /// Packs a directory in overlay form into a layer blob, in one pass.
    /// Times after `epoch` (seconds since 1970) become `epoch`.
    pub fn pack_layer(&self, dir: BorrowedFd<'_>, epoch: i64) -> Result<PackedLayer, LayerError> {
        let _ = (dir, epoch);
        todo!()
    }

    /// Makes a finished directory in overlay form the unpacked layer of
    /// `diff_id`, by a rename: it must lie on the same file system. If there
    /// is one already, `dir` is removed.
    pub fn adopt_layer(&self, dir: &Path, diff_id: &Digest) -> Result<PathBuf, StoreError> {
        let _ = (dir, diff_id);
        todo!()
    }

    /// Stores a layer that is a tar, plain, gzip or zstd, and unpacks it.
    pub fn add_tar_layer(&self, tar: impl Read) -> Result<PackedLayer, LayerError> {
        let _ = tar;
        todo!()
    }

    /// The layer's directory, unpacked if it was not.
    pub fn unpacked(&self, layer: &Descriptor, diff_id: &Digest) -> Result<PathBuf, LayerError> {
        let _ = (layer, diff_id);
        todo!()
    }

    /// The directories of all layers of the image, bottom first.
    pub fn unpacked_layers(&self, image: &Image) -> Result<Vec<PathBuf>, LayerError> {
        let _ = image;
        todo!()
    }

    /// Removes every blob and layer that is reachable neither from a name nor
    /// from `keep` (manifest digests).
    pub fn gc(&self, keep: &BTreeSet<Digest>) -> Result<Freed, StoreError> {
        let _ = keep;
        todo!()
    }
}
