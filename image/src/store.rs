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
//!        .unpack-HEX/ .gone-HEX/ half unpacked, half removed
//! ```
//! Everything appears by a rename of what is complete and synced, so at any
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
use crate::document::{
    CONTAINERD_NAME, Descriptor, DocumentError, ImageConfig, Manifest, REF_NAME, media,
};
use crate::reference::{self, Reference};

mod blob;
mod error;
pub mod fsck;
mod gc;
mod index;
mod layers;
mod lock;

pub(crate) use blob::Staged;
pub use blob::{BlobWriter, VerifiedReader};
pub(crate) use error::space_hint;
pub use error::{BlobMismatch, StoreError};
pub use gc::Freed;
#[cfg(feature = "fuzzing")]
pub(crate) use layers::unpack_coded;

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
    /// Bytes of its config and its layers, as they are stored.
    pub size: u64,
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

    /// Gives the image this name, which another one then loses. A name
    /// without a tag gets `latest`; a digest in it is left out.
    pub fn tag(&self, reference: &Reference, image: &Image) -> Result<(), StoreError> {
        let name = tagged(reference);
        self.add_entry(Some(&name), image)
    }

    /// Lists the image without a name, so that gc keeps it, unless it has one.
    pub fn keep_untagged(&self, image: &Image) -> Result<(), StoreError> {
        self.add_entry(None, image)
    }

    fn add_entry(&self, name: Option<&Reference>, image: &Image) -> Result<(), StoreError> {
        // From here on no gc can take what the name will need.
        self.begin()?;
        let mut entry = self.manifest_descriptor(&image.digest)?;
        if let Some(name) = name {
            entry
                .annotations
                .insert(REF_NAME.to_owned(), name.to_string());
        }
        self.change_index(|index| {
            let named = |entry: &Descriptor| entry_name(entry);
            if name.is_none()
                && index
                    .manifests
                    .iter()
                    .any(|other| other.digest == image.digest)
            {
                return;
            }
            index.manifests.retain(|other| match named(other) {
                Some(other) => Some(&other) != name,
                None => other.digest != image.digest,
            });
            index.manifests.push(entry);
            index
                .manifests
                .sort_by_key(|entry| (named(entry), entry.digest));
        })
    }

    /// Takes the name away; the manifest it had, if any. Nothing is removed
    /// from the disk: see [`Store::gc`].
    pub fn untag(&self, reference: &Reference) -> Result<Option<Digest>, StoreError> {
        let name = tagged(reference);
        self.change_index(|index| {
            let is_it = |entry: &Descriptor| entry_name(entry).as_ref() == Some(&name);
            let found = index
                .manifests
                .iter()
                .find(|entry| is_it(entry))
                .map(|entry| entry.digest);
            index.manifests.retain(|entry| !is_it(entry));
            found
        })
    }

    /// Takes all names of the image away, and its place in the list; the
    /// names it had. Works on a damaged image too.
    pub fn forget(&self, manifest_digest: &Digest) -> Result<Vec<Reference>, StoreError> {
        self.change_index(|index| {
            let is_it = |entry: &Descriptor| entry.digest == *manifest_digest;
            let names = index.manifests.iter().filter(|entry| is_it(entry));
            let names = names.filter_map(entry_name).collect();
            index.manifests.retain(|entry| !is_it(entry));
            names
        })
    }

    /// The image of a name (default tag latest), a digest, or a unique hex
    /// prefix of its id or its manifest's digest. Reads the index, and
    /// manifest and config of what it finds.
    pub fn resolve(&self, name: &str) -> Result<Image, StoreError> {
        let index = self.index()?;
        let parsed = name.parse::<Reference>();
        if let Ok(reference) = &parsed {
            let wanted = reference.clone().with_default_tag();
            if let Some(digest) = wanted.digest() {
                return self.image(digest);
            }
            let mut entries = index.manifests.iter();
            if let Some(entry) = entries.find(|entry| entry_name(entry).as_ref() == Some(&wanted)) {
                return self.image(&entry.digest);
            }
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !prefix.is_empty() && prefix.len() <= 64 && prefix.bytes().all(is_hex) {
            if let Some(image) = self.by_prefix(&index.manifests, name, prefix)? {
                return Ok(image);
            }
        } else {
            parsed?;
        }
        let names: Vec<String> = index
            .manifests
            .iter()
            .filter_map(entry_name)
            .map(|name| name.to_string())
            .collect();
        let closest = reference::closest(name, names.iter().map(String::as_str));
        Err(StoreError::NotFound {
            name: name.to_owned(),
            closest: closest.map(str::to_owned),
        })
    }

    fn by_prefix(
        &self,
        entries: &[Descriptor],
        name: &str,
        prefix: &str,
    ) -> Result<Option<Image>, StoreError> {
        let mut found = std::collections::BTreeSet::new();
        for entry in entries {
            let id = self.manifest(&entry.digest)?.config.digest;
            if entry.digest.hex().starts_with(prefix) || id.hex().starts_with(prefix) {
                found.insert(entry.digest);
            }
        }
        let count = found.len();
        match (found.pop_first(), count) {
            (Some(digest), 1) => self.image(&digest).map(Some),
            (None, _) => match Digest::from_hex(prefix) {
                Ok(digest) if self.blobs().join(digest.hex()).is_file() => {
                    self.image(&digest).map(Some)
                }
                _ => Ok(None),
            },
            (Some(_), count) => Err(StoreError::Ambiguous {
                prefix: name.to_owned(),
                count,
            }),
        }
    }

    /// All names and their images, sorted by name; those without one first.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        for entry in self.index()?.manifests {
            let image = self.image(&entry.digest)?;
            listed.push(Listed {
                reference: entry_name(&entry),
                digest: image.digest,
                id: image.id(),
                created: image.config.created.clone(),
                size: image.size(),
            });
        }
        listed.sort_by(|a, b| (&a.reference, a.digest).cmp(&(&b.reference, b.digest)));
        Ok(listed)
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

/// The name under which an image is listed.
fn tagged(reference: &Reference) -> Reference {
    reference.clone().without_digest().with_default_tag()
}

/// The name of an index entry, ours or another tool's; `None` where it has
/// none that could be asked for.
pub(crate) fn entry_name(entry: &Descriptor) -> Option<Reference> {
    let named = |key: &str| entry.annotations.get(key)?.parse::<Reference>().ok();
    named(CONTAINERD_NAME)
        .or_else(|| named(REF_NAME))
        .map(|name| tagged(&name))
}
