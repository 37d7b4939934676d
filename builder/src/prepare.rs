//! What a build must know before it runs a step: the file, the lock, the
//! state of the context and the base, and from them the steps.

use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use holdall_image::store::Image;
use holdall_image::{Digest, Reference, Tree};
use holdall_protocol::diagnostic::Diagnostic;

use crate::cache::key::Inputs;
use crate::cache::{Cache, Key, Workspace, write_atomic};
use crate::check::{self, Finding};
use crate::context::{self, Context, ContextError};
use crate::error::BuildError;
use crate::host::Host;
use crate::lock::Lock;
use crate::packages::Packages;
use crate::plan::{self, ARCHITECTURE, Action, EPOCH, Facts, Plan, PlannedStep, Step};
use crate::program::ProgramError;
use crate::stat_index::StatIndex;
use crate::toml::{Base, Source};
use crate::{Build, Progress, config, execute, is_content};

/// A lock is a few hundred bytes a package.
const MAX_LOCK: u64 = 16 * 1024 * 1024;

/// A build that is ready to run.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) source: Source,
    pub(crate) host: Host,
    pub(crate) lock: Option<Lock>,
    pub(crate) steps: Vec<Step>,
    lock_path: PathBuf,
    stale_lock: bool,
    source_date_epoch: Option<i64>,
    index: StatIndex,
}

impl Prepared {
    /// Reads everything, and plans.
    pub(crate) fn read(build: &Build<'_>, cache: &Cache) -> Result<Self, BuildError> {
        let source = Source::read(build.context, build.file)?;
        let host = Host::read();
        let source_date_epoch = match &host.epoch {
            None => None,
            Some(text) => Some(parse_epoch(text)?),
        };
        let lock_path = source.path.with_extension("lock");
        let mut lock = None;
        let mut stale_lock = false;
        if let Base::Bootstrap { suite } = &source.image.from.value {
            lock = read_lock(&lock_path)?;
            let answers =
                |lock: &Lock| lock.answers(suite, ARCHITECTURE, &source.image.package_names());
            stale_lock = lock.as_ref().is_some_and(|lock| !answers(lock));
            lock = lock.filter(|_| !stale_lock);
        }
        let full = build.context.canonicalize();
        let index = StatIndex::load(cache.index_path(full.as_deref().unwrap_or(build.context)));
        let steps = Vec::new();
        let mut prepared = Self {
            source,
            host,
            lock,
            steps,
            lock_path,
            stale_lock,
            source_date_epoch,
            index,
        };
        prepared.make_steps(build)?;
        prepared.save_index();
        log::debug!("files of the context read: {}", prepared.index.read());
        Ok(prepared)
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
            let read = Context::open(build.context)
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

    fn make_steps(&mut self, build: &Build<'_>) -> Result<(), BuildError> {
        let base = self.base(build)?;
        let context = Context::open(build.context)?;
        let mut trees = Vec::new();
        for copy in &self.source.image.copy {
            match context.tree(&copy.from.value, &mut self.index) {
                Ok(tree) => trees.push(tree),
                Err(
                    error @ (ContextError::Missing { .. }
                    | ContextError::Outside { .. }
                    | ContextError::Special { .. }),
                ) => return Err(self.invalid(copy.from.span.clone(), error.to_string(), None)),
                Err(error) => return Err(error.into()),
            }
        }
        let init = Digest::of(build.init);
        let facts = Facts {
            base,
            trees,
            init,
            epoch: self.epoch(),
        };
        self.steps = plan::steps(&self.source.image, &self.source.manifest, facts);
        Ok(())
    }

    /// What the base is, as far as that is known.
    fn base(&mut self, build: &Build<'_>) -> Result<Option<Inputs>, BuildError> {
        let from = self.source.image.from.clone();
        let unreadable = |path: &Path, error: std::io::Error| {
            self.invalid(
                from.span.clone(),
                format!("cannot read {}: {error}", path.display()),
                None,
            )
        };
        match &from.value {
            Base::Scratch => Ok(Some(Inputs::Scratch)),
            Base::Reference(reference) => match build.store.resolve(&reference.to_string()) {
                Ok(image) => Ok(Some(Inputs::Image(image.digest.to_string()))),
                Err(error) => Err(self.invalid(from.span, error.to_string(), error.hint())),
            },
            Base::Layout { dir, tag } => {
                // The index names everything else in the layout by digest.
                let path = build.context.join(dir).join("index.json");
                let index = std::fs::read(&path).map_err(|error| unreadable(&path, error))?;
                Ok(Some(Inputs::Layout(
                    Digest::of(&index).to_string(),
                    tag.clone(),
                )))
            }
            Base::Archive(file) => {
                let path = build.context.join(file);
                let path = path
                    .canonicalize()
                    .map_err(|error| unreadable(&path, error))?;
                let digest = context::file_digest(&path, &mut self.index);
                let digest = digest.map_err(|source| BuildError::ReadFile { path, source })?;
                Ok(Some(Inputs::Archive(
                    digest.iter().map(|byte| format!("{byte:02x}")).collect(),
                )))
            }
            Base::Bootstrap { .. } => Ok(self.lock.as_ref().map(plan::bootstrap_inputs)),
        }
    }

    /// Whether the packages of the base are yet to be chosen.
    pub(crate) fn unresolved(&self) -> bool {
        matches!(self.source.image.from.value, Base::Bootstrap { .. }) && self.lock.is_none()
    }

    /// Chooses them, writes the lock, and plans again.
    pub(crate) fn resolve(
        &mut self,
        build: &Build<'_>,
        workspace: &Workspace,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), BuildError> {
        let Base::Bootstrap { suite } = &self.source.image.from.value else {
            return Ok(());
        };
        if let Some(first) = self.steps.first() {
            let (count, name) = (self.steps.len(), first.name.clone());
            progress(Progress::Step {
                index: 1,
                count,
                name,
            });
        }
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
        write_atomic(&self.lock_path, lock.to_toml().as_bytes()).map_err(|source| {
            BuildError::WriteLock {
                path: self.lock_path.clone(),
                source,
            }
        })?;
        self.lock = Some(lock);
        self.make_steps(build)
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
        let found: Vec<Diagnostic> = packages
            .filter(|package| unknown(&package.value))
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
        let reference: Reference = name.parse().map_err(|_| BuildError::NoName)?;
        Ok(vec![reference.with_default_tag()])
    }

    /// The image, if the whole chain of steps led to one before.
    pub(crate) fn finished(&self, build: &Build<'_>, cache: &Cache) -> Option<Image> {
        let key = self.steps.last()?.key.filter(|_| !build.no_cache)?;
        build.store.image(&cache.image(key)?).ok()
    }

    /// The steps for people, with what is cached.
    pub(crate) fn plan(&self, build: &Build<'_>, cache: &Cache, tags: Vec<Reference>) -> Plan {
        let planned = |step: &Step| PlannedStep {
            name: step.name.clone(),
            cached: step
                .key
                .is_some_and(|key| self.is_cached(build, cache, step, key)),
        };
        let mut notes = Vec::new();
        if self.unresolved() {
            let file = self.lock_path.display();
            notes.push(if self.stale_lock {
                format!("{file} is for other packages: they are chosen anew")
            } else {
                format!("no {file} yet: the packages are chosen and it is written")
            });
        }
        if self
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Packages(_)))
        {
            notes.push(
                "packages upon a base come from its own mirror and are not locked".to_owned(),
            );
        }
        let steps = self.steps.iter().map(planned).collect();
        Plan {
            tags,
            file: self.source.path.clone(),
            steps,
            notes,
        }
    }

    fn is_cached(&self, build: &Build<'_>, cache: &Cache, step: &Step, key: Key) -> bool {
        let image = || {
            cache
                .image(key)
                .is_some_and(|digest| build.store.image(&digest).is_ok())
        };
        match (&step.action, &self.source.image.from.value) {
            (Action::Base, Base::Reference(_)) => true,
            (Action::Base, Base::Layout { .. } | Base::Archive(_)) => image(),
            _ if build.no_cache => false,
            (Action::Finish, _) => image(),
            _ => cache.step(key).is_some_and(|record| {
                record
                    .layer()
                    .is_none_or(|layer| build.store.contains(&layer.descriptor.digest))
            }),
        }
    }

    /// The services against the image's files, as far as these are cached.
    pub(crate) fn check(
        &self,
        build: &Build<'_>,
        cache: &Cache,
    ) -> Result<Vec<Finding>, BuildError> {
        let mut layers = Vec::new();
        let mut env = Vec::new();
        for step in self.steps.iter().filter(|step| is_content(&step.action)) {
            let Some(key) = step
                .key
                .filter(|key| self.is_cached(build, cache, step, *key))
            else {
                return Ok(Vec::new());
            };
            if let Some(image) = self.base_image(build, cache, step, key) {
                let pairs = image
                    .manifest
                    .layers
                    .iter()
                    .zip(&image.config.rootfs.diff_ids);
                layers.extend(
                    pairs.map(|(descriptor, diff_id)| holdall_image::PackedLayer {
                        descriptor: descriptor.clone(),
                        diff_id: *diff_id,
                    }),
                );
                env = image.config.config.env;
            } else {
                layers.extend(cache.step(key).and_then(crate::cache::StepRecord::layer));
            }
        }
        let tree = Tree::open(&execute::folders(build.store, &layers)?)?;
        let variables = config::environment(&env, &self.source.image.env);
        let path = variables
            .iter()
            .find_map(|variable| variable.strip_prefix("PATH="));
        let found = check::services(
            &self.source.manifest,
            &self.source.places,
            &tree,
            path.unwrap_or(config::PATH),
        )?;
        Ok(found
            .iter()
            .map(|found| Finding::new(&self.source, found))
            .collect())
    }

    fn base_image(&self, build: &Build<'_>, cache: &Cache, step: &Step, key: Key) -> Option<Image> {
        match (&step.action, &self.source.image.from.value) {
            (Action::Base, Base::Reference(name)) => build.store.resolve(&name.to_string()).ok(),
            (Action::Base, Base::Layout { .. } | Base::Archive(_)) => {
                build.store.image(&cache.image(key)?).ok()
            }
            _ => None,
        }
    }

    fn invalid(
        &self,
        span: std::ops::Range<usize>,
        message: String,
        help: Option<String>,
    ) -> BuildError {
        let found = Diagnostic {
            message,
            span,
            help,
        };
        BuildError::invalid(&self.source.path, &self.source.text, &[found])
    }
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
