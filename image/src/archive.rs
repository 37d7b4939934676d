//! Images as one file: docker-archive (`docker save`) and OCI archive (a tar
//! of an OCI layout), and OCI layouts as directories.
//!
//! [`load()`] believes nothing: members are staged in the store's temporary
//! folder, named by what they contain, and become blobs only once an image
//! asks for them by a digest or a diff ID that agrees.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::document::DocumentError;
use crate::layer::TarError;
use crate::reference::ReferenceError;
use crate::root::RootError;
use crate::store::StoreError;

mod layout;
mod load;
mod save;

pub use layout::import_layout;
pub use load::load;
pub use save::save;

/// Form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What `docker save` writes; keeps `Healthcheck` under podman too.
    Docker,
    /// A tar of an OCI layout.
    Oci,
}

/// Why an archive could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store's part failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive could not be written to its end.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// The file could not be read or decompressed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// It is no sound tar.
    #[error("cannot read the archive")]
    Tar(#[from] TarError),
    /// A member has no place in an archive of images.
    #[error("archive member {name:?} is refused: it {why}")]
    Member {
        /// Its name.
        name: String,
        /// Why.
        why: Refused,
    },
    /// A member that the archive's own documents name is not there.
    #[error("the archive has no member {name:?}")]
    Missing {
        /// Its name.
        name: String,
    },
    /// Neither `manifest.json` nor `index.json` is in it.
    #[error("the file is no archive of images")]
    NotAnArchive,
    /// A document was refused.
    #[error("cannot use archive member {name:?}")]
    Document {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: DocumentError,
    },
    /// A blob's content is not what its name says.
    #[error("blob {expected} of the archive has the content of {found}")]
    Digest {
        /// By its name.
        expected: Digest,
        /// By its content.
        found: Digest,
    },
    /// A layer's content is not what the config says.
    #[error("layer {name:?} of the archive is {found}, but the config says {expected}")]
    DiffId {
        /// Its member.
        name: String,
        /// In the config.
        expected: Digest,
        /// By its content.
        found: Digest,
    },
    /// A name in it is malformed.
    #[error("the archive names an image wrongly")]
    Name(#[source] ReferenceError),
    /// It is made for other machines.
    #[error("the archive has no image for linux/{architecture}")]
    Platform {
        /// This machine's.
        architecture: &'static str,
    },
    /// The layout's directory could not be read.
    #[error("cannot read the OCI layout {}", path.display())]
    Layout {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: RootError,
    },
    /// `oci-layout` is of another version.
    #[error("{} is no OCI layout of version 1.0.0", path.display())]
    NotALayout {
        /// The directory.
        path: PathBuf,
    },
}

/// Why a member is refused. Reads after "it …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Absolute, or with `..`.
    #[error("has a path that leads out of the archive")]
    Path,
    /// Readers differ on which counts.
    #[error("is in it twice")]
    Twice,
    /// A device or the like.
    #[error("is neither a file nor a link")]
    Kind,
    /// Links in a circle.
    #[error("is a link that leads nowhere")]
    Link,
    /// More members than any image has.
    #[error("is one too many")]
    TooMany,
}

impl ArchiveError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            ArchiveError::Store(error) => error.hint(),
            ArchiveError::Write(source) => crate::store::space_hint(source),
            ArchiveError::NotAnArchive => Some(
                "give a file that docker save, podman save, skopeo or holdall save wrote"
                    .to_owned(),
            ),
            ArchiveError::NotALayout { .. } => {
                Some("give a directory that skopeo, umoci or buildah wrote as oci:".to_owned())
            }
            ArchiveError::Platform { architecture } => Some(format!(
                "save it again with --platform linux/{architecture}"
            )),
            ArchiveError::Name(error) => Some(error.hint()),
            ArchiveError::Read(_)
            | ArchiveError::Tar(_)
            | ArchiveError::Member { .. }
            | ArchiveError::Missing { .. }
            | ArchiveError::Document { .. }
            | ArchiveError::Digest { .. }
            | ArchiveError::DiffId { .. } => {
                Some("the archive is damaged or hostile; get it again from its source".to_owned())
            }
            ArchiveError::Layout { .. } => None,
        }
    }
}
