//! A new layer: a folder in overlay form that is filled file by file, with an
//! explicit owner, mode and time for each, whatever the umask.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use holdall_image::Tree;
use holdall_image::root::Kind;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::error::{BuildError, FOLDER};

/// Who a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
}

/// Folders that the build makes.
const FOLDER_MODE: u32 = 0o755;

/// A layer that is being filled. Its folder is ours alone, and every folder in
/// it was made here: no path in it goes through a link.
#[derive(Debug)]
pub(crate) struct Filling<'a> {
    dir: &'a Path,
    below: &'a Tree,
    /// What a path of the image leads to, for folders that are in the layer.
    made: BTreeMap<PathBuf, Made>,
}

#[derive(Debug, Clone)]
struct Made {
    path: PathBuf,
    /// Whether the layers below have it.
    below: bool,
}

impl<'a> Filling<'a> {
    /// Fills `dir`, which is empty, over the layers of `below`.
    pub(crate) fn new(dir: &'a Path, below: &'a Tree) -> Result<Self, BuildError> {
        let root = Path::new("/");
        let mut filling = Self {
            dir,
            below,
            made: BTreeMap::new(),
        };
        if let Some(entry) = below.lookup(root)? {
            filling.adopt(root, &entry.metadata)?;
        } else {
            filling.dress(root, FOLDER_MODE, Owner::default())?;
        }
        filling.made.insert(
            root.to_owned(),
            Made {
                path: root.to_owned(),
                below: true,
            },
        );
        Ok(filling)
    }

    /// Makes a folder and those above it. Where the layers below have one, or
    /// a link to one, that is where it leads, and it stays as it is.
    pub(crate) fn folder(&mut self, path: &Path, owner: Owner) -> Result<PathBuf, BuildError> {
        let mut asked = PathBuf::from("/");
        for part in path.components() {
            let Component::Normal(name) = part else {
                continue;
            };
            let parent = self.made.get(&asked).cloned();
            let Some(parent) = parent else { continue };
            asked.push(name);
            if !self.made.contains_key(&asked) {
                let made = self.step(&parent, name, owner)?;
                self.made.insert(asked.clone(), made);
            }
        }
        Ok(self
            .made
            .get(&asked)
            .map_or(asked, |made| made.path.clone()))
    }

    fn step(&mut self, parent: &Made, name: &OsStr, owner: Owner) -> Result<Made, BuildError> {
        let path = parent.path.join(name);
        let refuse = |reason| {
            Err(BuildError::Target {
                path: path.clone(),
                reason,
            })
        };
        if parent.below {
            if let Some(entry) = self.below.lookup(&path)? {
                if entry.metadata.kind != Kind::Directory {
                    return refuse("a file is in the way");
                }
                // A link may lead anywhere: its folder's own parents come first.
                if entry.path != path {
                    let path = self.folder(&entry.path, owner)?;
                    return Ok(Made { path, below: true });
                }
                self.make(&path)?;
                self.adopt(&path, &entry.metadata)?;
                return Ok(Made { path, below: true });
            }
            if self.below.lookup_link(&path)?.is_some() {
                return refuse("a link that leads nowhere is in the way");
            }
        }
        if self
            .inside(&path)
            .symlink_metadata()
            .is_ok_and(|found| !found.is_dir())
        {
            return refuse("a file is in the way");
        }
        self.make(&path)?;
        self.dress(&path, FOLDER_MODE, owner)?;
        Ok(Made { path, below: false })
    }

    /// Makes a file in a folder made before, and fills it by `fill`.
    pub(crate) fn file(
        &mut self,
        path: &Path,
        mode: u32,
        owner: Owner,
        fill: &mut dyn FnMut(&mut File) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let path = self.place(path, owner)?;
        let inside = self.inside(&path);
        let mut options = File::options();
        options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW);
        let mut file = options
            .open(inside)
            .map_err(|source| write_error(&path, source))?;
        fill(&mut file)?;
        self.dress(&path, mode, owner)
    }

    /// Makes a file with this content.
    pub(crate) fn content(
        &mut self,
        path: &str,
        mode: u32,
        bytes: &[u8],
    ) -> Result<(), BuildError> {
        let path = Path::new(path);
        self.file(path, mode, Owner::default(), &mut |file| {
            file.write_all(bytes)
                .map_err(|source| write_error(path, source))
        })
    }

    /// Makes a link.
    pub(crate) fn link(
        &mut self,
        path: &Path,
        target: &OsStr,
        owner: Owner,
    ) -> Result<(), BuildError> {
        let path = self.place(path, owner)?;
        let inside = self.inside(&path);
        std::os::unix::fs::symlink(target, &inside)
            .and_then(|()| std::os::unix::fs::lchown(&inside, Some(owner.uid), Some(owner.gid)))
            .map_err(|source| write_error(&path, source))
    }

    /// Where a file may be made: its folders are there, and nothing that it
    /// can't replace is.
    fn place(&mut self, path: &Path, owner: Owner) -> Result<PathBuf, BuildError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(BuildError::Target {
                path: path.to_owned(),
                reason: FOLDER,
            });
        };
        let parent = self.folder(parent, owner)?;
        let path = parent.join(name);
        let below = self.below.lookup_link(&path)?;
        if below.is_some_and(|entry| entry.metadata.kind == Kind::Directory) {
            return Err(BuildError::Target {
                path,
                reason: FOLDER,
            });
        }
        match self.inside(&path).symlink_metadata() {
            Ok(found) if found.is_dir() => Err(BuildError::Target {
                path,
                reason: FOLDER,
            }),
            Ok(_) => {
                let removed = std::fs::remove_file(self.inside(&path));
                removed.map_err(|source| write_error(&path, source))?;
                Ok(path)
            }
            Err(_) => Ok(path),
        }
    }

    fn make(&self, path: &Path) -> Result<(), BuildError> {
        match std::fs::create_dir(self.inside(path)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(write_error(path, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A folder in a layer hides the attributes of the one below it, so it
    /// takes them.
    fn adopt(&self, path: &Path, below: &holdall_image::root::Metadata) -> Result<(), BuildError> {
        self.dress(
            path,
            below.mode,
            Owner {
                uid: below.uid,
                gid: below.gid,
            },
        )
    }

    /// Owner first: chown takes set-id bits away.
    fn dress(&self, path: &Path, mode: u32, owner: Owner) -> Result<(), BuildError> {
        let inside = self.inside(path);
        std::os::unix::fs::lchown(&inside, Some(owner.uid), Some(owner.gid))
            .and_then(|()| std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(mode)))
            .map_err(|source| write_error(path, source))
    }

    fn inside(&self, path: &Path) -> PathBuf {
        let relative = path.strip_prefix("/").unwrap_or(path);
        if relative.as_os_str().is_empty() {
            self.dir.to_owned()
        } else {
            self.dir.join(relative)
        }
    }
}

fn write_error(path: &Path, source: io::Error) -> BuildError {
    BuildError::WriteLayer {
        path: path.to_owned(),
        source,
    }
}

/// Which files get the epoch as their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// All of them.
    All,
    /// Those that are newer.
    Newer,
}

/// Gives the files of a layer their times, so that what lies in the folder is
/// what its archive says. The folder is ours alone, so that no link turns up
/// in the middle of a path.
pub(crate) fn settle(dir: &Path, epoch: i64, times: Times) -> io::Result<()> {
    let time = TimeSpec::new(epoch, 0);
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let found = path.symlink_metadata()?;
        if found.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                todo.push(entry?.path());
            }
        }
        let newer = (found.mtime(), found.mtime_nsec()) > (epoch, 0);
        if newer || times == Times::All {
            utimensat(
                AT_FDCWD,
                &path,
                &time,
                &time,
                UtimensatFlags::NoFollowSymlink,
            )?;
        }
    }
    Ok(())
}
