//! Why a build failed.

use std::io;
use std::path::{Path, PathBuf};

use holdall_image::archive::ArchiveError;
use holdall_image::reference::ReferenceError;
use holdall_image::tree::TreeError;
use holdall_image::{LayerError, StoreError};
use holdall_protocol::diagnostic::{self, Diagnostic};
use holdall_runtime::step::StepError;

use crate::cache::CacheError;
use crate::check::Finding;
use crate::context::ContextError;
use crate::diff::DiffError;
use crate::program::ProgramError;

/// Why a build failed. Nothing half-made is left and nothing is tagged.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The build was told to stop.
    #[error("the build was stopped")]
    Stopped,
    /// The folder of the build is not there.
    #[error("cannot find the folder {}", context.display())]
    NoContext {
        /// Which.
        context: PathBuf,
    },
    /// It has neither a holdall.toml nor a Dockerfile.
    #[error("cannot find {}", context.join("holdall.toml").display())]
    NoFile {
        /// The folder.
        context: PathBuf,
    },
    /// It has only a Dockerfile.
    #[error("cannot build {}: the Dockerfile front end is not built yet", path.display())]
    Dockerfile {
        /// Which.
        path: PathBuf,
    },
    /// A file can't be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The holdall.toml is wrong; every error with its place.
    #[error("{count} in {}\n{rendered}", path.display(), count = counted(*count))]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// How many errors.
        count: usize,
        /// They, with line and caret.
        rendered: String,
    },
    /// Neither `name` nor a tag says what the image is called.
    #[error("the image has no name")]
    NoName,
    /// `name` can't be the name of an image.
    #[error("cannot name the image {name:?}")]
    BadName {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
    /// SOURCE_DATE_EPOCH is no number of seconds.
    #[error("SOURCE_DATE_EPOCH is {0:?}, not a number of seconds since 1970")]
    Epoch(String),
    /// holdall.lock can't be used.
    #[error("cannot use {}: {reason}", path.display())]
    Lock {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// holdall.lock can't be written.
    #[error("cannot write {}", path.display())]
    WriteLock {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A base can't be taken in.
    #[error("cannot import {}", path.display())]
    Import {
        /// From where.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<ArchiveError>,
    },
    /// An archive or layout has not the one image that was asked for.
    #[error("cannot use {} as a base: it has {found}", path.display())]
    NotOneImage {
        /// Which.
        path: PathBuf,
        /// What it has.
        found: String,
    },
    /// Packages can't be chosen, fetched or unpacked.
    #[error("cannot {verb}")]
    Packages {
        /// What was to be done.
        verb: &'static str,
        /// Why not.
        #[source]
        source: ProgramError,
    },
    /// A package on disk is not what the lock says.
    #[error("cannot use the package {name}: {reason}")]
    Package {
        /// Which.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A command failed.
    #[error("step {step} failed: exit code {code}{}", shown(tail))]
    Failed {
        /// The step as the plan has it.
        step: String,
        /// The exit code of the command.
        code: u8,
        /// Its last lines.
        tail: Vec<String>,
    },
    /// A command can't be run at all.
    #[error("cannot run step {step}")]
    Run {
        /// The step as the plan has it.
        step: String,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// What a command changed can't be read.
    #[error("cannot take the changes of step {step}")]
    Changes {
        /// The step as the plan has it.
        step: String,
        /// Why.
        #[source]
        source: DiffError,
    },
    /// A file of a layer can't be made.
    #[error("cannot write {} into the image", path.display())]
    WriteLayer {
        /// The path in the image.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A copy would put something in the place of something else.
    #[error("cannot copy to {}: {reason}", path.display())]
    Target {
        /// The path in the image.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The context.
    #[error(transparent)]
    Context(ContextError),
    /// The build cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The store.
    #[error("cannot use the image store")]
    Store(#[from] StoreError),
    /// A layer can't be packed or unpacked.
    #[error("cannot make a layer")]
    Layer(#[from] LayerError),
    /// The files of the image can't be read.
    #[error("cannot read the files of the image")]
    Tree(#[from] TreeError),
}

impl BuildError {
    /// The errors of a file.
    pub(crate) fn invalid(path: &Path, text: &str, found: &[Diagnostic]) -> Self {
        let rendered = diagnostic::render(&path.display().to_string(), text, found);
        let rendered = rendered.trim_end().to_owned();
        Self::Invalid {
            path: path.to_owned(),
            count: found.len(),
            rendered,
        }
    }

    /// What the checks of the services have found.
    pub(crate) fn unfit(path: &Path, found: &[Finding]) -> Self {
        let rendered: Vec<String> = found.iter().map(ToString::to_string).collect();
        Self::Invalid {
            path: path.to_owned(),
            count: found.len(),
            rendered: rendered.join("\n"),
        }
    }

    /// A program's failure: a wish to stop is no failure of its own.
    pub(crate) fn packages(verb: &'static str) -> impl FnOnce(ProgramError) -> Self {
        move |source| match source {
            ProgramError::Stopped => Self::Stopped,
            source => Self::Packages { verb, source },
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoContext { .. } => "give the folder with the holdall.toml: `holdall build DIR`",
            Self::NoFile { .. } => "write one with `holdall new`",
            Self::Dockerfile { .. } => {
                "describe the image in a holdall.toml: `holdall new` writes one"
            }
            Self::NoName => {
                "write `name = \"shop\"` at the top of the holdall.toml, or give `-t NAME`"
            }
            Self::Lock { .. } => "delete it: the next build writes a new one",
            Self::Packages {
                source: ProgramError::Absent { package, .. },
                ..
            } => {
                return Some(format!("apt-get install {package}"));
            }
            Self::Store(source) => return source.hint(),
            Self::Target { reason: FOLDER, .. } => {
                "end `to` with a slash to copy a file into the folder"
            }
            Self::Failed { tail, .. }
            | Self::Packages {
                source: ProgramError::Failed { tail, .. },
                ..
            } if tail
                .iter()
                .any(|line| line.contains("No space left on device")) =>
            {
                SPACE
            }
            error if is_full(error) => SPACE,
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Why a file can't be where a folder is.
pub(crate) const FOLDER: &str = "a folder is in the way";

/// What to do about a full disk.
const SPACE: &str = "the disk is full: `holdall rmi` removes images";

impl From<ContextError> for BuildError {
    fn from(error: ContextError) -> Self {
        match error {
            ContextError::Stopped => Self::Stopped,
            error => Self::Context(error),
        }
    }
}

/// Whether the disk is full, somewhere in the chain of causes.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let cause = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(
            cause,
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        )
    })
}

fn counted(count: usize) -> String {
    if count == 1 {
        "an error".to_owned()
    } else {
        format!("{count} errors")
    }
}

fn shown(tail: &[String]) -> String {
    tail.iter().map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests;
