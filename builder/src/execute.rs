//! Steps to layers.

mod base;
mod copy;
mod make;
mod run;

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_image::document::{History, ImageConfig, RootFs};
use holdall_image::store::Image;
use holdall_image::{Descriptor, Digest, PackedLayer, Store, Tree};

use crate::cache::{Cache, Key, Workspace};
use crate::check;
use crate::config;
use crate::error::BuildError;
use crate::host;
use crate::inspect::{self, Cached};
use crate::layer::settle;
use crate::plan::{Action, FINISH, Step, UNLOCKED};
use crate::prepare::Prepared;
use crate::toml::Source;
use crate::{Build, Progress};

/// Everything the steps share.
pub(crate) struct Executor<'a> {
    build: &'a Build<'a>,
    cache: &'a Cache,
    prepared: &'a Prepared,
    workspace: &'a Workspace,
    epoch: i64,
}

/// What the steps have made so far.
#[derive(Default)]
struct Made {
    base: Option<ImageConfig>,
    layers: Vec<PackedLayer>,
    history: Vec<History>,
    ran: usize,
    cached: usize,
}

/// What the steps led to.
pub(crate) struct Executed {
    pub(crate) image: Image,
    pub(crate) ran: usize,
    pub(crate) cached: usize,
}

/// Runs the steps that are not cached, and finishes the image.
pub(crate) fn run(
    build: &Build<'_>,
    cache: &Cache,
    prepared: &mut Prepared,
    workspace: Workspace,
    progress: &mut dyn FnMut(Progress),
) -> Result<Executed, BuildError> {
    stopped(build.stop)?;
    let count = prepared.steps.count();
    let mut announced = false;
    if prepared.keys.is_none() {
        // The base's packages are chosen as a part of its step.
        let name = prepared.steps.names().next().unwrap_or_default().to_owned();
        progress(Progress::Step {
            index: 1,
            count,
            name,
        });
        prepared.resolve(build, &workspace, progress)?;
        announced = true;
    }
    let prepared = &*prepared;
    let Some(keys) = &prepared.keys else {
        return Err(prepared.unresolved());
    };
    let executor = Executor {
        build,
        cache,
        prepared,
        workspace: &workspace,
        epoch: prepared.epoch(),
    };
    let mut made = Made::default();
    for (at, (step, key)) in prepared.steps.layers.iter().zip(&keys.layers).enumerate() {
        stopped(build.stop)?;
        let index = at + 1;
        let name = step.name.clone();
        if executor.take_cached(step, *key, &mut made) {
            progress(Progress::Cached { index, count, name });
            continue;
        }
        let lock = cache.lock_step(*key, build.stop)?;
        let _lock = lock.ok_or(BuildError::Stopped)?;
        // Another build may have run it while we waited.
        if executor.take_cached(step, *key, &mut made) {
            progress(Progress::Cached { index, count, name });
            continue;
        }
        if !std::mem::take(&mut announced) {
            progress(Progress::Step { index, count, name });
        }
        let started = host::clock();
        executor.perform(step, *key, &mut made, progress)?;
        made.ran += 1;
        progress(Progress::Done {
            index,
            millis: elapsed(started),
        });
    }
    stopped(build.stop)?;
    progress(Progress::Step {
        index: count,
        count,
        name: FINISH.to_owned(),
    });
    let started = host::clock();
    let image = executor.finish(&made)?;
    // A build that finds the image recorded has nothing to make, and so sweeps
    // nothing: from here on there is nothing left to be swept.
    drop(workspace);
    cache.put_image(keys.image, image.digest)?;
    progress(Progress::Done {
        index: count,
        millis: elapsed(started),
    });
    Ok(Executed {
        image,
        ran: made.ran + 1,
        cached: made.cached,
    })
}

impl Executor<'_> {
    /// Takes a step's result from the cache, if it is there and whole.
    fn take_cached(&self, step: &Step, key: Key, made: &mut Made) -> bool {
        match inspect::cached(self.build, self.cache, self.prepared, step, key) {
            None => return false,
            Some(Cached::Image(image)) => made.take_base(&image),
            Some(Cached::Layers(layers)) => made.push(layers, &step.name, self.epoch),
        }
        made.cached += 1;
        true
    }

    fn perform(
        &self,
        step: &Step,
        key: Key,
        made: &mut Made,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), BuildError> {
        let layers = match &step.action {
            Action::Base => match base::take(self, progress)? {
                base::Taken::Image(image) => {
                    self.cache.put_image(key, image.digest)?;
                    made.take_base(&image);
                    return Ok(());
                }
                base::Taken::Layer(layer) => Vec::from_iter(layer),
            },
            Action::Packages(names) => {
                progress(Progress::Output {
                    line: UNLOCKED.to_owned(),
                });
                let argv = run::apt_command(names);
                Vec::from_iter(run::run(self, &step.name, &argv, true, made, progress)?)
            }
            Action::Run { argv } => {
                Vec::from_iter(run::run(self, &step.name, argv, false, made, progress)?)
            }
            Action::Copy { copy, tree, parts } => {
                copy::copy(self, copy, tree, *parts, &self.below(made)?)?
            }
            Action::Init => copy::one_file(
                self,
                "/init",
                0o755,
                self.build.init.bytes,
                &self.below(made)?,
            )?,
            Action::Services(text) => {
                let (path, below) = ("/etc/holdall.toml", self.below(made)?);
                copy::one_file(self, path, 0o644, text.as_bytes(), &below)?
            }
        };
        self.cache.put_step(key, &layers)?;
        made.push(layers, &step.name, self.epoch);
        Ok(())
    }

    /// The files of the layers so far.
    fn below(&self, made: &Made) -> Result<Tree, BuildError> {
        Ok(Tree::open(&self.folders(made)?)?)
    }

    fn folders(&self, made: &Made) -> Result<Vec<PathBuf>, BuildError> {
        folders(self.build.store, &made.layers)
    }

    /// Makes a layer of a folder, which moves to the unpacked layers.
    fn pack(&self, dir: &Path) -> Result<PackedLayer, BuildError> {
        stopped(self.build.stop)?;
        let failed = |source| BuildError::WriteLayer {
            path: "/".into(),
            source,
        };
        settle(dir, self.epoch).map_err(failed)?;
        let opened = std::fs::File::open(dir).map_err(failed)?;
        let packed = self.build.store.pack_layer(opened.as_fd(), self.epoch)?;
        self.build.store.adopt_layer(dir, &packed.diff_id)?;
        Ok(packed)
    }

    /// Checks the services against the image's own files, and puts it together.
    fn finish(&self, made: &Made) -> Result<Image, BuildError> {
        let tree = self.below(made)?;
        let found = check::services(&self.prepared.source, &tree, &self.variables(made))?;
        if !found.is_empty() {
            return Err(BuildError::unfit(&self.prepared.source.path, &found));
        }
        let Source {
            image, manifest, ..
        } = &self.prepared.source;
        let config = config::image_config(made.base.as_ref(), image, manifest, self.epoch);
        let diff_ids = made.layers.iter().map(|layer| layer.diff_id).collect();
        let history = made.history.clone();
        let config = ImageConfig {
            rootfs: RootFs::new(diff_ids),
            history,
            ..config
        };
        let layers: Vec<Descriptor> = made
            .layers
            .iter()
            .map(|layer| layer.descriptor.clone())
            .collect();
        Ok(self.build.store.put_image(&config, &layers)?)
    }

    /// The image's environment.
    fn variables(&self, made: &Made) -> Vec<(String, String)> {
        let base = made
            .base
            .as_ref()
            .map(|base| base.config.env.as_slice())
            .unwrap_or_default();
        let variables = config::environment(base, &self.prepared.source.image.env);
        let split = variables
            .iter()
            .filter_map(|variable| variable.split_once('='));
        split
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// An error where the build is to stop.
pub(crate) fn stopped(stop: &AtomicBool) -> Result<(), BuildError> {
    if stop.load(Ordering::Relaxed) {
        Err(BuildError::Stopped)
    } else {
        Ok(())
    }
}

/// The layers of an image, bottom first.
pub(crate) fn layers_of(image: &Image) -> Vec<PackedLayer> {
    let pairs = image
        .manifest
        .layers
        .iter()
        .zip(&image.config.rootfs.diff_ids);
    let layer = |(descriptor, diff_id): (&Descriptor, &Digest)| PackedLayer {
        descriptor: descriptor.clone(),
        diff_id: *diff_id,
    };
    pairs.map(layer).collect()
}

/// The unpacked folders of layers, bottom first.
pub(crate) fn folders(store: &Store, layers: &[PackedLayer]) -> Result<Vec<PathBuf>, BuildError> {
    let folder = |layer: &PackedLayer| Ok(store.unpacked(&layer.descriptor, &layer.diff_id)?);
    let all: Result<Vec<PathBuf>, BuildError> = layers.iter().map(folder).collect();
    // The same layer twice changes nothing the second time, and overlay takes
    // no folder twice.
    let mut seen = BTreeSet::new();
    let mut top_first = all?;
    top_first.reverse();
    top_first.retain(|folder| seen.insert(folder.clone()));
    top_first.reverse();
    Ok(top_first)
}

impl Made {
    fn take_base(&mut self, image: &Image) {
        self.layers = layers_of(image);
        self.history.clone_from(&image.config.history);
        self.base = Some(image.config.clone());
    }

    fn push(&mut self, layers: Vec<PackedLayer>, name: &str, epoch: i64) {
        let count = layers.len();
        for part in 1..=count.max(1) {
            let part = match count {
                0 | 1 => String::new(),
                count => format!(" ({part}/{count})"),
            };
            self.history.push(History {
                created: Some(config::rfc3339(epoch)),
                created_by: Some(format!("holdall: {name}{part}")),
                empty_layer: count == 0,
                ..History::default()
            });
        }
        self.layers.extend(layers);
    }
}

fn elapsed(started: std::time::Instant) -> u64 {
    u64::try_from(host::clock().saturating_duration_since(started).as_millis()).unwrap_or(u64::MAX)
}
