//! The content store: an OCI image layout (image-layout.md) on disk, and the
//! layers unpacked beside it.
//!
//! ```text
//! STORE/oci-layout  index.json  blobs/sha256/HEX      the layout
//!       tmp/                     blobs being written
//!       index.lock               held while index.json is replaced
//!       session.lock             shared by who adds, held alone by gc
//! LAYERS/HEX/                    unpacked layer by diff ID, overlay form
//!        .HEX.lock               held while it is unpacked
//!        .unsynced-HEX           it may not be on the disk: see `unsynced.rs`
//!        .unpack-HEX/ .gone-HEX/ half unpacked, half removed
//! ```
//! Everything appears by a rename of what is complete, and is synced before or,
//! where it can be made again, known not to be. So at any
//! instant a killed process or a power cut leaves a store that works; what
//! they leave under `tmp/` and the dotted names, the next who adds or collects
//! alone removes.
//!
//! **In-flight writes and gc.** A blob exists before the name that will keep
//! it. So whoever adds, or asks whether something is there in order to build
//! on it, is in a *session*: a shared lock from the first such call until the
//! [`Store`] is dropped or [`Store::release`]d. [`Store::gc`] takes that lock
//! alone; where it can't, it removes nothing and says so. No clock, no grace
//! period that is too short for a slow build.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::digest::Digest;
use crate::document::{Descriptor, DocumentError, ImageConfig, Manifest, media};

mod blob;
mod error;
pub mod fsck;
mod gc;
mod index;
mod layers;
mod lock;
mod names;
mod unsynced;

pub(crate) use blob::Staged;
pub use blob::{BlobWriter, VerifiedReader};
pub(crate) use error::space_hint;
pub use error::{BlobMismatch, StoreError};
pub use gc::Freed;
#[cfg(feature = "fuzzing")]
pub(crate) use layers::unpack_coded;
pub use names::Listed;
pub(crate) use names::entry_name;

/// Content of `oci-layout`.
pub(crate) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Images by digest and by name, and their layers unpacked. Any number of
/// processes and threads may use one store at once.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    layers: PathBuf,
    session: Mutex<Option<lock::Lock>>,
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

    /// The layers and their diff IDs, bottom first.
    pub fn layers(&self) -> impl Iterator<Item = (&Descriptor, &Digest)> {
        self.manifest
            .layers
            .iter()
            .zip(&self.config.rootfs.diff_ids)
    }

    /// Bytes of its config and its layers, as they are stored.
    #[must_use]
    pub fn size(&self) -> u64 {
        let layers = self.manifest.layers.iter().map(|layer| layer.size);
        layers.fold(self.manifest.config.size, u64::saturating_add)
    }
}

impl Store {
    /// Opens the store, and makes both folders if they are not there. They
    /// must lie on one file system, and are readable by their owner alone: an
    /// unpacked layer has set-uid programs.
    pub fn open(store_dir: &Path, layers_dir: &Path) -> Result<Store, StoreError> {
        let store = Store::at(store_dir, layers_dir);
        store.prepare()?;
        Ok(store)
    }

    /// Ends the session: what was added and has neither name nor user may be
    /// removed by a gc from now on. Dropping the store does it too; this is
    /// for a program that keeps it open while a box runs.
    pub fn release(&self) {
        let mut session = self
            .session
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *session = None;
    }

    /// Stores an image of this config and these layers, bottom first. It has
    /// no name yet: see [`Store::tag`].
    pub fn put_image(
        &self,
        config: &ImageConfig,
        layers: &[Descriptor],
    ) -> Result<Image, StoreError> {
        let bytes = serde_json::to_vec(config).map_err(StoreError::Encode)?;
        let config = self.write_blob(media::CONFIG, &bytes)?;
        self.put_manifest(&Manifest::new(config, layers.to_vec()))
    }

    /// Stores a manifest whose blobs are all there.
    pub(crate) fn put_manifest(&self, manifest: &Manifest) -> Result<Image, StoreError> {
        if let Some(missing) = manifest
            .layers
            .iter()
            .find(|layer| !self.contains(&layer.digest))
        {
            return Err(StoreError::MissingBlob {
                digest: missing.digest,
            });
        }
        let bytes = serde_json::to_vec(manifest).map_err(StoreError::Encode)?;
        let descriptor = self.write_blob(media::MANIFEST, &bytes)?;
        self.image(&descriptor.digest)
    }

    /// The image of this manifest. Reads manifest and config and nothing else.
    pub fn image(&self, manifest_digest: &Digest) -> Result<Image, StoreError> {
        let manifest = self.manifest(manifest_digest)?;
        let config = manifest.config.digest;
        let refused = |source| StoreError::Document {
            digest: config,
            source,
        };
        let config = ImageConfig::decode(&self.read_blob(&manifest.config)?).map_err(refused)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(refused(DocumentError::LayerCount { layers, diff_ids }));
        }
        Ok(Image {
            digest: *manifest_digest,
            manifest,
            config,
        })
    }

    fn manifest(&self, digest: &Digest) -> Result<Manifest, StoreError> {
        Manifest::decode(&self.document(digest, None)?).map_err(|source| StoreError::Document {
            digest: *digest,
            source,
        })
    }

    /// The descriptor of a manifest that is in the store.
    pub(crate) fn manifest_descriptor(&self, digest: &Digest) -> Result<Descriptor, StoreError> {
        Ok(Descriptor {
            media_type: media::MANIFEST.to_owned(),
            digest: *digest,
            size: self.document(digest, None)?.len() as u64,
            annotations: std::collections::BTreeMap::new(),
            platform: None,
        })
    }

    /// Begins the session, if there is none. Who is alone in it removes what
    /// crashes left: nobody works on it.
    fn begin(&self) -> Result<(), StoreError> {
        let mut session = self
            .session
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if session.is_none() {
            let path = self.session_lock();
            *session = Some(match lock::try_exclusive(&path)? {
                Some(mut lock) => {
                    self.sweep_half_made();
                    lock::share(&mut lock, &path)?;
                    lock
                }
                None => lock::shared(&path)?,
            });
        }
        Ok(())
    }

    /// What can't be removed is said and left: it takes space, and is in
    /// nobody's way.
    fn sweep_half_made(&self) {
        match self.half_made() {
            Ok(found) => {
                for path in found {
                    if let Err(error) = layers::remove_tree(&path) {
                        log::warn!("cannot remove {}: {error}", path.display());
                    }
                }
            }
            Err(error) => log::warn!("cannot look for what crashes left: {error}"),
        }
    }

    fn prepare(&self) -> Result<(), StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Prepare { path, source }
        };
        for folder in [&self.blobs(), &self.temporary(), &self.layers] {
            let mut builder = std::fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(failed(folder))?;
        }
        let layout = self.dir.join("oci-layout");
        if !layout.exists() {
            let _lock = lock::exclusive(&self.dir.join("index.lock"))?;
            self.replace("oci-layout", LAYOUT.as_bytes())
                .map_err(failed(&layout))?;
        }
        Ok(())
    }

    fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }

    fn temporary(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    fn session_lock(&self) -> PathBuf {
        self.dir.join("session.lock")
    }
}
