//! What can go wrong in a store.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::document::DocumentError;
use crate::reference::ReferenceError;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A folder or its first files could not be made.
    #[error("cannot prepare the store {}", path.display())]
    Prepare {
        /// Folder or file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A lock file could not be opened or locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A blob could not be written; nothing of it is left.
    #[error("cannot write a blob to {}", path.display())]
    WriteBlob {
        /// Folder or file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A blob is there but cannot be read.
    #[error("cannot read blob {digest}")]
    ReadBlob {
        /// Which.
        digest: Digest,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A blob is not there.
    #[error("blob {digest} is not in the store")]
    MissingBlob {
        /// Which.
        digest: Digest,
    },
    /// A blob's content is not what its name says.
    #[error("blob {digest} is damaged")]
    Damaged {
        /// Which.
        digest: Digest,
        /// In what way.
        #[source]
        source: BlobMismatch,
    },
    /// A document was refused.
    #[error("cannot use {digest}")]
    Document {
        /// Which.
        digest: Digest,
        /// Why not.
        #[source]
        source: DocumentError,
    },
    /// `index.json` is unreadable.
    #[error("cannot read {}", path.display())]
    ReadIndex {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `index.json` is malformed.
    #[error("cannot use {}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// In what way.
        #[source]
        source: DocumentError,
    },
    /// `index.json` could not be replaced; the old one stands.
    #[error("cannot write {}", path.display())]
    WriteIndex {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A document to be written could not be encoded.
    #[error("cannot encode a document")]
    Encode(#[source] serde_json::Error),
    /// The name asked for is malformed.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// No image has that name, digest or id.
    #[error("no image {name:?} in the store")]
    NotFound {
        /// As it was asked for.
        name: String,
        /// A name that is there and much like it.
        closest: Option<String>,
    },
    /// Several images' ids begin so.
    #[error("{prefix:?} is the beginning of {count} image ids")]
    Ambiguous {
        /// As it was asked for.
        prefix: String,
        /// How many.
        count: usize,
    },
    /// A directory could not become an unpacked layer.
    #[error("cannot make {} an unpacked layer", path.display())]
    Adopt {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An unpacked layer could not be examined.
    #[error("cannot examine {}", path.display())]
    Examine {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something unused could not be removed.
    #[error("cannot remove {}", path.display())]
    Sweep {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The way out of a damaged store.
const AGAIN: &str = "build, load or pull the image again";

/// How a blob's content differs from what its descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobMismatch {
    /// Too short or too long.
    #[error("it has {found} bytes, not {expected}")]
    Size {
        /// In the descriptor.
        expected: u64,
        /// On disk.
        found: u64,
    },
    /// Another content.
    #[error("its content is {found}")]
    Digest {
        /// Of the content.
        found: Digest,
    },
}

impl StoreError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            StoreError::Prepare { source, .. }
            | StoreError::Lock { source, .. }
            | StoreError::WriteBlob { source, .. }
            | StoreError::WriteIndex { source, .. }
            | StoreError::Adopt { source, .. } => space_hint(source),
            StoreError::MissingBlob { .. } | StoreError::Damaged { .. } => Some(AGAIN.to_owned()),
            StoreError::ReadBlob { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                Some(AGAIN.to_owned())
            }
            StoreError::NotFound {
                closest: Some(closest),
                ..
            } => Some(format!("did you mean {closest}?")),
            StoreError::NotFound { closest: None, .. } => {
                Some("see which there are with: holdall images".to_owned())
            }
            StoreError::Ambiguous { .. } => Some("give more of the id".to_owned()),
            StoreError::Reference(error) => Some(error.hint()),
            StoreError::ReadBlob { .. }
            | StoreError::Document { .. }
            | StoreError::ReadIndex { .. }
            | StoreError::Index { .. }
            | StoreError::Encode(_)
            | StoreError::Examine { .. }
            | StoreError::Sweep { .. } => None,
        }
    }
}

/// A hint for a full disk, or for want of rights.
pub(crate) fn space_hint(error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("the disk is full: free some space, e.g. by holdall rmi".to_owned())
        }
        io::ErrorKind::PermissionDenied => Some("run it as root".to_owned()),
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is read-only: choose another with HOLDALL_ROOT".to_owned())
        }
        _ => None,
    }
}
