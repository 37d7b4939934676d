//! Packages as files: kept by digest, verified before each use.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::context;
use crate::error::BuildError;
use crate::lock::{Lock, Package};
use crate::packages::Packages;
use crate::program::Program;

/// The name of a kept package: its digest, since that is what a lock knows.
pub(crate) fn file_name(package: &Package) -> String {
    format!("{}.deb", package.sha256)
}

/// Checks that a file is the package of the lock.
pub(crate) fn verify(path: &Path, package: &Package) -> Result<(), BuildError> {
    let failed = |source| BuildError::ReadFile {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let found = context::hash(&file).map_err(failed)?;
    let hex: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    if hex == package.sha256 {
        return Ok(());
    }
    let reason = format!("{} has digest {hex}, not that of the lock", path.display());
    Err(BuildError::Package {
        name: package.name.clone(),
        reason,
    })
}

/// When a package was built, in seconds since 1970: the time of its first
/// member. A .deb is an ar archive whose times come from its changelog.
pub(crate) fn package_time(path: &Path) -> io::Result<i64> {
    let mut head = [0; 8 + 60];
    File::open(path)?.read_exact(&mut head)?;
    let time = head
        .strip_prefix(b"!<arch>\n")
        .and_then(|member| member.get(16..28));
    let time = time.and_then(|digits| std::str::from_utf8(digits).ok());
    let time = time.and_then(|digits| digits.trim_end().parse().ok());
    time.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a Debian package"))
}

/// The paragraphs of apt's index for kept packages, by digest.
pub(crate) fn index(
    packages: &Packages<'_>,
    lock: &Lock,
    progress: &mut dyn FnMut(&str),
) -> Result<String, BuildError> {
    // One shell for all of them: a start of each in its own namespace would
    // take longer than the work.
    let script = "for deb; do dpkg-deb -f \"$deb\" && printf 'Filename: ./%s\\n\\n' \"${deb##*/}\" || exit 1; done";
    let mut args: Vec<String> = ["-c", script, "sh"].map(str::to_owned).to_vec();
    for package in &lock.packages {
        let path = packages.kept(package);
        verify(&path, package)?;
        args.push(path.display().to_string());
    }
    let program = Program {
        name: "sh",
        package: "dash",
        args,
        env: Vec::new(),
        temporary: packages.workspace.path(),
    };
    let text = program
        .run(packages.stop, progress)
        .map_err(BuildError::packages("read the packages"))?;
    let text = String::from_utf8_lossy(&text);
    let by_digest: BTreeMap<&str, &Package> = lock
        .packages
        .iter()
        .map(|package| (package.sha256.as_str(), package))
        .collect();
    let mut index = String::new();
    for paragraph in text
        .split("\n\n")
        .filter(|paragraph| !paragraph.trim().is_empty())
    {
        let name = paragraph
            .rsplit_once("\nFilename: ./")
            .and_then(|(_, file)| file.strip_suffix(".deb"));
        let Some(package) = name.and_then(|name| by_digest.get(name)) else {
            continue;
        };
        let field = |name: &str, value: &str| {
            paragraph
                .lines()
                .any(|line| line.strip_prefix(name).map(str::trim) == Some(value))
        };
        if !field("Package:", &package.name) || !field("Version:", &package.version) {
            let reason = format!("{} is another package or version", file_name(package));
            return Err(BuildError::Package {
                name: package.name.clone(),
                reason,
            });
        }
        let Package { size, sha256, .. } = package;
        index.extend([paragraph, &format!("\nSize: {size}\nSHA256: {sha256}\n\n")]);
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packages_time_is_that_of_its_first_member() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.deb");
        std::fs::write(
            &path,
            format!(
                "!<arch>\n{:<16}{:<12}{:<32}rest",
                "debian-binary", 1_700_000_000, ""
            ),
        )
        .unwrap();
        assert_eq!(package_time(&path).unwrap(), 1_700_000_000);
        std::fs::write(&path, "x".repeat(100)).unwrap();
        assert!(package_time(&path).is_err());
    }

    #[test]
    fn a_package_that_is_not_the_locks_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.deb");
        std::fs::write(&path, "x").unwrap();
        let package = Package {
            name: "a".into(),
            version: "1".into(),
            architecture: "all".into(),
            sha256: "0".repeat(64),
            size: 1,
            url: String::new(),
        };
        assert!(matches!(
            verify(&path, &package),
            Err(BuildError::Package { .. })
        ));
    }
}
