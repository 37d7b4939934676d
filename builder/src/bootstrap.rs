//! A Debian base from locked packages, by mmdebstrap, made the same to the
//! last bit whoever makes it.
//!
//! The first build, which chose the packages, and every later one from its
//! lock go the same way: mmdebstrap sees only a repository of exactly these
//! packages, made on the fly from the kept ones, and no network.

use std::io;
use std::path::{Path, PathBuf};

use crate::deb::{file_name, index};
use crate::error::BuildError;
use crate::lock::Lock;
use crate::mirror::Mirror;
use crate::packages::Packages;
use crate::plan::ARCHITECTURE;
use crate::program::Program;

/// What images have no use for, as in debian:slim: manuals, translations.
/// Copyright files stay. The image keeps this file, so that packages which are
/// added later leave out the same.
const SLIM: [&str; 9] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/groff/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/linda/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
];

/// What is left of the making, or differs each time, or is the host's own:
/// each is removed where it is there. A `/*` at the end means what is in it, a
/// `*.x` or `*x` every name that ends so.
pub(crate) const VOLATILE: [&str; 27] = [
    // The kernel's own nodes: a runtime makes its own.
    "dev/*",
    "proc/*",
    "sys/*",
    "run/*",
    "tmp/*",
    "var/tmp/*",
    // mmdebstrap copies the host's.
    "etc/resolv.conf",
    "etc/hostname",
    // mmdebstrap's own settings: they speak of files on the host.
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/sources.list.d/0000*.list",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    // Logs and caches, with times in them.
    "var/log/apt",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/cache/ldconfig/aux-cache",
    "var/cache/debconf/*-old",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/available",
    "var/lib/dpkg/lock*",
    "var/lib/dbus/machine-id",
    "var/backups/*",
    "etc/*-",
    "etc/.pwd.lock",
];

/// Makes the base in a new folder of the workspace.
pub(crate) fn bootstrap(
    packages: &Packages<'_>,
    lock: &Lock,
    epoch: i64,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, BuildError> {
    let repository = packages.workspace.folder("repository")?;
    let text = index(packages, lock, progress)?;
    packages
        .workspace
        .file("repository/Packages", text.as_bytes())?;
    for package in &lock.packages {
        let from = packages.kept(package);
        let to = repository.join(file_name(package));
        // Kept packages may lie on another file system.
        let placed =
            std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(|_| ()));
        placed.map_err(|source| BuildError::ReadFile { path: to, source })?;
    }
    let root = packages.workspace.path().join("root");
    let mut args: Vec<String> = [
        "--mode=root",
        "--format=directory",
        "--variant=apt",
        "--aptopt=APT::Sandbox::User \"root\"",
        "--dpkgopt=force-unsafe-io",
    ]
    .map(str::to_owned)
    .to_vec();
    args.push(format!("--architectures={ARCHITECTURE}"));
    args.extend(SLIM.map(|option| format!("--dpkgopt={option}")));
    if !lock.requested.is_empty() {
        args.push(format!("--include={}", lock.requested.join(",")));
    }
    args.push(lock.suite.clone());
    args.push(root.display().to_string());
    args.push(format!(
        "deb [trusted=yes] copy:{} ./",
        repository.display()
    ));
    let program = Program {
        name: "mmdebstrap",
        package: "mmdebstrap",
        args,
        env: [
            ("SOURCE_DATE_EPOCH", epoch.to_string()),
            // What python writes of itself on the way differs each time.
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("PYTHONHASHSEED", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec(),
        temporary: packages.workspace.path(),
    };
    program
        .run(packages.stop, progress)
        .map_err(BuildError::packages("unpack the packages"))?;
    let tidied = tidy(&root, &lock.suite);
    tidied.map_err(|source| BuildError::WriteLayer {
        path: "/".into(),
        source,
    })?;
    packages.workspace.clear(&repository);
    Ok(root)
}

/// Takes away what mmdebstrap leaves, and writes Debian's own sources.
fn tidy(root: &Path, suite: &str) -> io::Result<()> {
    for pattern in VOLATILE {
        remove(root, pattern)?;
    }
    write(
        &root.join("etc/apt/sources.list"),
        &Mirror::official().sources(suite, None),
    )?;
    write(
        &root.join("etc/dpkg/dpkg.cfg.d/holdall-slim"),
        &format!("{}\n", SLIM.join("\n")),
    )
}

/// The parents of these are folders of Debian's own packages, which were
/// unpacked here and by nobody else, so that no link leads out.
fn write(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
}

fn remove(root: &Path, pattern: &str) -> io::Result<()> {
    let path = root.join(pattern);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let name = name.as_encoded_bytes();
    let Some(star) = name.iter().position(|byte| *byte == b'*') else {
        return remove_path(&path);
    };
    let (before, after) = name.split_at(star);
    let after = after.get(1..).unwrap_or_default();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.len() >= before.len() + after.len()
            && name.starts_with(before)
            && name.ends_with(after)
        {
            remove_path(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_path(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let gone = [
            "dev/null",
            "etc/passwd-",
            "var/lib/dpkg/status-old",
            "var/log/apt/history.log",
            "etc/hostname",
        ];
        let kept = [
            "etc/passwd",
            "var/lib/dpkg/status",
            "var/log/nginx/x",
            "var/cache/apt/archives/x",
        ];
        for path in gone
            .iter()
            .chain(&kept)
            .chain(&["etc/apt/x", "etc/dpkg/dpkg.cfg.d/x"])
        {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), "").unwrap();
        }
        tidy(root, "bookworm").unwrap();
        for path in gone {
            assert!(!root.join(path).exists(), "{path}");
        }
        for path in kept {
            assert!(root.join(path).exists(), "{path}");
        }
        let sources = std::fs::read_to_string(root.join("etc/apt/sources.list")).unwrap();
        assert!(sources.starts_with("deb http://deb.debian.org/debian bookworm main\n"));
    }
}
