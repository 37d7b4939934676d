//! Layers: a tar in the store, a directory in **overlay form** on disk.
//!
//! Overlay form is what `mount -t overlay` reads: a deleted name is a
//! character device 0:0, and a directory that hides the ones below it has
//! `trusted.overlay.opaque=y`. The tar form (image-spec layer.md) has
//! `.wh.NAME` and `.wh..wh..opq` instead.

use crate::digest::Digest;
use crate::document::Descriptor;
use crate::store::StoreError;

/// A layer that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// Digest of its uncompressed tar.
    pub diff_id: Digest,
}

/// Why a layer could not be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The store's part failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
