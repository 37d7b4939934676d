//! Removal of what nothing needs.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::layers::remove_tree;
use super::{Store, StoreError, lock};
use crate::digest::Digest;

/// What [`Store::gc`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs removed.
    pub blobs: u64,
    /// Unpacked layers removed.
    pub layers: u64,
    /// Bytes of the removed blobs; unpacked layers are not counted.
    pub bytes: u64,
    /// Someone was adding to the store, so nothing was removed this time.
    pub postponed: bool,
}

impl Store {
    /// Removes every blob and unpacked layer that is reachable neither from
    /// the list of images nor from `keep` (manifest digests), and what crashes
    /// left. An image that cannot be read is an error before anything is
    /// removed: what it needs is not known.
    pub fn gc(&self, keep: &BTreeSet<Digest>) -> Result<Freed, StoreError> {
        let mut freed = Freed::default();
        let Some(_alone) = lock::try_exclusive(&self.session_lock())? else {
            freed.postponed = true;
            return Ok(freed);
        };
        let _index = lock::exclusive(&self.dir.join("index.lock"))?;
        let mut blobs = BTreeSet::new();
        let mut layers = BTreeSet::new();
        let listed = self
            .index()?
            .manifests
            .into_iter()
            .map(|entry| entry.digest);
        for digest in listed.chain(keep.iter().copied()) {
            if !blobs.insert(digest) {
                continue;
            }
            let image = self.image(&digest)?;
            blobs.insert(image.id());
            blobs.extend(image.manifest.layers.iter().map(|layer| layer.digest));
            layers.extend(image.config.rootfs.diff_ids);
        }
        self.sweep_blobs(&blobs, &mut freed)?;
        self.sweep_layers(&layers, &mut freed)?;
        Ok(freed)
    }

    /// What crashes left. The caller is alone in the store, or it may be
    /// somebody's work.
    pub(super) fn half_made(&self) -> Result<Vec<PathBuf>, StoreError> {
        let temporary = self.temporary();
        let blobs = listed(&temporary)?.into_iter();
        let mut found: Vec<PathBuf> = blobs.map(|name| temporary.join(name)).collect();
        let layers = listed(&self.layers)?.into_iter();
        let half = layers.filter(|name| name.to_str().is_some_and(is_half_made));
        found.extend(half.map(|name| self.layers.join(name)));
        Ok(found)
    }

    fn sweep_blobs(&self, used: &BTreeSet<Digest>, freed: &mut Freed) -> Result<(), StoreError> {
        for (folder, temporary) in [(self.blobs(), false), (self.temporary(), true)] {
            for entry in entries(&folder)? {
                let path = folder.join(&entry);
                let unused = match entry.to_str().map(Digest::from_hex) {
                    Some(Ok(digest)) if !temporary => !used.contains(&digest),
                    // A name that is no digest is not ours.
                    _ => temporary,
                };
                if !unused {
                    continue;
                }
                let failed = |source| StoreError::Sweep {
                    path: path.clone(),
                    source,
                };
                let size = path.symlink_metadata().map_err(failed)?.len();
                std::fs::remove_file(&path).map_err(failed)?;
                if !temporary {
                    freed.blobs += 1;
                    freed.bytes += size;
                }
            }
        }
        Ok(())
    }

    fn sweep_layers(&self, used: &BTreeSet<Digest>, freed: &mut Freed) -> Result<(), StoreError> {
        for entry in entries(&self.layers)? {
            let Some(name) = entry.to_str() else { continue };
            let path = self.layers.join(name);
            let failed = |source| StoreError::Sweep {
                path: path.clone(),
                source,
            };
            if let Ok(digest) = Digest::from_hex(name) {
                if used.contains(&digest) {
                    continue;
                }
                self.take_away(&digest)?;
                freed.layers += 1;
            } else if is_half_made(name) {
                remove_tree(&path).map_err(failed)?;
            } else if name.starts_with('.') && Path::new(name).extension() == Some("lock".as_ref())
            {
                // Alone in the store: no one waits for it.
                std::fs::remove_file(&path).map_err(failed)?;
            }
        }
        self.sweep_marks()
    }

    /// Removes an unpacked layer, or a file in its place, out of sight at once:
    /// half a layer must never be found. That there is none is no error.
    pub(super) fn take_away(&self, diff_id: &Digest) -> Result<(), StoreError> {
        let path = self.layer_dir(diff_id);
        let gone = self.layers.join(format!(".gone-{}", diff_id.hex()));
        let taken = remove_tree(&gone).and_then(|()| match std::fs::rename(&path, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.and_then(|()| remove_tree(&gone)),
        });
        taken.map_err(|source| StoreError::Sweep { path, source })
    }
}

/// Whether a name beside the layers is that of one half unpacked, half packed
/// or half removed.
fn is_half_made(name: &str) -> bool {
    [".unpack-", ".add-", ".gone-"]
        .iter()
        .any(|kind| name.starts_with(kind))
}

fn entries(folder: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    let list = || -> io::Result<Vec<_>> {
        std::fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect()
    };
    list().map_err(|source| StoreError::Examine {
        path: folder.to_owned(),
        source,
    })
}

/// A folder's entries; none where it isn't there.
pub(super) fn listed(folder: &Path) -> Result<Vec<std::ffi::OsString>, StoreError> {
    match entries(folder) {
        Err(StoreError::Examine { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Vec::new())
        }
        other => other,
    }
}
