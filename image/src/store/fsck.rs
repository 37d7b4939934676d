//! Whether a store is whole.
//!
//! `survey` looks at everything and decides nothing; `verdict` decides and
//! looks at nothing. `compare` is the long look at one unpacked layer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

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
    /// The store as it is: nothing is made before something is added.
    #[must_use]
    pub fn at(store_dir: &Path, layers_dir: &Path) -> Self {
        Self {
            dir: store_dir.to_owned(),
            layers: layers_dir.to_owned(),
            session: Mutex::new(None),
        }
    }

    /// Removes what interrupted work left, if nobody is at work.
    ///
    /// # Errors
    /// Where it can't be looked for. What can't be removed is said.
    pub fn sweep(&self) -> Result<(), StoreError> {
        if let Some(_alone) = lock::try_exclusive(&self.session_lock())? {
            self.sweep_half_made();
        }
        Ok(())
    }

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
        match self.dir.metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Report {
                    faults: verdict::of_nothing(keep),
                    ..Report::default()
                });
            }
            Err(source) => {
                let path = self.dir.clone();
                return Err(StoreError::Examine { path, source }.into());
            }
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
    /// again. Not where somebody is at work in the store, or it is `in_use`,
    /// which is asked while nobody can begin to be; whether it was removed.
    ///
    /// # Errors
    /// Where it can't be.
    pub fn drop_layer(
        &self,
        diff_id: &Digest,
        in_use: impl FnOnce() -> bool,
    ) -> Result<bool, StoreError> {
        let Some(_alone) = lock::try_exclusive(&self.session_lock())? else {
            return Ok(false);
        };
        if in_use() {
            return Ok(false);
        }
        self.take_away(diff_id)?;
        Ok(true)
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
