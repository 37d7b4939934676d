//! From a `holdall.toml` to an image: text → plan → layers → image.
//!
//! **Invariant:** the same inputs make the same image to the last bit, and
//! nothing is tagged that was not checked. This crate never speaks to a
//! network itself, never mounts, and never follows a path out of the context:
//! commands are run by `holdall-runtime`, packages are apt's.
//!
//! ```text
//! toml/       text → Source: what the image and its services are
//! context     files that may be copied, and stat_index: what they held
//! plan        Source and facts → steps with their keys, pure
//! cache/      key → what the step made
//! execute/    step → layer; diff: what a command changed
//! packages    chosen by apt, kept by digest; lock: which; bootstrap: unpacked
//! check/      services against the files of the image
//! fsck        whether cache and kept packages are whole
//! ```
#![forbid(unsafe_code)]

mod bootstrap;
mod cache;
mod check;
mod config;
mod context;
mod deb;
mod diff;
mod error;
mod execute;
pub mod fsck;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod host;
mod init;
mod inspect;
mod layer;
mod lines;
mod lock;
mod mirror;
mod new_project;
mod packages;
mod plan;
mod prepare;
mod program;
mod stat_index;
mod toml;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use holdall_image::store::Image;
use holdall_image::{Reference, Store};
use holdall_runtime::dirs::Dirs;

pub use crate::cache::CacheError;
pub use crate::check::Finding;
pub use crate::context::ContextError;
pub use crate::diff::DiffError;
pub use crate::error::BuildError;
pub use crate::init::Init;
pub use crate::lock::{Lock, LockError, Package};
pub use crate::new_project::{NewError, new_project};
pub use crate::plan::{Plan, PlannedStep};
pub use crate::program::ProgramError;

use crate::cache::Cache;
use crate::prepare::Prepared;

/// What is to be built, and with what.
#[derive(Debug)]
pub struct Build<'a> {
    /// The folder whose files may be copied.
    pub context: &'a Path,
    /// The description; `context`/holdall.toml where none.
    pub file: Option<&'a Path>,
    /// What the image is called; the file's `name` where empty.
    pub tags: Vec<Reference>,
    /// The state root.
    pub dirs: &'a Dirs,
    /// The store in it.
    pub store: &'a Store,
    /// The static init for the images.
    pub init: Init<'a>,
    /// Whether every step is run again.
    pub no_cache: bool,
    /// Ends the build soon after it turns true.
    pub stop: &'a AtomicBool,
}

/// What a build is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A step begins.
    Step {
        /// Which, from 1.
        index: usize,
        /// Of how many.
        count: usize,
        /// What it does.
        name: String,
    },
    /// A step's result was there already.
    Cached {
        /// Which, from 1.
        index: usize,
        /// Of how many.
        count: usize,
        /// What it does.
        name: String,
    },
    /// A line of output of the step that runs.
    Output {
        /// The line, without control characters.
        line: String,
    },
    /// A step ended.
    Done {
        /// Which, from 1.
        index: usize,
        /// How long it took, in milliseconds.
        millis: u64,
    },
}

/// A finished build.
#[derive(Debug, Clone)]
pub struct Built {
    /// The image.
    pub image: Image,
    /// What it is called now.
    pub tags: Vec<Reference>,
    /// Steps that were run.
    pub ran: usize,
    /// Steps whose result was there already.
    pub cached: usize,
    /// Bytes of its layers as they are stored.
    pub size: u64,
    /// How long all of it took, in milliseconds.
    pub millis: u64,
}

/// What a build would do. Files of the context are read as far as they have
/// changed; nothing else is touched.
///
/// # Errors
/// The file or the context is wrong.
pub fn plan(build: &Build<'_>) -> Result<Plan, BuildError> {
    let cache = Cache::open(build.dirs.cache())?;
    let prepared = Prepared::read(build, &cache)?;
    let tags = prepared.tags(build)?;
    Ok(inspect::plan(build, &cache, &prepared, tags))
}

/// Builds the image and gives it its names.
///
/// # Errors
/// See [`BuildError`]. After any of them no name has changed, and what was
/// half-made is gone; finished steps stay in the cache.
pub fn build(build: &Build<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Built, BuildError> {
    let started = host::clock();
    let cache = Cache::open(build.dirs.cache())?;
    let mut prepared = Prepared::read(build, &cache)?;
    let tags = prepared.tags(build)?;
    let (image, ran, cached) = match inspect::finished(build, &cache, &prepared) {
        Some(image) => {
            cache.sweep()?;
            let count = prepared.steps.count();
            for (at, name) in prepared.steps.names().enumerate() {
                progress(Progress::Cached {
                    index: at + 1,
                    count,
                    name: name.to_owned(),
                });
            }
            (image, 0, count)
        }
        None => {
            let workspace = cache.workspace()?;
            let executed = execute::run(build, &cache, &mut prepared, workspace, progress)?;
            (executed.image, executed.ran, executed.cached)
        }
    };
    prepared.settle_index(build);
    for tag in &tags {
        // Known already in an unchanged build, which then writes nothing.
        if build
            .store
            .resolve(&tag.to_string())
            .is_ok_and(|known| known.digest == image.digest)
        {
            continue;
        }
        build.store.tag(tag, &image)?;
    }
    let size = image.manifest.layers.iter().map(|layer| layer.size).sum();
    let millis = u64::try_from(host::clock().saturating_duration_since(started).as_millis());
    Ok(Built {
        image,
        tags,
        ran,
        cached,
        size,
        millis: millis.unwrap_or(u64::MAX),
    })
}

/// What is wrong with the services, as far as it can be known: the file alone,
/// and its services against the files of the image as far as its steps are in
/// the cache.
///
/// # Errors
/// The file itself is wrong, and why.
pub fn check(build: &Build<'_>) -> Result<Vec<Finding>, BuildError> {
    let cache = Cache::open(build.dirs.cache())?;
    let prepared = Prepared::read(build, &cache)?;
    inspect::check(build, &cache, &prepared)
}
