//! A folder for hostile archives, with a file beside it that must stay as it
//! is.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub(crate) struct Jail {
    dir: tempfile::TempDir,
    before: String,
}

impl Jail {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).expect("the outside");
        fs::write(outside.join("canary"), "alive").expect("the canary");
        let before = state(&outside);
        Self { dir, before }
    }

    /// A new folder in the jail.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir(&path).expect("a folder of the jail");
        path
    }

    /// The canary's folder, as an attacker would know it.
    pub(crate) fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// Panics if anything outside was touched: bytes, mode, owner, links,
    /// times, or a new file.
    pub(crate) fn check(&self) {
        let now = state(&self.outside());
        assert_eq!(now, self.before, "something outside was changed");
    }
}

fn state(outside: &Path) -> String {
    let mut found = String::new();
    for path in [outside.to_owned(), outside.join("canary")] {
        let meta = fs::symlink_metadata(&path).expect("the outside is there");
        found += &format!(
            "{} {:o} {}:{} {} {}.{} {}.{} {}\n",
            meta.ino(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
            meta.len(),
        );
    }
    for entry in fs::read_dir(outside).expect("the outside is readable") {
        found += &entry.expect("an entry").file_name().to_string_lossy();
    }
    found + &fs::read_to_string(outside.join("canary")).expect("the canary is readable")
}
