//! `copy`: files of the context to a layer.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use holdall_image::Tree as Below;
use holdall_protocol::diagnostic::Diagnostic;
use sha2::{Digest as _, Sha256};

use super::{Executor, stopped};
use crate::check::Accounts;
use crate::context::{self, Node, Tree};
use crate::error::BuildError;
use crate::layer::{Filling, Owner};
use crate::toml::Copy;

/// Copies what `tree` has to where `copy` says, into the empty folder `dir`.
pub(super) fn copy(
    executor: &Executor<'_>,
    copy: &Copy,
    tree: &Tree,
    below: &Below,
    dir: &Path,
) -> Result<(), BuildError> {
    let owner = owner(executor, copy, below)?;
    let mut filling = Filling::new(dir, below)?;
    let target = target(copy, tree);
    for entry in &tree.entries {
        stopped(executor.build.stop)?;
        let path = if entry.path.as_os_str().is_empty() {
            target.clone()
        } else {
            target.join(&entry.path)
        };
        match &entry.node {
            Node::Folder => {
                filling.folder(&path, owner)?;
            }
            Node::Link(to) => filling.link(&path, to, owner)?,
            Node::File {
                executable,
                content,
            } => {
                let mode = copy.mode.unwrap_or(if *executable { 0o755 } else { 0o644 });
                filling.file(&path, mode, owner, &mut |out| {
                    let file = tree.open(&entry.path)?;
                    let mut hasher = Sha256::new();
                    let written = context::copy(&file, &mut |bytes| {
                        hasher.update(bytes);
                        out.write_all(bytes)
                    });
                    written.map_err(|source| BuildError::WriteLayer {
                        path: path.clone(),
                        source,
                    })?;
                    // The key speaks of what was read before.
                    if hasher.finalize().as_slice() == content.as_slice() {
                        Ok(())
                    } else {
                        Err(tree.changed(&entry.path).into())
                    }
                })?;
            }
        }
    }
    Ok(())
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
