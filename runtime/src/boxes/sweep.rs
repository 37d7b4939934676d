//! How a box goes, and what is left of those that a crash or a power cut took
//! while they were made or removed.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::bury::clear;
use super::error::BoxError;
use super::files::{gone_is_fine, remove_any};
use super::folder::BoxDir;
use super::lock::Lock;
use super::name::BoxId;
use super::store::BoxStore;
use crate::causes::chain;

/// Before the id of a box that is being made.
pub(super) const NEW: &str = ".new-";
/// Before the id of a box that is being removed.
const GONE: &str = ".gone-";

impl BoxStore {
    /// Removes a box that doesn't run and whose lock the caller holds: it is
    /// gone by one rename, its files after that. That it is gone already is no
    /// error.
    pub(crate) fn remove(&self, id: &BoxId, lock: &Lock) -> Result<(), BoxError> {
        match self.take_away(id, lock)? {
            Some(remains) => remains.remove(),
            None => Ok(()),
        }
    }

    /// The first half of [`BoxStore::remove`]; `None` where it is gone already.
    /// As long as the lock is held, nobody else does the second.
    pub(crate) fn take_away(&self, id: &BoxId, _lock: &Lock) -> Result<Option<Remains>, BoxError> {
        let dir = self.dir(id);
        let remains = self.dirs().boxes().join(format!("{GONE}{id}"));
        match fs::rename(dir.path(), &remains) {
            Ok(()) => Ok(Some(Remains(remains))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BoxError::file("remove", dir.path())(error)),
        }
    }

    /// As [`BoxStore::draft`] does it, without one.
    pub(crate) fn sweep_drafts(&self) -> Result<(), BoxError> {
        let _names = self.lock_names()?;
        self.sweep()
    }

    /// Whether a folder is a box that wasn't synced and whose record a power
    /// cut tore.
    pub(crate) fn is_lost(&self, name: &str, dir: &BoxDir) -> Result<bool, BoxError> {
        match name.parse() {
            Ok(id) if dir.passing().exists() => Ok(self.record(&id)?.is_none()),
            Ok(_) | Err(_) => Ok(false),
        }
    }

    /// As [`BoxStore::sweep_drafts`], for who only looks: what can't be removed
    /// is in nobody's way, and whoever holds the names makes a box and sweeps.
    pub(super) fn sweep_unless_busy(&self) {
        let swept = match Lock::attempt(&self.names_lock()) {
            Ok(Some(_names)) => self.sweep(),
            Ok(None) => Ok(()),
            Err(error) => Err(BoxError::file("lock", self.names_lock())(error)),
        };
        if let Err(error) = swept {
            log::warn!("{}", chain(&error));
        }
    }

    /// Removes what crashes left: drafts, remains and lost boxes whose lock
    /// nobody holds. The caller holds the lock of the names.
    pub(super) fn sweep(&self) -> Result<(), BoxError> {
        let boxes = self.dirs().boxes();
        for entry in fs::read_dir(&boxes).map_err(BoxError::file("read", &boxes))? {
            let entry = entry.map_err(BoxError::file("read", &boxes))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let dir = BoxDir(entry.path());
            if !is_draft(&name) && !self.is_lost(&name, &dir)? {
                continue;
            }
            let locked = match Lock::attempt(&dir.lock()) {
                Ok(None) => continue,
                Ok(Some(lock)) => Some(lock),
                // Gone meanwhile, or half removed.
                Err(_) => None,
            };
            // What can't be cleared away yet is in no other box's way.
            if let Some(id) = gone(&name)
                && let Err(error) = clear(self, &id)
            {
                log::warn!("{}", chain(&error));
                continue;
            }
            gone_is_fine(fs::remove_dir_all(dir.path()))
                .map_err(BoxError::file("remove", dir.path()))?;
            drop(locked);
        }
        Ok(())
    }
}

/// The files of a box that is gone.
#[derive(Debug)]
#[must_use = "they take space"]
pub(crate) struct Remains(PathBuf);

impl Remains {
    /// The lock moved along and goes last, so that until then a sweeper leaves
    /// the remains to us.
    pub(crate) fn remove(self) -> Result<(), BoxError> {
        let Self(dir) = self;
        let entries = fs::read_dir(&dir).map_err(BoxError::file("read", &dir))?;
        for entry in entries {
            let entry = entry.map_err(BoxError::file("read", &dir))?;
            if entry.file_name() != "lock" {
                let path = entry.path();
                remove_any(&path).map_err(BoxError::file("remove", &path))?;
            }
        }
        gone_is_fine(fs::remove_dir_all(&dir)).map_err(BoxError::file("remove", &dir))
    }
}

/// The box whose remains have this name: what it had outside its folder may not
/// be cleared away yet.
pub(super) fn gone(name: &str) -> Option<BoxId> {
    name.strip_prefix(GONE)?.parse().ok()
}

/// Whether a name beside the boxes is that of one being made or removed.
pub(crate) fn is_draft(name: &str) -> bool {
    name.starts_with(NEW) || name.starts_with(GONE)
}
