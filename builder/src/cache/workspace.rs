//! The folder of one build: everything half-made lies in it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{CacheError, RECORDS, half_written};

/// What the folders' names begin with.
const PREFIX: &str = "tmp-";

/// A folder that is gone with its build: removed when dropped, and by the next
/// build if this one was killed.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
    /// Held as long as the folder is ours.
    _lock: File,
}

impl Workspace {
    /// Makes one, after removing those of builds that are dead.
    pub(super) fn create(cache: &Path) -> Result<Self, CacheError> {
        let _gate = gate(cache)?;
        sweep(cache);
        let path =
            nix::unistd::mkdtemp(&cache.join(format!("{PREFIX}XXXXXX"))).map_err(|errno| {
                CacheError::Make {
                    path: cache.to_owned(),
                    source: errno.into(),
                }
            })?;
        let lock_path = path.join("lock");
        let lock = open_lock(&lock_path)
            .and_then(|lock| lock.try_lock().map(|()| lock).map_err(io::Error::from));
        let lock = lock.map_err(|source| CacheError::Lock {
            path: lock_path,
            source,
        })?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A new folder in it, 0755.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, CacheError> {
        let path = self.path.join(name);
        let made = std::fs::create_dir(&path).and_then(|()| {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        });
        made.map_err(|source| CacheError::Make {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// A new file in it.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf, CacheError> {
        let path = self.path.join(name);
        let written = std::fs::write(&path, content);
        written.map_err(|source| CacheError::Write {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Removes what a step has left behind.
    pub(crate) fn clear(&self, path: &Path) {
        if let Err(error) = std::fs::remove_dir_all(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.clear(&self.path);
    }
}

/// Held so that nobody sweeps between the making of a folder and of its lock.
fn gate(cache: &Path) -> Result<File, CacheError> {
    let path = cache.join("lock");
    let gate = open_lock(&path).and_then(|gate| gate.lock().map(|()| gate));
    gate.map_err(|source| CacheError::Lock { path, source })
}

/// For a build with nothing to do, which makes no folder: removes those of
/// builds that could not.
pub(super) fn sweep_folders(cache: &Path) -> Result<(), CacheError> {
    if !dead_folders(cache).is_empty() {
        let _gate = gate(cache)?;
        sweep(cache);
    }
    Ok(())
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

/// Removes what dead builds left. What can't be removed is said and left: it
/// takes space, and is in nobody's way.
fn sweep(cache: &Path) {
    for path in left_behind(cache) {
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

/// The folders and half-written records whose lock nobody holds.
pub(crate) fn left_behind(cache: &Path) -> Vec<PathBuf> {
    let records = RECORDS.map(|name| half_written(&cache.join(name)));
    let mut found: Vec<PathBuf> = records.into_iter().flatten().collect();
    found.extend(dead_folders(cache));
    found
}

/// The folders whose lock nobody holds.
fn dead_folders(cache: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        let dead = match File::options().write(true).open(path.join("lock")) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if dead {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(dir: &Path) -> usize {
        let names = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with(PREFIX))
            .count()
    }

    #[test]
    fn a_folder_is_gone_with_its_build() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(dir.path()).unwrap();
        workspace.folder("upper").unwrap();
        assert_eq!(folders(dir.path()), 1);
        drop(workspace);
        assert_eq!(folders(dir.path()), 0);
    }

    #[test]
    fn a_build_with_nothing_to_do_sweeps_what_another_could_not() {
        let dir = tempfile::tempdir().unwrap();
        let running = Workspace::create(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("tmp-aaaaaa/upper")).unwrap();
        std::fs::write(dir.path().join("tmp-aaaaaa/lock"), b"").unwrap();
        sweep_folders(dir.path()).unwrap();
        assert_eq!(folders(dir.path()), 1);
        drop(running);
        assert_eq!(folders(dir.path()), 0);
    }

    #[test]
    fn what_a_killed_build_left_is_swept_and_a_running_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let running = Workspace::create(dir.path()).unwrap();
        for killed in ["tmp-aaaaaa", "tmp-bbbbbb"] {
            std::fs::create_dir_all(dir.path().join(killed).join("upper/x")).unwrap();
        }
        std::fs::write(dir.path().join("tmp-aaaaaa/lock"), b"").unwrap();
        let second = Workspace::create(dir.path()).unwrap();
        assert_eq!(folders(dir.path()), 2);
        drop((running, second));
        assert_eq!(folders(dir.path()), 0);
    }
}
