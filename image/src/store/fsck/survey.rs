//! All there is to see of a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::verdict::chain;
use crate::digest::{Digest, Hasher};
use crate::document::{Descriptor, Manifest};
use crate::store::gc::listed;
use crate::store::{Image, LAYOUT, Store, StoreError, entry_name, lock};

/// What was seen.
pub(super) struct Survey {
    /// The store's folder.
    pub(super) dir: PathBuf,
    /// Whether `oci-layout` says what it must.
    pub(super) is_layout: bool,
    /// `index.json`, or why it can't be used.
    pub(super) index: Result<Vec<Entry>, String>,
    /// Manifests that somebody else needs.
    pub(super) keep: BTreeSet<Digest>,
    pub(super) blobs: BTreeMap<Digest, Blob>,
    /// By manifest, listed or kept, those whose manifest is there; or why it
    /// can't be used.
    pub(super) images: BTreeMap<Digest, Result<Image, String>>,
    /// The config of an image that can't be used, where its manifest can.
    pub(super) configs: BTreeMap<Digest, Descriptor>,
    /// By diff ID: whether it is a directory. Without those that a power cut may
    /// have torn, which nobody uses.
    pub(super) layers: BTreeMap<Digest, bool>,
}

/// A line of the index.
pub(super) struct Entry {
    pub(super) name: Option<String>,
    pub(super) manifest: Descriptor,
}

/// A file with a digest's name.
pub(super) struct Blob {
    pub(super) size: u64,
    /// The digest of what it holds, or why it can't be read.
    pub(super) content: Result<Digest, String>,
}

/// Looks at everything. In this order: what an index names was there before
/// it, and no gc runs meanwhile.
pub(super) fn survey(store: &Store, keep: &BTreeSet<Digest>) -> Result<Survey, StoreError> {
    let layout = std::fs::read_to_string(store.dir.join("oci-layout"));
    let index = store.index().map(|index| {
        let entry = |manifest: Descriptor| Entry {
            name: entry_name(&manifest).map(|name| name.to_string()),
            manifest,
        };
        index.manifests.into_iter().map(entry).collect::<Vec<_>>()
    });
    let index = index.map_err(|error| chain(&error));
    let mut blobs = BTreeMap::new();
    for name in listed(&store.blobs())? {
        if let Some(Ok(digest)) = name.to_str().map(Digest::from_hex) {
            blobs.insert(digest, blob(&store.blobs().join(&name)));
        }
    }
    let is_layout = match layout {
        Ok(text) => text == LAYOUT,
        // Who was killed while it made the store had put nothing into it yet,
        // and the next goes on.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            blobs.is_empty() && !store.dir.join("index.json").exists()
        }
        Err(_) => false,
    };
    let mut images = BTreeMap::new();
    let mut configs = BTreeMap::new();
    let wanted = index.iter().flatten().map(|entry| entry.manifest.digest);
    for digest in wanted.chain(keep.iter().copied()) {
        if !blobs.contains_key(&digest) {
            continue;
        }
        let image = store.image(&digest).map_err(|error| chain(&error));
        if image.is_err()
            && let Some(manifest) = manifest(store, &digest)
        {
            configs.insert(digest, manifest.config);
        }
        images.insert(digest, image);
    }
    let mut layers = BTreeMap::new();
    for name in listed(&store.layers)? {
        if let Some(Ok(digest)) = name.to_str().map(Digest::from_hex)
            && store.is_of_this_boot(&digest)?
        {
            let found = store.layers.join(&name).symlink_metadata();
            layers.insert(digest, found.is_ok_and(|found| found.is_dir()));
        }
    }
    Ok(Survey {
        dir: store.dir.clone(),
        is_layout,
        index,
        keep: keep.clone(),
        blobs,
        images,
        configs,
        layers,
    })
}

fn manifest(store: &Store, digest: &Digest) -> Option<Manifest> {
    Manifest::decode(&store.document(digest, None).ok()?).ok()
}

fn blob(path: &Path) -> Blob {
    let read = || -> io::Result<(u64, Digest)> {
        let mut file = File::open(path)?;
        let mut hasher = Hasher::new();
        let size = io::copy(&mut file, &mut hasher)?;
        Ok((size, hasher.finish()))
    };
    match read() {
        Ok((size, digest)) => Blob {
            size,
            content: Ok(digest),
        },
        Err(error) => Blob {
            size: path.symlink_metadata().map_or(0, |found| found.len()),
            content: Err(error.to_string()),
        },
    }
}

impl Store {
    /// What interrupted work left; empty while somebody is at work, since it
    /// may be theirs.
    pub(super) fn leftovers(&self) -> Result<Vec<PathBuf>, StoreError> {
        match lock::try_exclusive(&self.session_lock())? {
            Some(_alone) => self.half_made(),
            None => Ok(Vec::new()),
        }
    }
}
