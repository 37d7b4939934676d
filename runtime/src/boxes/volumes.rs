//! New volumes: what the image has at their place is copied in, as docker does
//! it, so that a service finds its first files with their owners.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use holdall_image::RootDir;
use holdall_image::root::{Kind, Metadata, RootError};

/// Why the content of an image can't be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// An entry can't be read or made.
    #[error("cannot copy {}", path.display())]
    Entry {
        /// Where, in the volume.
        path: PathBuf,
        /// Why.
        #[source]
        cause: RootError,
    },
    /// A file's bytes can't be read or written.
    #[error("cannot copy the content of {}", path.display())]
    Content {
        /// Where, in the volume.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Folders in folders without end.
    #[error("cannot copy {}: more than {MAX_DEPTH} folders deep", path.display())]
    TooDeep {
        /// Where, in the volume.
        path: PathBuf,
    },
}

/// The deepest nesting that is copied; an image can't make it overflow the
/// stack.
const MAX_DEPTH: usize = 256;

/// Copies what `from` has below `source` into the empty directory `to`: modes,
/// owners, times, attributes, links, devices. A `source` that isn't a
/// directory gives an empty volume.
pub(crate) fn fill(from: &RootDir, source: &Path, to: &RootDir) -> Result<(), CopyError> {
    let root = Path::new("");
    let entry = |cause| CopyError::Entry {
        path: source.to_owned(),
        cause,
    };
    let Some(found) = from.stat_follow(source).map_err(entry)? else {
        return Ok(());
    };
    if found.kind != Kind::Directory {
        return Ok(());
    }
    // Links on the way to it are resolved once, by its descriptor.
    let from = RootDir::from_fd(from.open_dir(source).map_err(entry)?);
    let mut copy = Copy {
        from: &from,
        to,
        names: BTreeMap::new(),
    };
    copy.directory(root, &found, 0)
}

struct Copy<'a> {
    from: &'a RootDir,
    to: &'a RootDir,
    /// The first name of each inode that has several.
    names: BTreeMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn directory(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        depth: usize,
    ) -> Result<(), CopyError> {
        if depth > MAX_DEPTH {
            return Err(CopyError::TooDeep {
                path: path.to_owned(),
            });
        }
        for name in self.from.entries(path).map_err(at(path))? {
            let inner = path.join(name);
            let Some(found) = self.from.stat(&inner).map_err(at(&inner))? else {
                continue;
            };
            match found.kind {
                Kind::Directory => {
                    self.to.mkdir(&inner, 0o700).map_err(at(&inner))?;
                    self.directory(&inner, &found, depth + 1)?;
                }
                Kind::File
                | Kind::Symlink
                | Kind::CharDevice
                | Kind::BlockDevice
                | Kind::Fifo
                | Kind::Socket => self.leaf(&inner, &found)?,
            }
        }
        // Last, since writing into it changes its time.
        self.metadata(path, metadata)
    }

    fn leaf(&mut self, path: &Path, metadata: &Metadata) -> Result<(), CopyError> {
        if metadata.links > 1 {
            if let Some(first) = self.names.get(&(metadata.dev, metadata.ino)) {
                return self.to.link(first, path).map_err(at(path));
            }
            self.names
                .insert((metadata.dev, metadata.ino), path.to_owned());
        }
        match metadata.kind {
            Kind::Symlink => {
                let target = self.from.read_link(path).map_err(at(path))?;
                self.to.symlink(&target, path).map_err(at(path))?;
            }
            Kind::File => {
                let mut read = self.from.open_file(path).map_err(at(path))?;
                let mut write = self.to.create_file(path, 0o600).map_err(at(path))?;
                io::copy(&mut read, &mut write).map_err(|cause| CopyError::Content {
                    path: path.to_owned(),
                    cause,
                })?;
            }
            kind @ (Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::Socket) => {
                self.to
                    .mknod(path, kind, 0o600, metadata.rdev)
                    .map_err(at(path))?;
            }
            Kind::Directory => {}
        }
        self.metadata(path, metadata)
    }

    /// Owner first: a change of owner takes set-id bits away.
    fn metadata(&self, path: &Path, metadata: &Metadata) -> Result<(), CopyError> {
        self.to
            .set_owner(path, metadata.uid, metadata.gid)
            .map_err(at(path))?;
        for (name, value) in self.from.xattrs(path).map_err(at(path))? {
            if !is_overlays_own(&name) {
                self.to.set_xattr(path, &name, &value).map_err(at(path))?;
            }
        }
        if metadata.kind != Kind::Symlink {
            self.to.set_mode(path, metadata.mode).map_err(at(path))?;
        }
        // The root of a volume has no name to set a time by.
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        self.to
            .set_mtime(path, metadata.mtime, metadata.mtime_nanos)
            .map_err(at(path))
    }
}

fn is_overlays_own(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"trusted.overlay.")
}

fn at(path: &Path) -> impl FnOnce(RootError) -> CopyError {
    move |cause| CopyError::Entry {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn a_volume_gets_the_images_files_with_owners_modes_and_links() {
        let image = tempfile::tempdir().expect("image");
        let volume = tempfile::tempdir().expect("volume");
        let data = image.path().join("srv/data");
        fs::create_dir_all(data.join("deep")).expect("made");
        fs::write(data.join("deep/file"), "content").expect("written");
        fs::set_permissions(data.join("deep/file"), fs::Permissions::from_mode(0o4711))
            .expect("mode");
        fs::hard_link(data.join("deep/file"), data.join("same")).expect("linked");
        // An absolute link means the image's root, on the way and within.
        std::os::unix::fs::symlink("/srv/data", image.path().join("data")).expect("linked");
        std::os::unix::fs::symlink("/etc/passwd", data.join("out")).expect("linked");
        std::os::unix::fs::chown(&data, Some(1234), Some(4321)).expect("owner");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).expect("mode");

        let from = RootDir::open(image.path()).expect("image");
        let to = RootDir::open(volume.path()).expect("volume");
        fill(&from, Path::new("/data"), &to).expect("copied");

        let at = |path: &str| fs::symlink_metadata(volume.path().join(path)).expect(path);
        assert_eq!(
            (at("").uid(), at("").gid(), at("").mode() & 0o7777),
            (1234, 4321, 0o750)
        );
        assert_eq!(at("deep/file").mode() & 0o7777, 0o4711);
        assert_eq!(at("deep/file").ino(), at("same").ino());
        assert!(at("out").is_symlink());
        assert_eq!(
            fs::read_to_string(volume.path().join("same")).expect("read"),
            "content"
        );
    }

    #[test]
    fn a_place_that_the_image_does_not_have_gives_an_empty_volume() {
        let image = tempfile::tempdir().expect("image");
        let volume = tempfile::tempdir().expect("volume");
        let from = RootDir::open(image.path()).expect("image");
        let to = RootDir::open(volume.path()).expect("volume");
        fill(&from, Path::new("/nowhere"), &to).expect("nothing to copy");
        assert_eq!(fs::read_dir(volume.path()).expect("listed").count(), 0);
    }
}
