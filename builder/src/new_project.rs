//! `holdall new`: a project that builds and runs as it is.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The files, and what is in them. `@NAME@` stands for the project's name.
const FILES: [(&str, &str); 3] = [
    ("holdall.toml", include_str!("new_project/holdall.toml")),
    ("nginx.conf", include_str!("new_project/nginx.conf")),
    ("www/index.html", include_str!("new_project/index.html")),
];

/// Why a project can't be written.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// A file of it is there already.
    #[error("cannot write {}: it is there already", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A folder can't be made.
    #[error("cannot make {}", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file can't be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes a project to `dir`, which is made if it isn't there, and returns the
/// files in it. What is there is never written over.
///
/// # Errors
/// Where a file is there already, or can't be written: then none is left.
pub fn new_project(dir: &Path, name: &str) -> Result<Vec<PathBuf>, NewError> {
    let name = image_name(name);
    let paths: Vec<PathBuf> = FILES.iter().map(|(file, _)| dir.join(file)).collect();
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(NewError::Exists { path: path.clone() });
    }
    let mut written = Vec::new();
    for (path, (_, text)) in paths.iter().zip(FILES) {
        if let Err(error) = write(path, &text.replace("@NAME@", &name)) {
            // The first error is the one to report.
            written
                .iter()
                .for_each(|path| drop(std::fs::remove_file(path)));
            return Err(error);
        }
        written.push(path.clone());
    }
    Ok(written)
}

fn write(path: &Path, text: &str) -> Result<(), NewError> {
    if let Some(folder) = path.parent() {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|source| NewError::Make {
            path: folder.to_owned(),
            source,
        })?;
    }
    let file = File::create_new(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => NewError::Exists {
            path: path.to_owned(),
        },
        _ => NewError::Write {
            path: path.to_owned(),
            source,
        },
    })
}

/// The name of an image from that of a folder: what may not stand there
/// becomes a dash.
fn image_name(name: &str) -> String {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let lower = name.to_lowercase();
    let words = lower
        .split(|c: char| !letter(c))
        .filter(|word| !word.is_empty());
    let name: Vec<&str> = words.collect();
    if name.is_empty() {
        "app".to_owned()
    } else {
        name.join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toml::Source;

    #[test]
    fn what_is_written_is_a_project_that_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("My Shop");
        let written = new_project(&project, "My Shop").unwrap();
        assert_eq!(written.len(), 3);
        let source = Source::read(&project, None).unwrap();
        assert_eq!(source.manifest.name.as_deref(), Some("my-shop"));
        for copy in &source.image.copy {
            assert!(project.join(&copy.from.value).exists(), "{copy:?}");
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("nginx.conf"), "mine").unwrap();
        let error = new_project(dir.path(), "shop").unwrap_err();
        assert!(matches!(error, NewError::Exists { .. }), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(
            std::fs::read_to_string(dir.path().join("nginx.conf")).unwrap(),
            "mine"
        );
    }

    #[test]
    fn a_folders_name_becomes_that_of_an_image() {
        for (folder, name) in [
            ("shop", "shop"),
            ("My Shop!", "my-shop"),
            ("Über", "ber"),
            ("..", "app"),
        ] {
            assert_eq!(image_name(folder), name);
        }
    }
}
