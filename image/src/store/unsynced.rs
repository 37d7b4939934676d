//! Layers that are whole, but perhaps not on the disk yet.
//!
//! An unpacked layer can be made again from its blob, which is on the disk
//! before anything else. So nobody waits until thousands of files are there:
//! beside the layer lies `.unsynced-HEX`, which holds the id of the boot that
//! wrote it. In that boot the layer is what it seems; after a power cut it may
//! be torn, and is unpacked again. [`Store::sync_layers`], some time later,
//! writes out what is left to write and removes the marks.
//!
//! In order, so that a mark is never missing: it is on the disk before the
//! layer gets its name, is written only where no layer is, and goes only after
//! the layer is on the disk. Who looks, looks at the mark first.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::gc::listed;
use super::{Store, StoreError, blob, lock};
use crate::boot;
use crate::digest::Digest;

/// Before the layer's hexadecimal diff ID.
const MARK: &str = ".unsynced-";
/// After the boot's id, in the mark of a layer that could not be written out: in
/// this boot it is what it seems, and never after it.
const FAILED: &str = " failed";
/// No mark is as long.
const MAX_MARK: u64 = 100;

impl Store {
    /// Prepares the names of layers that will be there soon: what lies there of
    /// another boot goes.
    pub(super) fn mark_unsynced<'d>(
        &self,
        diff_ids: impl IntoIterator<Item = &'d Digest>,
    ) -> Result<(), StoreError> {
        let mut marked = false;
        for diff_id in diff_ids {
            let _lock = self.lock_layer(diff_id)?;
            if self.is_unpacked(diff_id)? {
                continue;
            }
            self.take_away(diff_id)?;
            let path = self.mark(diff_id);
            boot::id()
                .and_then(|id| std::fs::write(&path, id))
                .map_err(|source| StoreError::Prepare { path, source })?;
            marked = true;
        }
        match marked {
            true => self.sync_names(),
            false => Ok(()),
        }
    }

    /// Whether a layer of that name can be what it seems: it is on the disk, or
    /// was written in this boot.
    pub(super) fn is_of_this_boot(&self, diff_id: &Digest) -> Result<bool, StoreError> {
        let path = self.mark(diff_id);
        let read = || {
            let Some(text) = read(&path)? else {
                return Ok(true);
            };
            Ok(text.strip_suffix(FAILED).unwrap_or(&text) == boot::id()?)
        };
        read().map_err(|source| StoreError::Examine { path, source })
    }

    /// Writes to the disk what unpacked layers have in memory alone. Waits for
    /// all that is unwritten in that file system: long after they were unpacked
    /// the kernel has written them anyway.
    ///
    /// # Errors
    /// Where they can't be looked for or written.
    pub fn sync_layers(&self) -> Result<(), StoreError> {
        // From here on no layer is taken away.
        self.begin()?;
        let unsynced = self.unsynced()?;
        if unsynced.is_empty() {
            return Ok(());
        }
        if let Err(source) = sync_all(&self.layers) {
            // The kernel tells of it once, and the next sync would succeed.
            for path in unsynced {
                let noted =
                    boot::id().and_then(|id| std::fs::write(&path, format!("{id}{FAILED}")));
                noted.map_err(|source| StoreError::Prepare { path, source })?;
            }
            let path = self.layers.clone();
            return Err(StoreError::Adopt { path, source });
        }
        unsynced.iter().try_for_each(|mark| remove(mark))
    }

    /// Since when the oldest layer is unsynced, by the file system's clock. No
    /// session begins: who only asks is in no gc's way.
    ///
    /// # Errors
    /// Where they can't be looked for.
    pub fn unsynced_since(&self) -> Result<Option<SystemTime>, StoreError> {
        let mut oldest = None;
        for (path, _) in self.marks()? {
            let since = || match is_to_sync(&path)? {
                true => path.symlink_metadata()?.modified().map(Some),
                false => Ok(None),
            };
            let since = match since() {
                // Synced meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => other.map_err(|source| StoreError::Examine { path, source })?,
            };
            oldest = oldest.into_iter().chain(since).min();
        }
        Ok(oldest)
    }

    /// Removes the marks of layers that are not there. The caller is alone in
    /// the store.
    pub(super) fn sweep_marks(&self) -> Result<(), StoreError> {
        let mut marks = self.marks()?;
        marks.retain(|(_, diff_id)| !self.layer_dir(diff_id).is_dir());
        if marks.is_empty() {
            return Ok(());
        }
        // What became of the layer is on the disk first.
        self.sync_names()?;
        marks.iter().try_for_each(|(mark, _)| remove(mark))
    }

    /// The marks of layers that are there and can be synced.
    fn unsynced(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut found = Vec::new();
        for (path, diff_id) in self.marks()? {
            match is_to_sync(&path) {
                Ok(true) if self.is_unpacked(&diff_id)? => found.push(path),
                Ok(_) => {}
                Err(source) => return Err(StoreError::Examine { path, source }),
            }
        }
        Ok(found)
    }

    fn marks(&self) -> Result<Vec<(PathBuf, Digest)>, StoreError> {
        let names = listed(&self.layers)?.into_iter();
        let marks = names.filter_map(|name| {
            let diff_id = Digest::from_hex(name.to_str()?.strip_prefix(MARK)?).ok()?;
            Some((self.layers.join(name), diff_id))
        });
        Ok(marks.collect())
    }

    fn mark(&self, diff_id: &Digest) -> PathBuf {
        self.layers.join(format!("{MARK}{}", diff_id.hex()))
    }

    /// Makes the names of the layers' folder durable.
    fn sync_names(&self) -> Result<(), StoreError> {
        blob::sync_dir(&self.layers).map_err(|source| StoreError::Adopt {
            path: self.layers.clone(),
            source,
        })
    }

    /// Held while a layer gets its name, or loses it to one of this boot.
    pub(super) fn lock_layer(&self, diff_id: &Digest) -> Result<lock::Lock, StoreError> {
        lock::exclusive(&self.layers.join(format!(".{}.lock", diff_id.hex())))
    }
}

/// One `syncfs` beats an fsync for each of thousands of files.
fn sync_all(dir: &Path) -> io::Result<()> {
    nix::unistd::syncfs(File::open(dir)?).map_err(io::Error::from)
}

/// What a mark says; `None` where there is none.
fn read(mark: &Path) -> io::Result<Option<String>> {
    match File::open(mark) {
        Ok(file) => {
            let mut text = Vec::new();
            file.take(MAX_MARK).read_to_end(&mut text)?;
            Ok(Some(String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it is a mark of this boot, whose layer wasn't tried to be synced.
fn is_to_sync(mark: &Path) -> io::Result<bool> {
    Ok(match read(mark)? {
        Some(text) => text == boot::id()?,
        None => false,
    })
}

/// Removes a mark; another may have done so.
fn remove(mark: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Sweep {
            path: mark.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}
