//! What files hold.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::stat::{FileStat, fstat};
use sha2::{Digest as _, Sha256};

use crate::host;
use crate::stat_index::{Content, Learned, Stamp, StatIndex};

/// The digest of a file from where it stands.
pub(crate) fn hash(file: &File) -> io::Result<Content> {
    let mut hasher = Sha256::new();
    copy(file, &mut |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(hasher.finalize().into())
}

/// Reads a file to its end, piece by piece.
pub(crate) fn copy(
    mut file: &File,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match io::Read::read(&mut file, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The digest of the file at `path`, of which the index may know.
pub(crate) fn file_digest(path: &Path, index: &mut StatIndex) -> io::Result<Content> {
    let now = host::file_clock();
    let file = File::open(path)?;
    let stat = stamp(&fstat(&file)?);
    // No path of the context begins with a slash.
    let key = path.as_os_str().as_bytes();
    let mut learned = Learned::default();
    let content = match index.known(key, &stat, &mut learned) {
        Some(content) => content,
        None => {
            let content = hash(&file)?;
            learned.remember(key, &stat, content, now);
            content
        }
    };
    index.merge(learned);
    Ok(content)
}

/// What tells this writing of a file from another.
pub(super) fn stamp(stat: &FileStat) -> Stamp {
    let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Stamp {
        dev: stat.st_dev,
        ino: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode,
    }
}
