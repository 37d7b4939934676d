//! Whether a store is whole.
//!
//! [`survey`] looks at everything and decides nothing; [`verdict`] decides and
//! looks at nothing. [`compare`] is the long look at one unpacked layer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::layers::remove_tree;
use super::{Store, StoreError, lock};
use crate::digest::Digest;
use crate::layer::LayerError;

mod compare;
mod survey;
mod verdict;

pub use compare::Difference;
pub use verdict::{Fault, Need};

/// How long a [`Store::check`] looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every blob is read; of an unpacked layer only that it is there as a
    /// directory, since it gets its name when it is complete.
    Content,
    /// Every unpacked layer is also compared with what its blob unpacks to.
    Layers,
}

/// What a [`Store::check`] found.
#[derive(Debug, Default)]
pub struct Report {
    /// Images that are listed, or were asked for.
    pub images: u64,
    /// Blobs read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Unpacked layers.
    pub layers: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What interrupted work left, and nobody works on.
    pub leftovers: Vec<PathBuf>,
}

impl Store {
    /// Looks whether the store is whole: every blob's digest and size, the
    /// index, every document, and that all that an image needs is there, those
    /// of `keep` (manifest digests) too. Changes nothing but, for
    /// [`Depth::Layers`], a temporary folder. A store that isn't there is
    /// whole. Others may work in it meanwhile; a gc is postponed.
    ///
    /// # Errors
    /// Where it can't be looked at: a folder can't be listed, or there is no
    /// room to unpack a layer. What is damaged is no error.
    pub fn check(&self, keep: &BTreeSet<Digest>, depth: Depth) -> Result<Report, LayerError> {
        if !self.dir.is_dir() {
            return Ok(Report {
                faults: verdict::of_nothing(keep),
                ..Report::default()
            });
        }
        let leftovers = self.leftovers()?;
        // From here on a gc is postponed. This doesn't sweep: a check changes
        // nothing.
        let _session = lock::shared(&self.session_lock())?;
        let survey = survey::survey(self, keep)?;
        let mut faults = verdict::decide(&survey);
        if depth == Depth::Layers {
            faults.extend(self.compare_layers(&survey)?);
        }
        Ok(Report {
            images: survey.images.len() as u64,
            blobs: survey.blobs.len() as u64,
            bytes: survey.blobs.values().map(|blob| blob.size).sum(),
            layers: survey.layers.len() as u64,
            faults,
            leftovers,
        })
    }

    /// Removes an unpacked layer that is damaged; whoever needs it unpacks it
    /// again. Not while a box may stand on it: that is the caller's to know.
    ///
    /// # Errors
    /// Where it can't be removed.
    pub fn drop_layer(&self, diff_id: &Digest) -> Result<(), StoreError> {
        let path = self.layer_dir(diff_id);
        let gone = self.layers.join(format!(".gone-{}", diff_id.hex()));
        let is_dir = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        let removed = remove_tree(&gone)
            .and_then(|()| std::fs::rename(&path, &gone))
            .and_then(|()| match is_dir {
                true => remove_tree(&gone),
                false => std::fs::remove_file(&gone),
            });
        removed.map_err(|source| StoreError::Sweep { path, source })
    }

    /// The layers whose blobs are known, entry by entry.
    fn compare_layers(&self, survey: &survey::Survey) -> Result<Vec<Fault>, LayerError> {
        let mut known = BTreeMap::new();
        for image in survey.images.values().flatten() {
            for (layer, diff_id) in image.layers() {
                known.insert(*diff_id, layer.clone());
            }
        }
        let mut faults = Vec::new();
        for (diff_id, is_dir) in &survey.layers {
            let Some(layer) = known.get(diff_id).filter(|_| *is_dir) else {
                continue;
            };
            let sound = survey
                .blobs
                .get(&layer.digest)
                .is_some_and(|blob| blob.content == Ok(layer.digest));
            if !sound {
                // Told already, and nothing to compare with.
                continue;
            }
            match self.difference(layer, diff_id) {
                Ok(None) => {}
                Ok(Some(difference)) => faults.push(Fault::Layer {
                    diff_id: *diff_id,
                    difference,
                }),
                Err(
                    error @ (LayerError::Tar(_)
                    | LayerError::Refused { .. }
                    | LayerError::DiffId { .. }),
                ) => faults.push(Fault::Unpack {
                    layer: layer.digest,
                    reason: verdict::chain(&error),
                }),
                Err(error) => return Err(error),
            }
        }
        Ok(faults)
    }
}
