//! Where files go: every path over the layers below, whose folders are kept
//! and whose links to folders are followed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use holdall_image::Tree;
use holdall_image::root::{Kind, Metadata};

use super::{Bytes, Contents, Owner, What};
use crate::error::{BuildError, FOLDER};

/// Folders that the build makes.
const FOLDER_MODE: u32 = 0o755;

/// A layer that is being filled.
#[derive(Debug)]
pub(crate) struct Filling<'a> {
    below: &'a Tree,
    /// What a path of the image leads to, for folders that are in the layer.
    made: HashMap<PathBuf, Made>,
    contents: Contents,
}

#[derive(Debug, Clone)]
struct Made {
    path: PathBuf,
    /// Whether the layers below have it.
    below: bool,
}

impl<'a> Filling<'a> {
    /// An empty layer over those of `below`.
    pub(crate) fn new(below: &'a Tree) -> Result<Self, BuildError> {
        let root = Path::new("/");
        let mut filling = Self {
            below,
            made: HashMap::new(),
            contents: Contents::default(),
        };
        match below.lookup(root)? {
            Some(entry) => filling.adopt(root, &entry.metadata),
            None => filling
                .contents
                .put(root, FOLDER_MODE, Owner::default(), What::Folder),
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

    /// Everything that was put in.
    pub(crate) fn finish(self) -> Contents {
        self.contents
    }

    /// Puts in a folder and those above it. Where the layers below have one,
    /// or a link to one, that is where it leads, and it stays as it is.
    pub(crate) fn folder(&mut self, path: &Path, owner: Owner) -> Result<(), BuildError> {
        self.enter(path, owner).map(drop)
    }

    fn enter(&mut self, path: &Path, owner: Owner) -> Result<Made, BuildError> {
        if let Some(made) = self.made.get(path) {
            return Ok(made.clone());
        }
        let mut asked = PathBuf::from("/");
        let mut here = Made {
            path: asked.clone(),
            below: true,
        };
        for part in path.components() {
            let Component::Normal(name) = part else {
                continue;
            };
            asked.push(name);
            here = match self.made.get(&asked) {
                Some(made) => made.clone(),
                None => {
                    let made = self.step(&here, name, owner)?;
                    self.made.insert(asked.clone(), made.clone());
                    made
                }
            };
        }
        Ok(here)
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
                    return self.enter(&entry.path, owner);
                }
                self.adopt(&path, &entry.metadata);
                return Ok(Made { path, below: true });
            }
            if self.below.lookup_link(&path)?.is_some() {
                return refuse("a link that leads nowhere is in the way");
            }
        }
        if self
            .contents
            .get(&path)
            .is_some_and(|what| *what != What::Folder)
        {
            return refuse("a file is in the way");
        }
        self.contents.put(&path, FOLDER_MODE, owner, What::Folder);
        Ok(Made { path, below: false })
    }

    /// Puts in a file, in place of one that is there.
    pub(crate) fn file(
        &mut self,
        path: &Path,
        mode: u32,
        owner: Owner,
        bytes: Bytes,
    ) -> Result<(), BuildError> {
        let path = self.place(path, owner)?;
        self.contents.put(&path, mode, owner, What::File(bytes));
        Ok(())
    }

    /// Puts in a link, likewise.
    pub(crate) fn link(
        &mut self,
        path: &Path,
        target: &OsStr,
        owner: Owner,
    ) -> Result<(), BuildError> {
        let path = self.place(path, owner)?;
        // Links have no mode of their own; Linux shows 0777.
        let target = What::Link(target.as_bytes().to_vec());
        self.contents.put(&path, 0o777, owner, target);
        Ok(())
    }

    /// Where a file goes: its folders are there, and no folder is in its way.
    fn place(&mut self, path: &Path, owner: Owner) -> Result<PathBuf, BuildError> {
        let refuse = |path| {
            Err(BuildError::Target {
                path,
                reason: FOLDER,
            })
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return refuse(path.to_owned());
        };
        let parent = self.enter(parent, owner)?;
        let path = parent.path.join(name);
        if parent.below {
            let below = self.below.lookup_link(&path)?;
            if below.is_some_and(|entry| entry.metadata.kind == Kind::Directory) {
                return refuse(path);
            }
        }
        if self.contents.get(&path) == Some(&What::Folder) {
            return refuse(path);
        }
        Ok(path)
    }

    /// A folder in a layer hides the attributes of the one below it, so it
    /// takes them.
    fn adopt(&mut self, path: &Path, below: &Metadata) {
        let owner = Owner {
            uid: below.uid,
            gid: below.gid,
        };
        self.contents.put(path, below.mode, owner, What::Folder);
    }
}
