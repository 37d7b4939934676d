//! A layer below all others that holds the places of what every box gets
//! mounted.
//!
//! What an image lacks of them would be made in each box's own layer, by a
//! dozen files that the disk has to take in and to let go of again, and would
//! stand there among the box's changes. What the image has, or has deleted,
//! covers what is here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bundle::ETC;
use super::error::BoxError;
use super::store::BoxStore;

/// Where the runtime mounts something in every box.
const FOLDERS: [&str; 4] = ["dev", "etc", "proc", "sys"];

/// The layer; made where it isn't there.
pub(super) fn layer(store: &BoxStore) -> Result<PathBuf, BoxError> {
    let path = store.dirs().mountpoints();
    if path.is_dir() {
        return Ok(path);
    }
    // It appears as a whole. A crash before leaves a draft that the next
    // process of this number takes over.
    let draft = path.with_extension(std::process::id().to_string());
    fill(&draft)
        .and_then(|()| match fs::rename(&draft, &path) {
            // Another was quicker.
            Err(_) if path.is_dir() => fs::remove_dir_all(&draft),
            other => other,
        })
        .map_err(BoxError::file("make", &path))?;
    Ok(path)
}

fn fill(draft: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for folder in FOLDERS {
        let folder = draft.join(folder);
        fs::create_dir_all(&folder)?;
        set_mode(&folder, 0o755)?;
    }
    set_mode(draft, 0o755)?;
    for name in ETC {
        let file = draft.join("etc").join(name);
        fs::write(&file, "")?;
        set_mode(&file, 0o644)?;
    }
    Ok(())
}
