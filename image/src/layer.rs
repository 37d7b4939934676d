//! Layers: a tar in the store, a directory in **overlay form** on disk.
//!
//! Overlay form is what `mount -t overlay` reads: a deleted name is a
//! character device 0:0, and a directory that hides the ones below it has
//! `trusted.overlay.opaque=y`. The tar form (image-spec layer.md) has
//! `.wh.NAME` and `.wh..wh..opq` instead.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::document::Descriptor;
use crate::root::RootError;
use crate::store::StoreError;

pub(crate) mod encode;
pub(crate) mod entry;
pub mod limits;
pub mod pack;
mod path;
pub(crate) mod pax;
pub(crate) mod stream;
pub mod unpack;

pub use pax::PaxError;
pub use stream::TarError;

/// Begins a name that deletes another (layer.md, *Whiteouts*).
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// Marks its directory as hiding the ones below.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// The same in overlay form.
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
/// Namespaces of attributes that steer the overlay itself.
pub(crate) const OVERLAY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

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
    /// The tar is malformed, damaged, or over a limit.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry is refused for what it asks.
    #[error("layer entry {path:?} {refusal}")]
    Refused {
        /// As it is stored.
        path: String,
        /// Why.
        refusal: Refusal,
    },
    /// An entry could not be made.
    #[error("cannot unpack layer entry {path:?}")]
    Unpack {
        /// As it is stored.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The directory to unpack into, or to pack, could not be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A file of the directory could not be packed.
    #[error("cannot pack {}", path.display())]
    Pack {
        /// Within the directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of the directory has no place in a layer.
    #[error("cannot pack {}: it {refusal}", path.display())]
    Unpackable {
        /// Within the directory.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// The packed tar could not be written.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
    /// The tar to add could not be read.
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    /// The tar is not the one that the config names.
    #[error("layer {layer} unpacks to {found}, but the config says {expected}")]
    DiffId {
        /// The blob.
        layer: Digest,
        /// In the config.
        expected: Digest,
        /// Of its content.
        found: Digest,
    },
}

/// Why an entry has no place in a layer. Reads after "entry …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// CVE-2014-9356 and its many heirs.
    #[error("has a \"..\" in its path")]
    ParentDirectory,
    /// The kernel would refuse it too.
    #[error("has a path that is too long")]
    PathTooLong,
    /// Deeper than we walk.
    #[error("lies too deep")]
    TooDeep,
    /// A NUL ends a path early for some readers.
    #[error("has a NUL in its path")]
    Nul,
    /// CVE-2021-29136.
    #[error("makes the root something other than a directory")]
    Root,
    /// `.wh.`, `.wh..`, `.wh...`, `.wh..wh.…`, or a path through one.
    #[error("is a malformed whiteout")]
    Whiteout,
    /// Overlay cannot express it: the root always merges.
    #[error("makes the root opaque")]
    OpaqueRoot,
    /// Readers differ on which of the two counts.
    #[error("is a second entry of that path")]
    Duplicate,
    /// Its parent is no directory.
    #[error("lies beneath something that is no directory")]
    Parent,
    /// A hard link to nothing, to a directory or to a whiteout.
    #[error("is a hard link to no earlier file")]
    HardLink,
    /// A symbolic link without a target.
    #[error("is a link to nothing")]
    EmptyLink,
    /// Character device 0:0, a whiteout by the back door.
    #[error("is a device 0:0, which an overlay takes for a deletion")]
    Device,
    /// An attribute that would steer the overlay.
    #[error("sets an attribute of the overlay")]
    OverlayAttribute,
    /// Packing: a directory that was moved without its content.
    #[error("was moved or changed without its content (overlay redirect or metacopy)")]
    Redirect,
    /// Packing: the name means a deletion in a layer.
    #[error("has a name that means a deletion")]
    WhiteoutName,
    /// Packing: the file grew, shrank or was replaced meanwhile.
    #[error("changed while it was read")]
    Changed,
}

impl LayerError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            LayerError::Store(error) => error.hint(),
            LayerError::Unpack { source, .. }
            | LayerError::Pack { source, .. }
            | LayerError::Write(source) => crate::store::space_hint(source),
            LayerError::Unpackable {
                refusal: Refusal::Changed,
                ..
            } => Some("run it again when nothing writes there".to_owned()),
            LayerError::Tar(_) | LayerError::Refused { .. } | LayerError::DiffId { .. } => {
                Some("the image is damaged or hostile; get it again from its source".to_owned())
            }
            LayerError::Root(_) | LayerError::Unpackable { .. } | LayerError::Read(_) => None,
        }
    }
}
