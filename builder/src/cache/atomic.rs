//! Files that are written whole or not at all.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Writes a file so that its name never shows half of it: beside its name,
/// made durable, and renamed.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (mut file, beside) = create_beside(path)?;
    let mut write = || {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        // The first error is the one to report; without the file there is
        // nothing to remove.
        let _ = std::fs::remove_file(&beside);
    })
}

/// What the names of files being written end in.
const TEMPORARY: &str = ".tmp";

/// A new file beside `path`, locked as long as it is open: one that nobody has
/// locked is what a killed build left.
pub(super) fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{count}{TEMPORARY}", std::process::id()));
        let beside = path.with_file_name(name);
        let file = match File::create_new(&beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            other => other?,
        };
        match file.try_lock() {
            // A sweeper that was quicker has removed it.
            Ok(()) if file.metadata()?.nlink() == 0 => {}
            Ok(()) => return Ok((file, beside)),
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Removes what killed builds left of writes of this one file.
pub(crate) fn sweep_beside(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    // A bare name lies in the working directory.
    let here = folder.as_os_str().is_empty();
    let folder = if here { Path::new(".") } else { folder };
    let name = name.as_encoded_bytes();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for left in entries.map(|entry| entry.path()) {
        // The folder is the user's: nothing but what such a write is called is
        // even opened.
        let left_name = left.file_name().unwrap_or_default().as_encoded_bytes();
        let rest = left_name.strip_prefix(name).unwrap_or_default();
        let rest = rest.strip_suffix(TEMPORARY.as_bytes()).unwrap_or_default();
        if is_of_a_write(rest) && is_left(&left) {
            // What can't be removed now is tried again by the next build.
            drop(std::fs::remove_file(left));
        }
    }
}

/// `.4711-0`: what [`create_beside`] puts between a name and its end.
fn is_of_a_write(part: &[u8]) -> bool {
    let number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    part.strip_prefix(b".").is_some_and(|numbers| {
        let mut numbers = numbers.splitn(2, |byte| *byte == b'-');
        numbers.next().is_some_and(number) && numbers.next().is_some_and(number)
    })
}

/// Files in a folder of records that a killed build left half-written.
pub(super) fn half_written(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let temporary = |path: &PathBuf| {
        path.as_os_str()
            .as_encoded_bytes()
            .ends_with(TEMPORARY.as_bytes())
    };
    let left = |path: &PathBuf| is_left(path);
    paths.filter(temporary).filter(left).collect()
}

/// Whether nobody writes this file any more.
fn is_left(path: &Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    is_file && File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_a_users_file_only_what_a_killed_write_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holdall.lock");
        let kept = [
            "holdall.lock",
            "holdall.lock.tmp",
            "holdall.lock.4711.tmp",
            "holdall.lock.4711-0",
            "holdall.lock.old-1.tmp",
            "holdall.toml.4711-0.tmp",
        ];
        for name in kept.iter().chain(&["holdall.lock.4711-0.tmp"]) {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let (writing, under_way) = create_beside(&path).unwrap();
        sweep_beside(&path);
        assert!(kept.iter().all(|name| dir.path().join(name).exists()));
        assert!(under_way.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 7);
        drop(writing);
        sweep_beside(&path);
        assert!(!under_way.exists());
    }

    #[test]
    fn a_write_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        assert!(write_atomic(&dir.path().join("a"), b"x").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
