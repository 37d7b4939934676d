//! What a build must know before it runs a step: the file, the lock, the
//! state of the context and the base, and from them the steps and their keys.

use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use holdall_image::store::Image;
use holdall_image::{Digest, Reference};
use holdall_protocol::diagnostic::Diagnostic;

use crate::cache::key::Inputs;
use crate::cache::{Cache, Workspace, sweep_beside, write_atomic};
use crate::context::{self, Context, ContextError};
use crate::error::BuildError;
use crate::host::Host;
use crate::lock::Lock;
use crate::packages::Packages;
use crate::plan::{self, ARCHITECTURE, EPOCH, Keys, Steps};
use crate::program::ProgramError;
use crate::stat_index::StatIndex;
use crate::toml::{Base, Source};
use crate::{Build, Progress};

/// A lock is a few hundred bytes a package.
const MAX_LOCK: u64 = 16 * 1024 * 1024;

/// A build that is ready to run, but for packages that are not chosen yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) source: Source,
    pub(crate) host: Host,
    pub(crate) steps: Steps,
    /// The image of the store that the base is, if it is one.
    pub(crate) base_image: Option<Image>,
    /// None as long as the packages of the base are not chosen.
    pub(crate) keys: Option<Keys>,
    /// The chosen packages.
    pub(crate) lock: Option<Lock>,
    /// Where they are written down.
    pub(crate) lock_path: PathBuf,
    /// Whether what is written there is for other packages.
    pub(crate) stale_lock: bool,
    source_date_epoch: Option<i64>,
    index: StatIndex,
}

impl Prepared {
    /// Reads everything, and plans.
    pub(crate) fn read(build: &Build<'_>, cache: &Cache) -> Result<Self, BuildError> {
        let source = Source::read(build.context, build.file)?;
        let host = Host::read();
        let source_date_epoch = host.epoch.as_deref().map(parse_epoch).transpose()?;
        let lock_path = source.path.with_extension("lock");
        let written = match &source.image.from.value {
            Base::Bootstrap { .. } => read_lock(&lock_path)?,
            _ => None,
        };
        let stale_lock = written.as_ref().is_some_and(|lock| !answers(&source, lock));
        let lock = written.filter(|_| !stale_lock);
        let full = build.context.canonicalize();
        let mut index = StatIndex::load(cache.index_path(full.as_deref().unwrap_or(build.context)));

        let (base, base_image) = base(build, &source, lock.as_ref(), &mut index)?;
        let trees = trees(build, &source, &lock_path, &mut index)?;
        let steps = plan::steps(&source.image, &source.manifest, trees, &build.init.digest);
        let mut prepared = Self {
            source,
            host,
            steps,
            base_image,
            keys: None,
            lock,
            lock_path,
            stale_lock,
            source_date_epoch,
            index,
        };
        let epoch = prepared.epoch();
        prepared.keys = base.map(|base| prepared.steps.keys(&base, epoch));
        prepared.save_index();
        log::debug!("files of the context read: {}", prepared.index.read());
        Ok(prepared)
    }

    /// Chooses the packages of the base, writes the lock, and gives the steps
    /// their keys.
    pub(crate) fn resolve(
        &mut self,
        build: &Build<'_>,
        workspace: &Workspace,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), BuildError> {
        let Base::Bootstrap { suite } = &self.source.image.from.value else {
            return Ok(());
        };
        let packages = Packages {
            keep: build.dirs.packages(),
            workspace,
            host: &self.host,
            stop: build.stop,
        };
        let mut output = |line: &str| {
            progress(Progress::Output {
                line: line.to_owned(),
            })
        };
        let lock = packages.resolve(suite, &self.source.image.package_names(), &mut output);
        let lock = lock.map_err(|error| self.explain(error))?;
        // A build that was killed here has left no lock, so that the next one
        // comes by.
        sweep_beside(&self.lock_path);
        write_atomic(&self.lock_path, lock.to_toml().as_bytes()).map_err(|source| {
            BuildError::WriteLock {
                path: self.lock_path.clone(),
                source,
            }
        })?;
        let base = plan::bootstrap_inputs(&lock);
        self.lock = Some(lock);
        self.keys = Some(self.steps.keys(&base, self.epoch()));
        Ok(())
    }

    /// The error for a base that nobody has chosen.
    pub(crate) fn unresolved(&self) -> BuildError {
        BuildError::Lock {
            path: self.lock_path.clone(),
            reason: "no packages are chosen".to_owned(),
        }
    }

    /// Where apt doesn't know a package, its place in the file.
    fn explain(&self, error: BuildError) -> BuildError {
        let BuildError::Packages {
            source: ProgramError::Failed { tail, .. },
            ..
        } = &error
        else {
            return error;
        };
        let unknown = |name: &str| {
            let locate = format!("E: Unable to locate package {name}");
            let candidate = format!("E: Package '{name}' has no installation candidate");
            tail.iter()
                .any(|line| *line == locate || *line == candidate)
        };
        let packages = self.source.image.packages.iter();
        let unknown = packages.filter(|package| unknown(&package.value));
        let found: Vec<Diagnostic> = unknown
            .map(|package| Diagnostic {
                message: format!("Debian has no package {:?} in this release", package.value),
                span: package.span.clone(),
                help: None,
            })
            .collect();
        if found.is_empty() {
            return error;
        }
        BuildError::invalid(&self.source.path, &self.source.text, &found)
    }

    /// The time of the image and of everything the build makes in it.
    pub(crate) fn epoch(&self) -> i64 {
        let lock = self.lock.as_ref().map(|lock| lock.epoch);
        self.source_date_epoch.or(lock).unwrap_or(EPOCH)
    }

    /// What the image will be called.
    pub(crate) fn tags(&self, build: &Build<'_>) -> Result<Vec<Reference>, BuildError> {
        if !build.tags.is_empty() {
            return Ok(build
                .tags
                .iter()
                .cloned()
                .map(Reference::with_default_tag)
                .collect());
        }
        let name = self
            .source
            .manifest
            .name
            .as_deref()
            .ok_or(BuildError::NoName)?;
        let reference = name.parse::<Reference>();
        let reference = reference.map_err(|source| BuildError::BadName {
            name: name.to_owned(),
            source,
        })?;
        Ok(vec![reference.with_default_tag()])
    }

    /// Reads once more the files that had just been written when they were
    /// read first, so that the next build needs not.
    pub(crate) fn settle_index(&mut self, build: &Build<'_>) {
        let racy = self.index.take_racy();
        if racy.is_empty() {
            return;
        }
        for path in racy {
            let path = PathBuf::from(std::ffi::OsString::from_vec(path));
            let read = Context::open(build.context, None)
                .and_then(|context| context.reread(&path, &mut self.index));
            if let Err(error) = read {
                log::debug!("cannot remember {}: {error}", path.display());
            }
        }
        self.save_index();
    }

    fn save_index(&self) {
        if let Err(error) = self.index.save() {
            // The next build reads the files again; nothing else is lost.
            log::warn!("cannot save the stat index: {error}");
        }
    }
}

/// What each `copy` takes.
fn trees(
    build: &Build<'_>,
    source: &Source,
    lock_path: &Path,
    index: &mut StatIndex,
) -> Result<Vec<context::Tree>, BuildError> {
    let own = lock_path
        .strip_prefix(build.context)
        .ok()
        .map(Path::to_owned);
    let context = Context::open(build.context, own)?;
    let mut trees = Vec::new();
    for copy in &source.image.copy {
        let at_from =
            |error: &ContextError| invalid(source, copy.from.span.clone(), error.to_string(), None);
        match context.tree(&copy.from.value, index, build.stop) {
            Ok(tree) => trees.push(tree),
            Err(
                error @ (ContextError::Missing { .. }
                | ContextError::Outside { .. }
                | ContextError::Special { .. }),
            ) => return Err(at_from(&error)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(trees)
}

/// What the base is, as far as that is known.
fn base(
    build: &Build<'_>,
    source: &Source,
    lock: Option<&Lock>,
    index: &mut StatIndex,
) -> Result<(Option<Inputs>, Option<Image>), BuildError> {
    let from = &source.image.from;
    let unreadable = |path: &Path, error: std::io::Error| {
        let message = format!("cannot read {}: {error}", path.display());
        invalid(source, from.span.clone(), message, None)
    };
    let inputs = match &from.value {
        Base::Scratch => Inputs::Scratch,
        Base::Reference(reference) => match build.store.resolve(&reference.to_string()) {
            Ok(image) => {
                return Ok((Some(Inputs::Image(image.digest.to_string())), Some(image)));
            }
            Err(error) => {
                let (message, help) = (error.to_string(), error.hint());
                return Err(invalid(source, from.span.clone(), message, help));
            }
        },
        Base::Layout { dir, tag } => {
            // The index names everything else in the layout by digest.
            let path = build.context.join(dir).join("index.json");
            let index = std::fs::read(&path).map_err(|error| unreadable(&path, error))?;
            Inputs::Layout(Digest::of(&index).to_string(), tag.clone())
        }
        Base::Archive(file) => {
            let path = build.context.join(file);
            let path = path
                .canonicalize()
                .map_err(|error| unreadable(&path, error))?;
            let digest = context::file_digest(&path, index);
            let digest = digest.map_err(|error| unreadable(&path, error))?;
            Inputs::Archive(digest.iter().map(|byte| format!("{byte:02x}")).collect())
        }
        Base::Bootstrap { .. } => return Ok((lock.map(plan::bootstrap_inputs), None)),
    };
    Ok((Some(inputs), None))
}

/// Whether a lock is for what the file asks.
fn answers(source: &Source, lock: &Lock) -> bool {
    let packages = source.image.package_names();
    matches!(&source.image.from.value, Base::Bootstrap { suite }
        if lock.answers(suite, ARCHITECTURE, &packages))
}

fn invalid(
    source: &Source,
    span: Range<usize>,
    message: String,
    help: Option<String>,
) -> BuildError {
    let found = Diagnostic {
        message,
        span,
        help,
    };
    BuildError::invalid(&source.path, &source.text, &[found])
}

fn parse_epoch(text: &str) -> Result<i64, BuildError> {
    // The year 9999 is the last that RFC 3339 can write.
    let epoch = text
        .parse()
        .ok()
        .filter(|epoch| (0..253_402_300_800).contains(epoch));
    epoch.ok_or_else(|| BuildError::Epoch(text.to_owned()))
}

fn read_lock(path: &Path) -> Result<Option<Lock>, BuildError> {
    let failed = |reason| BuildError::Lock {
        path: path.to_owned(),
        reason,
    };
    match path.metadata() {
        Ok(found) if found.len() > MAX_LOCK => return Err(failed("it is too long".to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    Lock::from_toml(&text)
        .map(Some)
        .map_err(|error| failed(error.to_string()))
}
