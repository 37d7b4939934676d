//! Entrances to what is private here, for the workspace's `fuzz/`. Not built
//! otherwise.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use holdall_protocol::Manifest;
use holdall_protocol::diagnostic::Diagnostic;

use crate::check::elf;
use crate::lock::Package;
use crate::{deb, mirror, packages, toml};

/// The front end: the services of a text in which all is right.
pub fn holdall_toml(text: &str) -> Result<Manifest, Vec<Diagnostic>> {
    toml::describe(text, Path::new("/nowhere/Dockerfile")).map(|described| described.manifest)
}

/// What a program needs to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The loader.
    pub interpreter: Option<PathBuf>,
    /// Its libraries.
    pub libraries: Vec<PathBuf>,
    /// Where it looks for them.
    pub search: Vec<String>,
}

/// Reads an ELF file; none where it is anything else.
#[must_use]
pub fn elf(file: &File) -> Option<Needs> {
    elf::read(file).map(|elf| Needs {
        interpreter: elf.interpreter,
        libraries: elf.needed,
        search: elf.search,
    })
}

/// What apt says it would fetch.
#[must_use]
pub fn uris(text: &str) -> Vec<Package> {
    packages::parse_uris(text)
}

/// Addresses and releases of a sources file of the host.
#[must_use]
pub fn sources(text: &str) -> Vec<(String, String)> {
    mirror::sources_of(text)
}

/// When a .deb was built.
///
/// # Errors
/// It is none.
pub fn package_time(path: &Path) -> io::Result<i64> {
    deb::package_time(path)
}
