//! What is wrong with a store, from what was seen of it: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use super::compare::Difference;
use super::survey::{Entry, Survey};
use crate::digest::Digest;
use crate::document::Descriptor;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `oci-layout` is missing or says something else.
    #[error("{} is not that of an OCI layout", .0.display())]
    Layout(PathBuf),
    /// `index.json` is unreadable.
    #[error("{} cannot be used: {reason}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Two images have one name.
    #[error("{count} images are called {name}")]
    Name {
        /// The name.
        name: String,
        /// How many.
        count: usize,
    },
    /// A blob is needed and not there.
    #[error("blob {digest} is missing: {need}")]
    Missing {
        /// Which.
        digest: Digest,
        /// What for.
        need: Need,
    },
    /// A blob's content isn't what its name says.
    #[error("blob {digest} is damaged: its content is {found}")]
    Damaged {
        /// Which.
        digest: Digest,
        /// Of the content.
        found: Digest,
    },
    /// A blob can't be read.
    #[error("blob {digest} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        digest: Digest,
        /// Why not.
        reason: String,
    },
    /// A descriptor names another size than its blob has.
    #[error("blob {digest} has {found} bytes, not {expected}: {need}")]
    Size {
        /// Which.
        digest: Digest,
        /// In the descriptor.
        expected: u64,
        /// On disk.
        found: u64,
        /// Whose descriptor.
        need: Need,
    },
    /// A manifest or a config that makes no sense.
    #[error("image {digest} cannot be used: {reason}")]
    Document {
        /// The manifest.
        digest: Digest,
        /// Why not.
        reason: String,
    },
    /// What has a layer's name is no directory.
    #[error("layer {0} is unpacked to something that is not a directory")]
    NoDirectory(Digest),
    /// An unpacked layer isn't what its blob holds.
    #[error("layer {diff_id} is damaged: {difference}")]
    Layer {
        /// Which.
        diff_id: Digest,
        /// In what way.
        difference: Difference,
    },
    /// A layer's blob is whole, but doesn't unpack to its diff ID.
    #[error("layer blob {layer} cannot be unpacked: {reason}")]
    Unpack {
        /// Which.
        layer: Digest,
        /// Why not.
        reason: String,
    },
}

/// What a blob is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The manifest of an image that is listed.
    Listed,
    /// The manifest of an image that a box was made from.
    Kept,
    /// The config of this image.
    ConfigOf(Digest),
    /// A layer of this image.
    LayerOf(Digest),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed => f.write_str("it is an image that is listed"),
            Self::Kept => f.write_str("it is the image of a box"),
            Self::ConfigOf(image) => write!(f, "it is the config of image {image}"),
            Self::LayerOf(image) => write!(f, "it is a layer of image {image}"),
        }
    }
}

impl Fault {
    /// One word for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Layout(_) => "layout",
            Self::Index { .. } => "index",
            Self::Name { .. } => "image-name",
            Self::Missing { .. } => "blob-missing",
            Self::Damaged { .. } => "blob-damaged",
            Self::Unreadable { .. } => "blob-unreadable",
            Self::Size { .. } => "blob-size",
            Self::Document { .. } => "image-document",
            Self::NoDirectory(_) => "layer-kind",
            Self::Layer { .. } => "layer-damaged",
            Self::Unpack { .. } => "layer-blob",
        }
    }

    /// The unpacked layer that may be removed, since it can be had again.
    #[must_use]
    pub fn removable_layer(&self) -> Option<&Digest> {
        match self {
            Self::NoDirectory(diff_id) | Self::Layer { diff_id, .. } => Some(diff_id),
            Self::Layout(_)
            | Self::Index { .. }
            | Self::Name { .. }
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Unreadable { .. }
            | Self::Size { .. }
            | Self::Document { .. }
            | Self::Unpack { .. } => None,
        }
    }
}

/// An error and its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Of a store that isn't there.
pub(super) fn of_nothing(keep: &BTreeSet<Digest>) -> Vec<Fault> {
    let missing = |digest: &Digest| Fault::Missing {
        digest: *digest,
        need: Need::Kept,
    };
    keep.iter().map(missing).collect()
}

/// Everything that is wrong.
pub(super) fn decide(survey: &Survey) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !survey.is_layout {
        faults.push(Fault::Layout(survey.dir.join("oci-layout")));
    }
    match &survey.index {
        Ok(entries) => faults.extend(same_names(entries)),
        Err(reason) => faults.push(Fault::Index {
            path: survey.dir.join("index.json"),
            reason: reason.clone(),
        }),
    }
    for (digest, blob) in &survey.blobs {
        match &blob.content {
            Ok(found) if found == digest => {}
            Ok(found) => faults.push(Fault::Damaged {
                digest: *digest,
                found: *found,
            }),
            Err(reason) => faults.push(Fault::Unreadable {
                digest: *digest,
                reason: reason.clone(),
            }),
        }
    }
    for entry in survey.index.iter().flatten() {
        faults.extend(needed(survey, &entry.manifest, Need::Listed));
    }
    for digest in &survey.keep {
        if !survey.blobs.contains_key(digest) {
            faults.push(Fault::Missing {
                digest: *digest,
                need: Need::Kept,
            });
        }
    }
    for (digest, image) in &survey.images {
        match image {
            Ok(image) => {
                let config = &image.manifest.config;
                faults.extend(needed(survey, config, Need::ConfigOf(*digest)));
                for layer in &image.manifest.layers {
                    faults.extend(needed(survey, layer, Need::LayerOf(*digest)));
                }
            }
            // A blob that is gone or damaged is told as such.
            Err(reason) if is_sound(survey, digest) && !blames_blob(survey, digest) => {
                faults.push(Fault::Document {
                    digest: *digest,
                    reason: reason.clone(),
                });
            }
            Err(_) => {}
        }
    }
    for (digest, config) in &survey.configs {
        faults.extend(needed(survey, config, Need::ConfigOf(*digest)));
    }
    for (diff_id, is_dir) in &survey.layers {
        if !is_dir {
            faults.push(Fault::NoDirectory(*diff_id));
        }
    }
    faults
}

fn same_names(entries: &[Entry]) -> Vec<Fault> {
    let mut counts = BTreeMap::new();
    for name in entries.iter().filter_map(|entry| entry.name.as_deref()) {
        *counts.entry(name).or_insert(0_usize) += 1;
    }
    let doubled = counts.into_iter().filter(|(_, count)| *count > 1);
    let fault = |(name, count): (&str, usize)| Fault::Name {
        name: name.to_owned(),
        count,
    };
    doubled.map(fault).collect()
}

fn is_sound(survey: &Survey, digest: &Digest) -> bool {
    let blob = survey.blobs.get(digest);
    blob.is_some_and(|blob| blob.content.as_ref() == Ok(digest))
}

/// Whether an image can't be used because of its config's blob.
fn blames_blob(survey: &Survey, image: &Digest) -> bool {
    survey.configs.get(image).is_some_and(|config| {
        !is_sound(survey, &config.digest) || needed(survey, config, Need::Listed).is_some()
    })
}

/// What is wrong with the blob of a descriptor, beyond its own content.
fn needed(survey: &Survey, descriptor: &Descriptor, need: Need) -> Option<Fault> {
    let digest = descriptor.digest;
    match survey.blobs.get(&digest) {
        None => Some(Fault::Missing { digest, need }),
        Some(blob) if blob.size != descriptor.size && blob.content == Ok(digest) => {
            Some(Fault::Size {
                digest,
                expected: descriptor.size,
                found: blob.size,
                need,
            })
        }
        Some(_) => None,
    }
}
