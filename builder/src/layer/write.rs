//! A layer's contents as files: each with its mode, owner and time, whatever
//! the umask.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, futimens, utimensat};
use nix::sys::time::TimeSpec;

use super::{Bytes, Contents, What};
use crate::error::BuildError;

/// Where the bytes of a layer's files are.
pub(crate) trait Source: Sync {
    /// Writes all that a file holds, or fails where that is no longer what
    /// [`Bytes::content`] says.
    fn fill(&self, path: &Path, bytes: &Bytes, out: &mut File) -> Result<(), BuildError>;

    /// An error where the build is to stop.
    fn stopped(&self) -> Result<(), BuildError>;
}

/// Writes a layer into the empty folder `dir`, which is ours alone, all times
/// at `epoch`.
pub(crate) fn write(
    contents: &Contents,
    dir: &Path,
    epoch: i64,
    source: &dyn Source,
) -> Result<(), BuildError> {
    let time = TimeSpec::new(epoch, 0);
    for (path, entry) in &contents.entries {
        source.stopped()?;
        let inside = inside(dir, path);
        let shown = || Path::new("/").join(OsStr::from_bytes(path));
        let failed = |source| BuildError::WriteLayer {
            path: shown(),
            source,
        };
        let (uid, gid) = (Some(entry.owner.uid), Some(entry.owner.gid));
        match &entry.what {
            What::Folder if path.is_empty() => {}
            // Its own attributes come when nothing is made in it any more.
            What::Folder => std::fs::create_dir(&inside).map_err(failed)?,
            What::Link(target) => std::os::unix::fs::symlink(OsStr::from_bytes(target), &inside)
                .and_then(|()| std::os::unix::fs::lchown(&inside, uid, gid))
                .and_then(|()| set_time(&inside, &time))
                .map_err(failed)?,
            What::File(bytes) => {
                let mut options = File::options();
                options.write(true).create_new(true).mode(0o600);
                let mut file = options.open(&inside).map_err(failed)?;
                source.fill(&shown(), bytes, &mut file)?;
                // Owner first: chown takes set-id bits away.
                std::os::unix::fs::fchown(&file, uid, gid)
                    .and_then(|()| file.set_permissions(PermissionsExt::from_mode(entry.mode)))
                    .and_then(|()| Ok(futimens(&file, &time, &time)?))
                    .map_err(failed)?;
            }
        }
    }
    let folders = contents.entries.iter().rev();
    for (path, entry) in folders.filter(|(_, entry)| entry.what == What::Folder) {
        let inside = inside(dir, path);
        std::os::unix::fs::lchown(&inside, Some(entry.owner.uid), Some(entry.owner.gid))
            .and_then(|()| std::fs::set_permissions(&inside, PermissionsExt::from_mode(entry.mode)))
            .and_then(|()| set_time(&inside, &time))
            .map_err(|source| BuildError::WriteLayer {
                path: Path::new("/").join(OsStr::from_bytes(path)),
                source,
            })?;
    }
    Ok(())
}

fn set_time(path: &Path, time: &TimeSpec) -> io::Result<()> {
    Ok(utimensat(
        AT_FDCWD,
        path,
        time,
        time,
        UtimensatFlags::NoFollowSymlink,
    )?)
}

fn inside(dir: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() {
        dir.to_owned()
    } else {
        dir.join(OsStr::from_bytes(path))
    }
}
