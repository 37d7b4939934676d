//! Contents to layers: those that were made before are taken as they are, and
//! the others made at once, by as many threads as there are processors.

use std::num::NonZero;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use holdall_image::PackedLayer;

use super::Executor;
use crate::cache::Key;
use crate::error::BuildError;
use crate::layer::{Contents, Source, write};

/// A layer that was written.
struct Written {
    at: usize,
    dir: PathBuf,
    layer: PackedLayer,
}

/// The layers that have these contents.
pub(super) fn make(
    executor: &Executor<'_>,
    contents: &[Contents],
    source: &dyn Source,
) -> Result<Vec<PackedLayer>, BuildError> {
    let key = |contents: &Contents| Key::from(contents.key(executor.epoch));
    let keys: Vec<Key> = contents.iter().map(key).collect();
    let mut layers: Vec<Option<PackedLayer>> =
        keys.iter().map(|key| executor.known(*key)).collect();
    let missing = contents.iter().zip(&layers).enumerate();
    let missing: Vec<(usize, &Contents)> = missing
        .filter(|(_, (_, known))| known.is_none())
        .map(|(at, (contents, _))| (at, contents))
        .collect();
    let written = all(executor, &missing, source)?;

    let folders: Vec<_> = written
        .iter()
        .map(|it| (it.dir.as_path(), it.layer.diff_id))
        .collect();
    executor.build.store.adopt_layers(&folders)?;
    for Written { at, layer, .. } in written {
        if let (Some(key), Some(place)) = (keys.get(at), layers.get_mut(at)) {
            executor.cache.put_layer(*key, &layer)?;
            *place = Some(layer);
        }
    }
    Ok(layers.into_iter().flatten().collect())
}

/// Writes all of them; after an error none is begun any more.
fn all(
    executor: &Executor<'_>,
    missing: &[(usize, &Contents)],
    source: &dyn Source,
) -> Result<Vec<Written>, BuildError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Ok(Vec::with_capacity(missing.len())));
    let lock = || done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let work = || {
        while let Some((at, contents)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            let written = one(executor, *at, contents, source);
            match (&mut *lock(), written) {
                (Ok(done), Ok(written)) => done.push(written),
                (Err(_), _) => return,
                (done @ Ok(_), Err(error)) => {
                    *done = Err(error);
                    return;
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(missing.len()) {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Writes one, as a folder and as a blob.
fn one(
    executor: &Executor<'_>,
    at: usize,
    contents: &Contents,
    source: &dyn Source,
) -> Result<Written, BuildError> {
    let dir = executor.workspace.folder(&format!("layer-{at}"))?;
    write(contents, &dir, executor.epoch, source)?;
    let opened = std::fs::File::open(&dir).map_err(|source| BuildError::WriteLayer {
        path: "/".into(),
        source,
    })?;
    let layer = executor
        .build
        .store
        .pack_layer(opened.as_fd(), executor.epoch)?;
    Ok(Written { at, dir, layer })
}

impl Executor<'_> {
    /// The layer of these contents, if it was made before and is still there.
    fn known(&self, key: Key) -> Option<PackedLayer> {
        if self.build.no_cache {
            return None;
        }
        let layer = self.cache.layer(key)?;
        let there = self.build.store.contains(&layer.descriptor.digest);
        there.then_some(layer)
    }
}
