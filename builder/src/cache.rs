//! The build cache on disk: what a key led to, and the folders of builds that
//! are under way.
//!
//! ```text
//! cache/lock         held while a workspace is made or swept
//! cache/tmp-XXXXXX/  one running build; its file `lock` is held by it
//! cache/locks/XX     held while a step is run whose key begins so
//! cache/steps/KEY    the layers a step made
//! cache/layers/KEY   the layer of some contents, whatever step made it
//! cache/images/KEY   the image a chain of steps made, or an import led to
//! cache/index/HEX    the stat index of a context
//! ```
//! Every record is written beside its name and renamed, and a record that
//! can't be read is as good as none.

mod atomic;
pub(crate) mod key;
mod recorded;
mod workspace;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_image::{Descriptor, Digest, PackedLayer};
use nix::poll::{PollTimeout, poll};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::atomic::half_written;
pub(crate) use self::atomic::{sweep_beside, write_atomic};
pub(crate) use self::key::Key;
pub(crate) use self::recorded::{Recorded, recorded};
pub(crate) use self::workspace::{Workspace, left_behind};

/// The version of the records.
const VERSION: u32 = 2;

/// Records are a few hundred bytes; what is longer is not ours.
const MAX_RECORD: u64 = 64 * 1024;

/// How often a wish to stop is looked at while another build holds a step's
/// lock, in milliseconds. A lock can't be waited for together with a flag.
const LOCK_CHECK: u8 = 50;

/// The folders of records.
pub(crate) const RECORDS: [&str; 4] = ["steps", "layers", "images", "index"];

/// Why the cache can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A folder of it can't be made.
    #[error("cannot make {}", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A lock can't be taken.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record can't be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record can't be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The cache of one state root.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

/// What a step made; nothing where it changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StepRecord {
    version: u32,
    layers: Vec<LayerRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LayerRecord {
    descriptor: Descriptor,
    diff_id: Digest,
}

impl StepRecord {
    fn new(layers: &[PackedLayer]) -> Self {
        let layer = |layer: &PackedLayer| LayerRecord {
            descriptor: layer.descriptor.clone(),
            diff_id: layer.diff_id,
        };
        Self {
            version: VERSION,
            layers: layers.iter().map(layer).collect(),
        }
    }

    fn read(path: &Path) -> Option<Vec<PackedLayer>> {
        let record: Self = read_record(path)?;
        let layer = |record: LayerRecord| PackedLayer {
            descriptor: record.descriptor,
            diff_id: record.diff_id,
        };
        let layers = record.layers.into_iter().map(layer).collect();
        (record.version == VERSION).then_some(layers)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct ImageRecord {
    version: u32,
    image: Digest,
}

impl Cache {
    /// Opens the cache, and makes it if it is not there.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, CacheError> {
        for name in RECORDS.into_iter().chain(["locks"]) {
            let path = dir.join(name);
            let made = std::fs::create_dir_all(&path);
            made.map_err(|source| CacheError::Make { path, source })?;
        }
        Ok(Self { dir })
    }

    /// Removes the folders of builds that could not do so themselves, as
    /// [`Cache::workspace`] does beside more.
    pub(crate) fn sweep(&self) -> Result<(), CacheError> {
        workspace::sweep_folders(&self.dir)
    }

    /// A folder for one build.
    pub(crate) fn workspace(&self) -> Result<Workspace, CacheError> {
        Workspace::create(&self.dir)
    }

    /// The layers that a step made, if it was run.
    pub(crate) fn step(&self, key: Key) -> Option<Vec<PackedLayer>> {
        StepRecord::read(&self.step_path(key))
    }

    /// Records the layers that a step made.
    pub(crate) fn put_step(&self, key: Key, layers: &[PackedLayer]) -> Result<(), CacheError> {
        write_record(self.step_path(key), &StepRecord::new(layers))
    }

    /// The layer that has these contents, if one was made.
    pub(crate) fn layer(&self, key: Key) -> Option<PackedLayer> {
        StepRecord::read(&self.layer_path(key))?.pop()
    }

    /// Records the layer of some contents.
    pub(crate) fn put_layer(&self, key: Key, layer: &PackedLayer) -> Result<(), CacheError> {
        let record = StepRecord::new(std::slice::from_ref(layer));
        write_record(self.layer_path(key), &record)
    }

    /// The image that a chain of steps led to.
    pub(crate) fn image(&self, key: Key) -> Option<Digest> {
        let record: ImageRecord = read_record(&self.image_path(key))?;
        (record.version == VERSION).then_some(record.image)
    }

    /// Records the image of a chain of steps.
    pub(crate) fn put_image(&self, key: Key, image: Digest) -> Result<(), CacheError> {
        write_record(
            self.image_path(key),
            &ImageRecord {
                version: VERSION,
                image,
            },
        )
    }

    /// Where the stat index of a context lies.
    pub(crate) fn index_path(&self, context: &Path) -> PathBuf {
        let name = Digest::of(context.as_os_str().as_encoded_bytes()).hex();
        self.dir.join("index").join(name)
    }

    /// Waits until no other build runs the step of this key; `None` where
    /// `stop` turned true before. One build holds one such lock at a time, so
    /// that builds whose keys begin alike wait, but never for each other.
    pub(crate) fn lock_step(
        &self,
        key: Key,
        stop: &AtomicBool,
    ) -> Result<Option<File>, CacheError> {
        let name: String = key.to_string().chars().take(2).collect();
        let path = self.dir.join("locks").join(name);
        let failed = |source: io::Error| CacheError::Lock {
            path: path.clone(),
            source,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            match poll(&mut [], PollTimeout::from(LOCK_CHECK)) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    fn step_path(&self, key: Key) -> PathBuf {
        self.dir.join("steps").join(key.to_string())
    }

    fn layer_path(&self, key: Key) -> PathBuf {
        self.dir.join("layers").join(key.to_string())
    }

    fn image_path(&self, key: Key) -> PathBuf {
        self.dir.join("images").join(key.to_string())
    }
}

fn read_record<T: DeserializeOwned>(path: &Path) -> Option<T> {
    if path.symlink_metadata().ok()?.len() > MAX_RECORD {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write_record<T: Serialize>(path: PathBuf, record: &T) -> Result<(), CacheError> {
    let bytes = serde_json::to_vec(record).map_err(io::Error::from);
    let written = bytes.and_then(|bytes| write_atomic(&path, &bytes));
    written.map_err(|source| CacheError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use super::atomic::create_beside;
    use super::*;

    #[test]
    fn what_a_killed_write_left_is_told_from_what_is_being_written() {
        let (_dir, cache) = cache();
        let path = cache.step_path(key());
        let (writing, _) = create_beside(&path).unwrap();
        let left = path.with_file_name("abc.4711-0.tmp");
        std::fs::write(&left, "half").unwrap();
        let steps = cache.dir.join("steps");
        assert_eq!(half_written(&steps), std::slice::from_ref(&left));
        // The next build sweeps it.
        let _workspace = cache.workspace().unwrap();
        assert!(!left.exists());
        assert_eq!(std::fs::read_dir(&steps).unwrap().count(), 1);
        drop(writing);
        assert_eq!(half_written(&steps).len(), 1);
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache")).unwrap();
        (dir, cache)
    }

    fn key() -> Key {
        key::key(None, "amd64", 0, &key::Inputs::Scratch)
    }

    #[test]
    fn a_record_is_found_again_and_a_damaged_one_is_none() {
        let (_dir, cache) = cache();
        assert_eq!(cache.step(key()), None);
        cache.put_step(key(), &[]).unwrap();
        assert_eq!(cache.step(key()), Some(Vec::new()));
        std::fs::write(cache.step_path(key()), b"{\"version\":2,").unwrap();
        assert_eq!(cache.step(key()), None);
    }

    #[test]
    fn a_record_of_another_version_is_none() {
        let (_dir, cache) = cache();
        std::fs::write(cache.step_path(key()), b"{\"version\":1,\"layers\":[]}").unwrap();
        assert_eq!(cache.step(key()), None);
    }

    #[test]
    fn one_step_is_run_by_one_build_at_a_time() {
        let (_dir, cache) = cache();
        let held = cache.lock_step(key(), &AtomicBool::new(false)).unwrap();
        assert!(held.is_some());
        assert!(
            cache
                .lock_step(key(), &AtomicBool::new(true))
                .unwrap()
                .is_none()
        );
        drop(held);
        assert!(
            cache
                .lock_step(key(), &AtomicBool::new(true))
                .unwrap()
                .is_some()
        );
    }
}
