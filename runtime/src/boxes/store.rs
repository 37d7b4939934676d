//! Boxes on disk.
//!
//! A box is one folder that appears by one rename, so a crash leaves either a
//! whole box or a draft; drafts and remains of removals are swept by whoever
//! next makes a box or looks for one. They are known by the lock their maker holds,
//! never by their age.
//!
//! ```text
//! boxes/ID/record.json        written once
//!          passing            empty; there for a box that is removed at its
//!                             end: nothing of it is synced
//!          life.json          the newest run, replaced as a whole
//!          lock               held by a command that changes the box
//!          guard              held by monitor and keeper as long as they live
//!          log.ndjson[.1]     what its programs said
//!          upper/ work/       its own layer
//!          volumes/N          volumes of its own
//!          etc/               hosts, hostname, resolv.conf
//! boxes/names.lock            held while a name is looked up and taken
//! boxes/.new-ID .gone-ID      a box being made, a box being removed
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::error::BoxError;
use super::files::{Durable, decode, gone_is_fine, make_private, read, sync_dir, write_json};
use super::folder::{BoxDir, RunDir};
use super::lock::Lock;
use super::name::{BoxId, BoxName};
use super::record::{RECORD_VERSION, Record};
use super::state::Life;
use super::sweep::{NEW, is_draft};
use crate::dirs::Dirs;

/// The folder of all boxes.
#[derive(Debug, Clone)]
pub(crate) struct BoxStore {
    dirs: Dirs,
}

/// A box that is being made. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: BoxId,
    pub(crate) dir: BoxDir,
    /// Tells sweepers that somebody is still at it.
    _lock: Lock,
    committed: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.committed {
            // What can't be removed now is swept later.
            drop(fs::remove_dir_all(self.dir.path()));
        }
    }
}

impl BoxStore {
    pub(crate) fn open(dirs: Dirs) -> Result<Self, BoxError> {
        for dir in [
            dirs.boxes(),
            dirs.volumes(),
            dirs.run_boxes(),
            dirs.runtime_state(),
        ] {
            make_private(&dir)?;
        }
        Ok(Self::at(dirs))
    }

    /// As it is, made or not.
    pub(crate) fn at(dirs: Dirs) -> Self {
        Self { dirs }
    }

    pub(crate) fn dirs(&self) -> &Dirs {
        &self.dirs
    }

    pub(crate) fn dir(&self, id: &BoxId) -> BoxDir {
        BoxDir(self.dirs.boxes().join(id.as_str()))
    }

    pub(crate) fn run_dir(&self, id: &BoxId) -> RunDir {
        RunDir(self.dirs.run_boxes().join(id.as_str()))
    }

    /// Begins a box.
    pub(crate) fn draft(&self) -> Result<Draft, BoxError> {
        // Sweeping and making exclude each other, or a draft would be swept
        // before its lock is taken.
        let names = self.lock_names()?;
        self.sweep()?;
        let id = BoxId::random().map_err(BoxError::system("draw a random id"))?;
        let dir = BoxDir(self.dirs.boxes().join(format!("{NEW}{id}")));
        let make = |path: &Path, mode: u32| {
            DirBuilder::new()
                .mode(mode)
                .create(path)
                .map_err(BoxError::file("make", path))
        };
        make(dir.path(), 0o700)?;
        let lock = Lock::wait(&dir.lock()).map_err(BoxError::file("lock", dir.lock()))?;
        drop(names);
        let draft = Draft {
            id,
            dir,
            _lock: lock,
            committed: false,
        };
        // The box's root directory takes owner and mode of the upper one.
        make(&draft.dir.upper(), 0o755)?;
        for path in [draft.dir.work(), draft.dir.etc()] {
            make(&path, 0o700)?;
        }
        Ok(draft)
    }

    /// Makes the draft a box: takes its name (any free one from `wanted` on,
    /// where the user named none) and lets it appear.
    pub(crate) fn commit(
        &self,
        mut draft: Draft,
        wanted: BoxName,
        exact: bool,
        record: impl FnOnce(BoxName) -> Result<Record, BoxError>,
    ) -> Result<Record, BoxError> {
        let _names = self.lock_names()?;
        let known = self.records()?;
        let by = |name: &BoxName| known.iter().find(|record| record.name == *name);
        let name = match by(&wanted) {
            Some(other) if exact => {
                return Err(BoxError::NameInUse {
                    name: wanted,
                    by: other.id.clone(),
                });
            }
            Some(_) => wanted.unique(|name| by(name).is_some()),
            None => wanted,
        };
        let record = record(name)?;
        let durable = Durable::of_box(record.remove);
        if durable == Durable::No {
            let mark = draft.dir.passing();
            fs::write(&mark, "").map_err(BoxError::file("make", &mark))?;
        }
        write_json(&draft.dir.record(), &record, durable)?;
        let path = self.dir(&record.id);
        fs::rename(draft.dir.path(), path.path()).map_err(BoxError::file("make", path.path()))?;
        draft.committed = true;
        if durable == Durable::Yes {
            sync_dir(&self.dirs.boxes())?;
        }
        Ok(record)
    }

    pub(super) fn names_lock(&self) -> PathBuf {
        self.dirs.boxes().join("names.lock")
    }

    pub(super) fn lock_names(&self) -> Result<Lock, BoxError> {
        let path = self.names_lock();
        Lock::wait(&path).map_err(BoxError::file("lock", &path))
    }

    /// Every box, by age. A folder that isn't one, or is being removed, isn't
    /// listed.
    pub(crate) fn records(&self) -> Result<Vec<Record>, BoxError> {
        let boxes = self.dirs.boxes();
        let mut records = Vec::new();
        let mut drafts = false;
        for entry in fs::read_dir(&boxes).map_err(BoxError::file("read", &boxes))? {
            let entry = entry.map_err(BoxError::file("read", &boxes))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            drafts |= is_draft(&name);
            if let Ok(id) = name.parse() {
                records.extend(self.record(&id)?);
            }
        }
        if drafts {
            self.sweep_unless_busy();
        }
        records.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(records)
    }

    /// One box; `None` where there is none, or where a power cut tore the
    /// record of one that wasn't synced: that box is lost, and swept.
    pub(crate) fn record(&self, id: &BoxId) -> Result<Option<Record>, BoxError> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            version: u32,
        }
        let path = self.dir(id).record();
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        let Versioned { version } = match decode(&path, &bytes) {
            Err(_) if self.dir(id).passing().exists() => return Ok(None),
            other => other?,
        };
        if version > RECORD_VERSION {
            return Err(BoxError::TooNew { path, version });
        }
        decode(&path, &bytes).map(Some)
    }

    /// How the newest run of a box went; `None` where it never ran. What a
    /// power cut tore counts as none: no run survived that.
    pub(crate) fn life(&self, id: &BoxId) -> Result<Option<Life>, BoxError> {
        let path = self.dir(id).life();
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        match decode(&path, &bytes) {
            Err(BoxError::Record { cause, .. }) if is_torn(&bytes, &cause) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Writes it. A running one needs no sync: a power cut ends the run.
    pub(crate) fn set_life(&self, id: &BoxId, life: &Life, ended: Durable) -> Result<(), BoxError> {
        let durable = match life {
            Life::Running(_) => Durable::No,
            Life::Exited { .. } => ended,
        };
        write_json(&self.dir(id).life(), life, durable)
    }

    /// As before its first run.
    pub(crate) fn clear_life(&self, id: &BoxId) -> Result<(), BoxError> {
        let path = self.dir(id).life();
        gone_is_fine(fs::remove_file(&path)).map_err(BoxError::file("remove", &path))
    }

    /// Makes the folder of a run, empty.
    pub(crate) fn make_run_dir(&self, id: &BoxId) -> Result<RunDir, BoxError> {
        self.remove_run_dir(id)?;
        let run = self.run_dir(id);
        make_private(run.path())?;
        Ok(run)
    }

    /// Whether a run left something outside the box's own folder.
    pub(crate) fn has_remains(&self, id: &BoxId) -> bool {
        self.run_dir(id).path().exists() || self.container(id).exists()
    }

    /// The runtime's state of a box's container.
    pub(crate) fn container(&self, id: &BoxId) -> PathBuf {
        self.dirs.runtime_state().join(id.as_str())
    }

    /// Removes the folder of a run.
    pub(crate) fn remove_run_dir(&self, id: &BoxId) -> Result<(), BoxError> {
        let run = self.run_dir(id);
        gone_is_fine(fs::remove_dir_all(run.path())).map_err(BoxError::file("remove", run.path()))
    }

    /// Takes the lock of a box that is there.
    pub(crate) fn lock(&self, id: &BoxId) -> Result<Lock, BoxError> {
        let path = self.dir(id).lock();
        Lock::wait(&path).map_err(|error| not_locked(id, &path, error))
    }

    /// The same, but `None` where another holds it.
    pub(crate) fn try_lock(&self, id: &BoxId) -> Result<Option<Lock>, BoxError> {
        let path = self.dir(id).lock();
        Lock::attempt(&path).map_err(|error| not_locked(id, &path, error))
    }

    /// Takes the guard of a box that has ended and whose lock the caller holds,
    /// once whoever minded its last run has cleared away. For a box that is
    /// removed at its end the lock may have been another's meanwhile: see
    /// [`super::lock`] for the order.
    pub(crate) fn guard(&self, record: &Record, lock: Lock) -> Result<(Lock, Lock), BoxError> {
        let path = self.dir(&record.id).guard();
        let failed = |error| not_locked(&record.id, &path, error);
        if !record.remove {
            return Ok((lock, Lock::wait(&path).map_err(failed)?));
        }
        if let Some(guard) = Lock::attempt(&path).map_err(failed)? {
            return Ok((lock, guard));
        }
        drop(lock);
        let guard = Lock::wait(&path).map_err(failed)?;
        Ok((self.lock(&record.id)?, guard))
    }
}

/// Whether a file that was never synced shows what a power cut leaves: less
/// than there was, or zeroes in its place.
fn is_torn(bytes: &[u8], cause: &serde_json::Error) -> bool {
    cause.is_eof() || bytes.contains(&0)
}

/// A box whose folder is gone can't be locked: `--rm` or another command was
/// quicker.
fn not_locked(id: &BoxId, path: &Path, error: io::Error) -> BoxError {
    match error.kind() {
        io::ErrorKind::NotFound => BoxError::NotFound {
            name: id.to_string(),
            similar: None,
        },
        _ => BoxError::file("lock", path)(error),
    }
}

#[cfg(test)]
mod tests;
