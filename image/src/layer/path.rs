//! What the path of a layer's entry asks for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::limits::Limits;
use super::{OPAQUE, Refusal, WHITEOUT};

/// What the last component of an entry's path asks for.
pub(super) enum Target<'p> {
    /// The layer's root itself.
    Root,
    /// `.wh..wh..opq` in this directory.
    Opaque(PathBuf),
    /// `.wh.NAME` in this directory.
    Whiteout(PathBuf, &'p OsStr),
    /// An inode of this name in this directory.
    Make(PathBuf, &'p OsStr),
}

impl<'p> Target<'p> {
    /// Splits a stored path into its directory and what is asked there.
    pub(super) fn of(path: &'p [u8], limits: &Limits) -> Result<Target<'p>, Refusal> {
        if path.contains(&0) {
            return Err(Refusal::Nul);
        }
        if path.len() > limits.path {
            return Err(Refusal::PathTooLong);
        }
        let mut components = Vec::new();
        for component in path.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(Refusal::ParentDirectory),
                name if name.len() > 255 => return Err(Refusal::PathTooLong),
                name => components.push(name),
            }
        }
        if components.len() > limits.depth {
            return Err(Refusal::TooDeep);
        }
        let Some(last) = components.pop() else {
            return Ok(Target::Root);
        };
        if components.iter().any(|name| name.starts_with(WHITEOUT)) {
            return Err(Refusal::Whiteout);
        }
        let parent: PathBuf = components
            .iter()
            .map(|name| Path::new(OsStr::from_bytes(name)))
            .collect();
        if last == OPAQUE {
            return Ok(Target::Opaque(parent));
        }
        match last.strip_prefix(WHITEOUT) {
            None => Ok(Target::Make(parent, OsStr::from_bytes(last))),
            Some(b"" | b"." | b"..") => Err(Refusal::Whiteout),
            // `.wh..wh.` is aufs's own, and `.wh..wh..opq` the one part of it
            // that became the standard.
            Some(name) if name.starts_with(WHITEOUT) => Err(Refusal::Whiteout),
            Some(name) => Ok(Target::Whiteout(parent, OsStr::from_bytes(name))),
        }
    }
}
