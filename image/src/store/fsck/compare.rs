//! An unpacked layer beside what its blob unpacks to.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::document::Descriptor;
use crate::layer::{LayerError, OPAQUE_XATTR, OVERLAY_XATTRS};
use crate::root::{Kind, Metadata, RootDir, RootError};
use crate::store::Store;

/// The first entry that differs, and in what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In the layer.
    pub path: PathBuf,
    /// What of it.
    pub what: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: {}", self.path.display(), self.what)
    }
}

/// Bytes of two files compared at a time.
const PIECE: usize = 64 * 1024;

impl Store {
    /// How the layer's directory differs from its blob.
    pub(super) fn difference(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
    ) -> Result<Option<Difference>, LayerError> {
        let temporary = self.new_layer()?;
        let blob = RootDir::open(temporary.path())?;
        self.unpack_blob(layer, diff_id, &blob)?;
        let found = RootDir::open(&self.layer_dir(diff_id))?;
        Ok(directory(&blob, &found, Path::new(""))?)
    }
}

fn directory(
    blob: &RootDir,
    found: &RootDir,
    path: &Path,
) -> Result<Option<Difference>, RootError> {
    let mut expected = blob.entries(path)?;
    let mut there = found.entries(path)?;
    expected.sort();
    there.sort();
    if let Some(extra) = there
        .iter()
        .find(|name| expected.binary_search(name).is_err())
    {
        return Ok(differs(&path.join(extra), "not in the layer"));
    }
    for name in expected {
        let inner = path.join(name);
        let (Some(a), Some(b)) = (blob.stat(&inner)?, found.stat(&inner)?) else {
            return Ok(differs(&inner, "missing"));
        };
        let difference = match metadata(&a, &b) {
            Some(what) => differs(&inner, what),
            None if attributes(blob, &inner)? != attributes(found, &inner)? => {
                differs(&inner, "its attributes")
            }
            None => match a.kind {
                Kind::Directory => directory(blob, found, &inner)?,
                Kind::File if !same_content(blob, found, &inner)? => differs(&inner, "its content"),
                Kind::Symlink if blob.read_link(&inner)? != found.read_link(&inner)? => {
                    differs(&inner, "where it leads")
                }
                Kind::File
                | Kind::Symlink
                | Kind::CharDevice
                | Kind::BlockDevice
                | Kind::Fifo
                | Kind::Socket => None,
            },
        };
        // Times last: whatever else was done to an entry changes one too.
        let difference = match difference {
            None if a.mtime != b.mtime => differs(&inner, "its time"),
            other => other,
        };
        if difference.is_some() {
            return Ok(difference);
        }
    }
    Ok(None)
}

fn differs(path: &Path, what: &'static str) -> Option<Difference> {
    Some(Difference {
        path: path.to_owned(),
        what,
    })
}

fn metadata(a: &Metadata, b: &Metadata) -> Option<&'static str> {
    let file = a.kind == Kind::File;
    let device = matches!(a.kind, Kind::CharDevice | Kind::BlockDevice);
    if a.kind != b.kind {
        Some("its kind")
    } else if (a.uid, a.gid) != (b.uid, b.gid) {
        Some("its owner")
    } else if a.kind != Kind::Symlink && a.mode != b.mode {
        Some("its mode")
    } else if file && a.size != b.size {
        Some("its size")
    } else if file && a.links != b.links {
        Some("its other names")
    } else if device && a.rdev != b.rdev {
        Some("its device")
    } else {
        None
    }
}

/// Those that a layer has: the overlay leaves notes of its own (where an entry
/// was copied from), of which only the opaque mark is the layer's.
fn attributes(root: &RootDir, path: &Path) -> Result<Vec<(OsString, Vec<u8>)>, RootError> {
    let mut attributes = root.xattrs(path)?;
    attributes.retain(|(name, _)| {
        let own = |prefix: &&[u8]| name.as_bytes().starts_with(prefix);
        name == OPAQUE_XATTR || !OVERLAY_XATTRS.iter().any(own)
    });
    attributes.sort();
    Ok(attributes)
}

fn same_content(a: &RootDir, b: &RootDir, path: &Path) -> Result<bool, RootError> {
    let (mut a, mut b) = (a.open_file(path)?, b.open_file(path)?);
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    let mut compare = || -> io::Result<bool> {
        loop {
            let read = a.read(&mut left)?;
            let (Some(piece), Some(other)) = (left.get(..read), right.get_mut(..read)) else {
                return Ok(false);
            };
            if read == 0 {
                return Ok(b.read(&mut right)? == 0);
            }
            match b.read_exact(other) {
                Ok(()) if piece == &*other => {}
                Ok(()) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    };
    compare().map_err(|source| RootError {
        action: "read",
        path: path.to_owned(),
        source,
    })
}
