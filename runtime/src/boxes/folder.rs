//! The names of files and folders of a box.

use std::path::{Path, PathBuf};

/// The names of what a box's folder holds.
#[derive(Debug, Clone)]
pub(crate) struct BoxDir(pub(super) PathBuf);

impl BoxDir {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }
    /// Says that nothing here was synced.
    pub(crate) fn passing(&self) -> PathBuf {
        self.0.join("passing")
    }
    pub(crate) fn life(&self) -> PathBuf {
        self.0.join("life.json")
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
    pub(crate) fn guard(&self) -> PathBuf {
        self.0.join("guard")
    }
    pub(crate) fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }
    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }
    pub(crate) fn volume(&self, number: u32) -> PathBuf {
        self.0.join("volumes").join(number.to_string())
    }
    pub(crate) fn etc(&self) -> PathBuf {
        self.0.join("etc")
    }
}

/// The names of what a running box's folder holds.
#[derive(Debug, Clone)]
pub(crate) struct RunDir(pub(super) PathBuf);

impl RunDir {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    pub(crate) fn stdout(&self) -> PathBuf {
        self.0.join("stdout")
    }
    pub(crate) fn stderr(&self) -> PathBuf {
        self.0.join("stderr")
    }
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }
    /// What left those and is in the log; see [`super::transfer`].
    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }
    /// What the monitor does with the log just now.
    pub(crate) fn transfer(&self) -> PathBuf {
        self.0.join("transfer")
    }
}
