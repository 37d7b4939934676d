//! `copy`: files of the context to layers. And the single files that every
//! image gets.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use holdall_image::{PackedLayer, Tree as Below};
use holdall_protocol::diagnostic::Diagnostic;
use sha2::{Digest as _, Sha256};

use super::make::make;
use super::{Executor, stopped};
use crate::check::Accounts;
use crate::context::{self, Node, Tree};
use crate::error::BuildError;
use crate::layer::{Bytes, Filling, Owner, Source, parts};
use crate::toml::Copy;

/// The layers of what `tree` has, where `copy` says, over the layers `below`.
pub(super) fn copy(
    executor: &Executor<'_>,
    copy: &Copy,
    tree: &Tree,
    most: u64,
    below: &Below,
) -> Result<Vec<PackedLayer>, BuildError> {
    let owner = owner(executor, copy, below)?;
    let mut filling = Filling::new(below)?;
    let target = target(copy, tree);
    for entry in &tree.entries {
        stopped(executor.build.stop)?;
        let path = if entry.path.as_os_str().is_empty() {
            target.clone()
        } else {
            target.join(&entry.path)
        };
        match &entry.node {
            Node::Folder => filling.folder(&path, owner)?,
            Node::Link(to) => filling.link(&path, to, owner)?,
            Node::File {
                executable,
                size,
                content,
            } => {
                let mode = copy.mode.unwrap_or(if *executable { 0o755 } else { 0o644 });
                let bytes = Bytes {
                    content: *content,
                    size: *size,
                    from: entry.path.clone(),
                };
                filling.file(&path, mode, owner, bytes)?;
            }
        }
    }
    let source = FromContext { executor, tree };
    make(executor, &parts(filling.finish(), most), &source)
}

/// The layer of a single file.
pub(super) fn one_file(
    executor: &Executor<'_>,
    path: &str,
    mode: u32,
    held: &[u8],
    below: &Below,
) -> Result<Vec<PackedLayer>, BuildError> {
    let mut filling = Filling::new(below)?;
    let bytes = Bytes {
        content: Sha256::digest(held).into(),
        size: held.len() as u64,
        from: PathBuf::new(),
    };
    filling.file(Path::new(path), mode, Owner::default(), bytes)?;
    make(executor, &[filling.finish()], &Held { executor, held })
}

/// Files of the context.
struct FromContext<'a> {
    executor: &'a Executor<'a>,
    tree: &'a Tree,
}

impl Source for FromContext<'_> {
    fn fill(&self, path: &Path, bytes: &Bytes, out: &mut File) -> Result<(), BuildError> {
        let file = self.tree.open(&bytes.from)?;
        let mut hasher = Sha256::new();
        let written = context::copy(&file, &mut |bytes| {
            hasher.update(bytes);
            out.write_all(bytes)
        });
        written.map_err(|source| BuildError::WriteLayer {
            path: path.to_owned(),
            source,
        })?;
        // The key speaks of what was read before.
        if hasher.finalize().as_slice() == bytes.content.as_slice() {
            Ok(())
        } else {
            Err(self.tree.changed(&bytes.from).into())
        }
    }

    fn stopped(&self) -> Result<(), BuildError> {
        stopped(self.executor.build.stop)
    }
}

/// A file that is in memory.
struct Held<'a> {
    executor: &'a Executor<'a>,
    held: &'a [u8],
}

impl Source for Held<'_> {
    fn fill(&self, path: &Path, _: &Bytes, out: &mut File) -> Result<(), BuildError> {
        out.write_all(self.held)
            .map_err(|source| BuildError::WriteLayer {
                path: path.to_owned(),
                source,
            })
    }

    fn stopped(&self) -> Result<(), BuildError> {
        stopped(self.executor.build.stop)
    }
}

/// A folder's content goes to `to` itself; so does a file, unless `to` ends
/// with a slash.
fn target(copy: &Copy, tree: &Tree) -> PathBuf {
    let to = PathBuf::from(&copy.to.value);
    if !tree.is_folder() && copy.to.value.ends_with('/') {
        to.join(tree.name())
    } else {
        to
    }
}

fn owner(executor: &Executor<'_>, copy: &Copy, below: &Below) -> Result<Owner, BuildError> {
    let Some(wanted) = &copy.owner else {
        return Ok(Owner::default());
    };
    match Accounts::read(below)?.find(&wanted.value) {
        Ok(account) => Ok(Owner {
            uid: account.uid,
            gid: account.gid,
        }),
        Err(error) => {
            let help = "at this point the image has only what `from` and `packages` bring: \
                        write the number, or `chown` in a command of `run`";
            let found = Diagnostic {
                message: error.to_string(),
                span: wanted.span.clone(),
                help: Some(help.to_owned()),
            };
            let source = &executor.prepared.source;
            Err(BuildError::invalid(&source.path, &source.text, &[found]))
        }
    }
}
