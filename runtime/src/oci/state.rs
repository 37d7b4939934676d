//! What the runtime remembers of a container between its verbs: one folder a
//! container, one JSON record in it, locked while a verb works.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cgroup::Membership;
use crate::process::Identity;

/// The folder's files.
const RECORD: &str = "state.json";
const CONFIG: &str = "config.json";
const FIFO: &str = "exec.fifo";

/// The container's state as the specification defines it (runtime.md,
/// *State*), with the fields that runc adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The specification's version.
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// Where it is in its life.
    pub status: Status,
    /// Its first process on the host; 0 when it has none.
    pub pid: i32,
    /// Absolute path of its bundle.
    pub bundle: PathBuf,
    /// Absolute path of its root filesystem.
    #[serde(default)]
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub created: String,
    /// Who made it.
    #[serde(default)]
    pub owner: String,
    /// From `config.json`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work, or was killed at it.
    Creating,
    /// Its process waits for `start`.
    Created,
    /// Its process runs.
    Running,
    /// Its process has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Stopped => "stopped",
        })
    }
}

/// Why a container's record can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A name that is no file name, or not one a container may have.
    #[error(
        "cannot use {id:?} as a container id: letters, digits and _+-. only, 1 to 1024 of them"
    )]
    Id {
        /// As given.
        id: String,
    },
    /// Nothing by that name.
    #[error("cannot find container {id}: it does not exist")]
    NotFound {
        /// As given.
        id: String,
    },
    /// The name is taken.
    #[error("cannot create container {id}: it exists already")]
    Exists {
        /// As given.
        id: String,
    },
    /// The folder or a file of it.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The record isn't ours.
    #[error("cannot read the record {}", .path.display())]
    Record {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

/// The record on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Of this format.
    pub(crate) version: u32,
    pub(crate) id: String,
    pub(crate) oci_version: String,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: String,
    /// The first process, once there is one.
    pub(crate) process: Option<Identity>,
    /// Where it is accounted.
    pub(crate) cgroup: Membership,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Record {
    /// The format's version.
    pub(crate) const VERSION: u32 = 1;
}

/// One container's folder, locked.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// On the folder itself, so that there is no lock file to leave behind.
    lock: FolderLock,
}

/// Dropped, it unlocks the folder at once, also where a child that is on its way
/// to its own program still has it open.
#[derive(Debug)]
struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Where this fails, closing it does the same, if later.
        drop(self.0.unlock());
    }
}

fn file_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::File { verb, path, source }
}

/// Checks a container's name: it becomes a file name and part of cgroup paths.
fn check_id(id: &str) -> Result<(), StateError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > 1024 || matches!(id, "." | "..") || !id.chars().all(allowed) {
        return Err(StateError::Id { id: id.to_owned() });
    }
    Ok(())
}

impl Folder {
    /// Makes a container's folder; the name is taken from then on.
    pub(crate) fn create(root: &Path, id: &str) -> Result<Self, StateError> {
        check_id(id)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(file_error("make", root))?;
        let path = root.join(id);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(StateError::Exists { id: id.to_owned() });
            }
            Err(error) => return Err(file_error("make", &path)(error)),
        }
        Self::lock(path)
    }

    /// Opens an existing container's folder, waiting for whoever works on it.
    pub(crate) fn open(root: &Path, id: &str) -> Result<Self, StateError> {
        check_id(id)?;
        let path = root.join(id);
        match Self::lock(path) {
            Err(StateError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Err(StateError::NotFound { id: id.to_owned() })
            }
            other => other,
        }
    }

    fn lock(path: PathBuf) -> Result<Self, StateError> {
        loop {
            let folder = File::open(&path).map_err(file_error("open", &path))?;
            if let Some(locked) = Self::lock_opened(folder, &path)? {
                return Ok(locked);
            }
        }
    }

    /// `None` where, while we waited, the folder that was opened was removed
    /// and another made in its place.
    fn lock_opened(folder: File, path: &Path) -> Result<Option<Self>, StateError> {
        loop {
            match folder.lock() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                locked => break locked.map_err(file_error("lock", path))?,
            }
        }
        let lock = FolderLock(folder);
        let ours = lock.0.metadata().map_err(file_error("look at", path))?;
        let there = fs::metadata(path).map_err(file_error("open", path))?;
        let same = (ours.dev(), ours.ino()) == (there.dev(), there.ino());
        Ok(same.then(|| Self {
            path: path.to_owned(),
            lock,
        }))
    }

    /// Gives up a clone's share of the lock, which is one of parent and clone
    /// together: it would last as long as the clone waits, whatever became of
    /// the parent. For the clone alone, which never drops the folder: dropped,
    /// it would unlock the parent's, too.
    pub(crate) fn leave_lock_to_parent(&self) -> nix::Result<()> {
        nix::unistd::close(self.lock.0.as_raw_fd())
    }

    /// Where `start` meets the waiting process.
    pub(crate) fn fifo(&self) -> PathBuf {
        self.path.join(FIFO)
    }

    /// Writes the record; the old one or the new one is there at any instant.
    /// Nothing is forced to disk: the folder lies in /run and dies with the
    /// processes it describes.
    pub(crate) fn save(&self, record: &Record) -> Result<(), StateError> {
        let path = self.path.join(RECORD);
        let text = serde_json::to_vec(record).map_err(|source| StateError::Record {
            path: path.clone(),
            source,
        })?;
        let fresh = self.path.join(format!("{RECORD}.new"));
        fs::write(&fresh, text).map_err(file_error("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(file_error("write", &path))
    }

    /// Keeps the configuration, which `exec` reads long after the bundle may
    /// have changed. Written once, before there is anything to execute in, so
    /// nobody reads the half of it.
    pub(crate) fn save_config(&self, text: &[u8]) -> Result<(), StateError> {
        let path = self.path.join(CONFIG);
        fs::write(&path, text).map_err(file_error("write", &path))
    }

    /// The configuration as `create` got it.
    pub(crate) fn config(&self) -> Result<super::spec::Spec, StateError> {
        let path = self.path.join(CONFIG);
        let text = fs::read(&path).map_err(file_error("read", &path))?;
        serde_json::from_slice(&text).map_err(|source| StateError::Record { path, source })
    }

    /// The record; none when `create` was killed before it wrote one.
    pub(crate) fn record(&self) -> Result<Option<Record>, StateError> {
        let path = self.path.join(RECORD);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error("read", &path)(error)),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| StateError::Record { path, source })
    }

    /// Where the container is in its life.
    pub(crate) fn status(&self, record: &Record) -> Status {
        match &record.process {
            None => Status::Creating,
            Some(process) if !process.is_alive() => Status::Stopped,
            Some(_) if self.fifo().exists() => Status::Created,
            Some(_) => Status::Running,
        }
    }

    /// The state as the specification has it.
    pub(crate) fn state(&self, record: &Record) -> State {
        let status = self.status(record);
        let pid = match (&record.process, status) {
            (Some(process), Status::Created | Status::Running) => process.raw_pid(),
            (_, Status::Creating | Status::Created | Status::Running | Status::Stopped) => 0,
        };
        State {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            status,
            pid,
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            owner: String::new(),
            annotations: record.annotations.clone(),
        }
    }

    /// Removes the folder: the container is forgotten and its name free.
    pub(crate) fn remove(self) -> Result<(), StateError> {
        fs::remove_dir_all(&self.path).map_err(file_error("remove", &self.path))
    }
}

/// The names of all containers under a state root, sorted.
pub(crate) fn list(root: &Path) -> Result<Vec<String>, StateError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_error("read", root)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(file_error("read", root))?;
        if let Ok(name) = entry.file_name().into_string()
            && check_id(&name).is_ok()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_id_is_a_plain_file_name() {
        for good in ["a", "box-1", "A_b+c.d", "..."] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "../x", "a b", "ä", "a\n"] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_lock_on_a_folder_that_another_took_the_place_of_is_none() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::create(root.path(), "box").unwrap();
        let path = root.path().join("box");
        let opened = File::open(&path).unwrap();
        // Kept open, or its number would be the next one's.
        let _old = opened.try_clone().unwrap();
        first.remove().unwrap();
        let _second = Folder::create(root.path(), "box").unwrap();
        assert!(Folder::lock_opened(opened, &path).unwrap().is_none());

        let opened = File::open(&path).unwrap();
        fs::remove_dir(&path).unwrap();
        drop(_second);
        let error = Folder::lock_opened(opened, &path).unwrap_err();
        assert!(
            matches!(&error, StateError::File { source, .. } if source.kind() == ErrorKind::NotFound),
            "{error}"
        );
    }

    #[test]
    fn errors_read_well() {
        let text = StateError::NotFound { id: "shop".into() }.to_string();
        assert_eq!(text, "cannot find container shop: it does not exist");
        let text = StateError::Exists { id: "shop".into() }.to_string();
        assert_eq!(text, "cannot create container shop: it exists already");
    }
}
