//! What is read of the workspace: its manifests and its source files.

use std::fs;
use std::path::Path;

use crate::rust;

/// One crate by its Cargo.toml.
#[derive(Debug)]
pub(crate) struct Crate {
    /// Folder below the root; empty for the root's own package.
    pub(crate) dir: String,
    pub(crate) manifest: toml::Table,
}

impl Crate {
    pub(crate) fn name(&self) -> &str {
        self.manifest["package"]["name"].as_str().expect("a string")
    }

    /// Names of its direct dependencies, without those of tests.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = &str> {
        let table = self.manifest.get("dependencies");
        let table = table.map(|table| table.as_table().expect("a table"));
        table.into_iter().flatten().map(|(name, _)| name.as_str())
    }
}

/// One Rust file of the workspace.
#[derive(Debug)]
pub(crate) struct Source {
    /// Below the root of the workspace.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The text with its comments and literals blanked.
    pub(crate) fn code(&self) -> String {
        rust::code(&self.text)
    }

    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Part of what users run, not of a test.
    pub(crate) fn is_product(&self) -> bool {
        let parts = || self.path.split('/');
        !parts().any(|part| part == "tests" || part == "tests.rs")
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file of the repository that is TOML.
pub(crate) fn toml(path: &str) -> toml::Table {
    let parsed = read(&root().join(path)).parse();
    parsed.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every crate of the workspace, as the root's `members` names them.
pub(crate) fn crates() -> Vec<Crate> {
    let manifest = toml("Cargo.toml");
    let members = manifest["workspace"]["members"].as_array();
    let members = members.expect("an array").clone();
    let package = Crate {
        dir: String::new(),
        manifest,
    };
    let member = |dir: toml::Value| {
        let dir = dir.as_str().expect("a folder").to_owned();
        let manifest = toml(&format!("{dir}/Cargo.toml"));
        Crate { dir, manifest }
    };
    std::iter::once(package)
        .chain(members.into_iter().map(member))
        .collect()
}

/// Every Rust file that git would commit: whatever lies in a folder of the
/// repository but its build output.
pub(crate) fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut left = vec![root().to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.expect("a UTF-8 name");
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    left.push(path);
                }
            } else if name.ends_with(".rs") {
                let below = path.strip_prefix(root()).expect("below the root");
                found.push(Source {
                    path: below.to_str().expect("a UTF-8 path").to_owned(),
                    text: read(&path),
                });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 100, "the workspace is not where it was");
    found
}
