//! `index.json`: the names. Changed under a lock and replaced as a whole, so a
//! reader needs no lock and never sees half of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::lock;
use super::{Store, StoreError, blob};
use crate::document::{Index, MAX_DOCUMENT};
use crate::root::read_bounded;

impl Store {
    pub(super) fn index(&self) -> Result<Index, StoreError> {
        let path = self.dir.join("index.json");
        let bytes = match File::open(&path).and_then(|file| read_bounded(file, MAX_DOCUMENT)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Index::new(Vec::new()));
            }
            Err(source) => return Err(StoreError::ReadIndex { path, source }),
        };
        Index::decode(&bytes).map_err(|source| StoreError::Index { path, source })
    }

    /// Changes the index as `change` says; what it returns is passed on. If it
    /// changes nothing, nothing is written.
    pub(super) fn change_index<T>(
        &self,
        change: impl FnOnce(&mut Index) -> T,
    ) -> Result<T, StoreError> {
        let _lock = lock::exclusive(&self.dir.join("index.lock"))?;
        let before = self.index()?;
        let mut after = before.clone();
        let result = change(&mut after);
        if after != before {
            self.write_index(&after)?;
        }
        Ok(result)
    }

    fn write_index(&self, index: &Index) -> Result<(), StoreError> {
        let path = self.dir.join("index.json");
        let bytes = serde_json::to_vec_pretty(index).map_err(StoreError::Encode)?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            let source = io::ErrorKind::FileTooLarge.into();
            return Err(StoreError::WriteIndex { path, source });
        }
        self.replace("index.json", &bytes)
            .map_err(|source| StoreError::WriteIndex {
                path: path.clone(),
                source,
            })
    }

    /// Replaces a file of the layout's top, durably and as a whole. The caller
    /// holds the index lock: so the temporary name is its own, and one that a
    /// crash left is taken over.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let fresh = self.dir.join(format!("{name}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, self.dir.join(name))?;
        blob::sync_dir(&self.dir)
    }
}
