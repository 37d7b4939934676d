//! What a step changed: its overlay's upper directory, less the mount points
//! that only the build needed.
//!
//! The kernel wants a file or folder below every mount, so `etc/resolv.conf`,
//! `proc` and the like are made in the upper directory where the layers below
//! have none. In a layer they would be part of its digest, and empty.

use std::path::Path;

use holdall_image::root::{Kind, Metadata, RootError};
use holdall_image::tree::TreeError;
use holdall_image::{RootDir, Tree};

/// Where the runtime mounts something in every step.
const MOUNTS: [&str; 4] = ["/proc", "/dev", "/sys", "/run"];

/// Why the changes can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The upper directory.
    #[error("cannot read the changes of a step")]
    Upper(#[from] RootError),
    /// The layers below.
    #[error("cannot read the layers below a step")]
    Below(#[from] TreeError),
}

/// Removes the stubs of mounts from `upper`, and whether anything is left.
pub(crate) fn prune(upper: &Path, below: &Tree, binds: &[&Path]) -> Result<bool, DiffError> {
    let changes = RootDir::open(upper)?;
    for target in binds.iter().copied().chain(MOUNTS.map(Path::new)) {
        if below.lookup_link(target)?.is_none() && is_empty(&changes, target)? {
            changes.remove(target)?;
        }
        let mut path = target;
        // Folders that were made, or copied up, only to hold the stub.
        while let Some(parent) = path.parent().filter(|parent| parent.parent().is_some()) {
            path = parent;
            let lower = below.lookup_link(path)?.map(|entry| entry.metadata);
            if !is_empty(&changes, path)? || !unchanged(&changes, path, lower)? {
                break;
            }
            changes.remove(path)?;
        }
    }
    Ok(!changes.entries(Path::new("/"))?.is_empty())
}

/// An empty file, or a folder with nothing in it.
fn is_empty(changes: &RootDir, path: &Path) -> Result<bool, DiffError> {
    Ok(match changes.stat(path)? {
        Some(found) if found.kind == Kind::Directory => changes.entries(path)?.is_empty(),
        Some(found) => found.kind == Kind::File && found.size == 0,
        None => false,
    })
}

/// Whether a folder says nothing that the one below doesn't say. A new folder
/// above a stub says nothing at all.
fn unchanged(changes: &RootDir, path: &Path, below: Option<Metadata>) -> Result<bool, DiffError> {
    let Some(here) = changes.stat(path)? else {
        return Ok(false);
    };
    let Some(below) = below else {
        return Ok(here.kind == Kind::Directory);
    };
    let opaque = changes
        .xattrs(path)?
        .iter()
        .any(|(name, _)| name == "trusted.overlay.opaque");
    Ok(!opaque
        && here.kind == below.kind
        && (here.mode, here.uid, here.gid) == (below.mode, below.uid, below.gid))
}
