//! Whether the builder's own folders are whole: its cache and the packages it
//! keeps.
//!
//! A cache can't be wrong so that a build goes wrong by it: whoever reads a
//! record looks whether its layer is there. So what is told here is what
//! takes space for nothing, and what is not as it was written.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use holdall_image::Store;
use holdall_runtime::dirs::Dirs;

use crate::cache::{self, Cache, CacheError, Recorded};
use crate::context;
use crate::error::BuildError;

/// What a [`check`] found.
#[derive(Debug, Default)]
pub struct Report {
    /// Cache records read.
    pub records: u64,
    /// Packages read.
    pub packages: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What interrupted builds left, and nobody works on.
    pub leftovers: Vec<PathBuf>,
    /// Cache records that lead to what is no longer there, as after an `rmi`.
    pub stale: Vec<PathBuf>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A cache record that can't be read.
    #[error("cache record {} cannot be used: {reason}", path.display())]
    Record {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A kept package that isn't what its name says.
    #[error("package {} is damaged: its content is {found}", path.display())]
    Package {
        /// Which.
        path: PathBuf,
        /// Hex digits of its SHA-256.
        found: String,
    },
    /// A kept package that can't be read.
    #[error("package {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl Fault {
    /// One word for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Record { .. } => "cache-record",
            Self::Package { .. } => "package-damaged",
            Self::Unreadable { .. } => "package-unreadable",
        }
    }
}

/// Looks whether cache and packages are whole. Changes nothing.
///
/// # Errors
/// Where a folder can't be listed. What is damaged is no error.
pub fn check(dirs: &Dirs, store: &Store) -> Result<Report, BuildError> {
    let mut report = Report {
        leftovers: cache::left_behind(&dirs.cache()),
        ..Report::default()
    };
    for folder in cache::RECORDS {
        for path in files(&dirs.cache().join(folder))? {
            if path.extension() == Some("tmp".as_ref()) {
                // Being written, or left: told above.
                continue;
            }
            report.records += 1;
            match cache::recorded(folder, &path, store) {
                Recorded::Good => {}
                Recorded::Stale => report.stale.push(path),
                Recorded::Bad(reason) => report.faults.push(Fault::Record { path, reason }),
            }
        }
    }
    for path in files(&dirs.packages())? {
        let Some(digest) = path.file_stem().filter(|_| is_package(&path)) else {
            continue;
        };
        report.packages += 1;
        match File::open(&path).and_then(|file| context::hash(&file)) {
            Ok(content) => {
                let found: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
                if digest != found.as_str() {
                    report.faults.push(Fault::Package { path, found });
                }
            }
            Err(error) => report.faults.push(Fault::Unreadable {
                path,
                reason: error.to_string(),
            }),
        }
    }
    Ok(report)
}

/// Repairs what can be without loss; whether this can.
///
/// # Errors
/// Where it fails.
pub fn repair(fault: &Fault) -> Result<bool, CacheError> {
    match fault {
        Fault::Record { path, .. } | Fault::Package { path, .. } => remove(path).map(|()| true),
        Fault::Unreadable { .. } => Ok(false),
    }
}

/// Removes what interrupted builds left, and the records that lead nowhere.
///
/// # Errors
/// Where such a record can't be removed.
pub fn sweep(dirs: &Dirs, found: &Report) -> Result<(), CacheError> {
    if !found.leftovers.is_empty() {
        // The next build would do the same.
        drop(Cache::open(dirs.cache())?.workspace()?);
    }
    found.stale.iter().try_for_each(|path| remove(path))
}

fn remove(path: &Path) -> Result<(), CacheError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| CacheError::Remove {
            path: path.to_owned(),
            source,
        }),
    }
}

fn is_package(path: &Path) -> bool {
    path.extension() == Some("deb".as_ref())
}

/// The entries of a folder, sorted; none where it isn't there.
fn files(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    };
    let mut found = list().map_err(|source| BuildError::ReadFile {
        path: folder.to_owned(),
        source,
    })?;
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    /// A state root with the cache records of a step and of its layer, which is
    /// there, and one package.
    fn whole() -> (tempfile::TempDir, Dirs, Store) {
        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::under(root.path());
        let store = Store::open(&dirs.store(), &dirs.layers()).unwrap();
        let blob = store.write_blob("text/plain", b"a layer").unwrap();
        let step = format!(
            "{{\"version\":2,\"layers\":[{{\"descriptor\":{},\"diff_id\":\"{}\"}}]}}",
            serde_json::to_string(&blob).unwrap(),
            blob.digest
        );
        for (path, text) in [
            ("cache/steps/aa", step.clone()),
            ("cache/steps/bb", "{\"version\":2,\"layers\":[]}".to_owned()),
            ("cache/layers/ee", step),
            (
                "cache/images/cc",
                format!("{{\"version\":2,\"image\":\"{}\"}}", blob.digest),
            ),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir(dirs.cache().join("index")).unwrap();
        let mut empty = b"holdall stat index 1".to_vec();
        empty.extend(sha2::Sha256::digest(&empty));
        std::fs::write(dirs.cache().join("index/dd"), empty).unwrap();
        std::fs::create_dir(dirs.packages()).unwrap();
        let name = format!("{}.deb", holdall_image::Digest::of(b"deb").hex());
        std::fs::write(dirs.packages().join(name), b"deb").unwrap();
        (root, dirs, store)
    }

    fn told(dirs: &Dirs, store: &Store) -> Vec<String> {
        let faults = check(dirs, store).unwrap().faults;
        let told = faults
            .iter()
            .map(|fault| format!("{}: {fault}", fault.kind()));
        told.collect()
    }

    #[test]
    fn what_nobody_harmed_is_whole() {
        let (_root, dirs, store) = whole();
        let report = check(&dirs, &store).unwrap();
        assert_eq!(report.faults, []);
        assert!(report.stale.is_empty() && report.leftovers.is_empty());
        assert_eq!((report.records, report.packages), (5, 1));
        let nowhere = Dirs::under(Path::new("/nonexistent"));
        assert_eq!(check(&nowhere, &store).unwrap().faults, []);
    }

    #[test]
    fn each_damaged_record_is_named() {
        for name in ["steps/aa", "layers/ee", "images/cc", "index/dd"] {
            let (_root, dirs, store) = whole();
            std::fs::write(dirs.cache().join(name), "{\"version\":2,").unwrap();
            let told = told(&dirs, &store);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with("cache-record: ") && told[0].contains(name));
            let faults = check(&dirs, &store).unwrap().faults;
            assert!(repair(&faults[0]).unwrap());
            assert_eq!(self::told(&dirs, &store), [""; 0]);
        }
    }

    #[test]
    fn records_that_lead_nowhere_are_counted_and_no_fault() {
        let (_root, dirs, store) = whole();
        let digest = holdall_image::Digest::of(b"a layer");
        let blobs = dirs.store().join("blobs/sha256");
        std::fs::remove_file(blobs.join(digest.hex())).unwrap();
        std::fs::write(dirs.cache().join("steps/bb"), "{\"version\":1}").unwrap();
        std::fs::write(dirs.cache().join("index/dd"), "holdall stat index 2").unwrap();
        let report = check(&dirs, &store).unwrap();
        assert_eq!(report.faults, []);
        let names = ["steps/aa", "steps/bb", "layers/ee", "images/cc", "index/dd"];
        assert_eq!(report.stale, names.map(|name| dirs.cache().join(name)));
        sweep(&dirs, &report).unwrap();
        assert_eq!(check(&dirs, &store).unwrap().records, 0);
    }

    #[test]
    fn a_package_that_is_not_what_its_name_says_is_named() {
        let (_root, dirs, store) = whole();
        let name = format!("{}.deb", holdall_image::Digest::of(b"other").hex());
        let path = dirs.packages().join(name);
        std::fs::write(&path, b"deb").unwrap();
        let told = told(&dirs, &store);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("package-damaged: "), "{told:?}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(self::told(&dirs, &store)[0].starts_with("package-unreadable: "));
    }

    #[test]
    fn what_killed_builds_left_is_counted() {
        let (_root, dirs, store) = whole();
        let folder = dirs.cache().join("tmp-aaaaaa");
        std::fs::create_dir(&folder).unwrap();
        let file = dirs.cache().join("steps/aa.4711-0.tmp");
        std::fs::write(&file, "half").unwrap();
        let report = check(&dirs, &store).unwrap();
        assert_eq!(report.faults, []);
        assert_eq!(report.leftovers, [file, folder]);
        sweep(&dirs, &report).unwrap();
        assert!(check(&dirs, &store).unwrap().leftovers.is_empty());
    }
}
