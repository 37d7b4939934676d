//! Steps to layers.

mod base;
mod copy;
mod run;

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use holdall_image::document::{History, ImageConfig, RootFs};
use holdall_image::store::Image;
use holdall_image::{Descriptor, PackedLayer, Store, Tree};

use crate::cache::{Cache, Key, StepRecord, Workspace};
use crate::check;
use crate::config;
use crate::error::BuildError;
use crate::host::{self, Host};
use crate::layer::{Filling, Times, settle};
use crate::lock::Lock;
use crate::plan::{Action, Step};
use crate::toml::Source;
use crate::{Build, Progress};

/// Everything the steps share.
pub(crate) struct Executor<'a> {
    pub(crate) build: &'a Build<'a>,
    pub(crate) cache: &'a Cache,
    pub(crate) host: &'a Host,
    pub(crate) source: &'a Source,
    pub(crate) lock: Option<&'a Lock>,
    pub(crate) epoch: i64,
    pub(crate) workspace: &'a Workspace,
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

impl Executor<'_> {
    /// Runs the steps that are not cached, and finishes the image. `announced`
    /// says that the first step was begun before.
    pub(crate) fn run(
        &self,
        steps: &[Step],
        announced: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Executed, BuildError> {
        let mut made = Made::default();
        let count = steps.len();
        for (at, step) in steps.iter().enumerate() {
            let index = at + 1;
            let name = || step.name.clone();
            let key = step.key.ok_or(BuildError::NoName)?;
            self.check_stop()?;
            if matches!(step.action, Action::Finish) {
                progress(Progress::Step {
                    index,
                    count,
                    name: name(),
                });
                let started = host::clock();
                let image = self.finish(&made)?;
                self.cache.put_image(key, image.digest)?;
                progress(Progress::Done {
                    index,
                    millis: elapsed(started),
                });
                return Ok(Executed {
                    image,
                    ran: made.ran + 1,
                    cached: made.cached,
                });
            }
            if self.take_cached(step, key, &mut made)? {
                progress(Progress::Cached {
                    index,
                    count,
                    name: name(),
                });
                continue;
            }
            if index > 1 || !announced {
                progress(Progress::Step {
                    index,
                    count,
                    name: name(),
                });
            }
            let started = host::clock();
            let lock = self.cache.lock_step(key, self.build.stop)?;
            let _lock = lock.ok_or(BuildError::Stopped)?;
            // Another build may have run it while we waited.
            if self.take_cached(step, key, &mut made)? {
                progress(Progress::Cached {
                    index,
                    count,
                    name: name(),
                });
                continue;
            }
            self.perform(step, key, &mut made, progress)?;
            made.ran += 1;
            progress(Progress::Done {
                index,
                millis: elapsed(started),
            });
        }
        // Every plan ends with Finish.
        Err(BuildError::NoName)
    }

    /// Takes a step's result from the cache, if it is there and whole.
    fn take_cached(&self, step: &Step, key: Key, made: &mut Made) -> Result<bool, BuildError> {
        if matches!(step.action, Action::Base)
            && let Some(image) = base::image_of(self, key)?
        {
            made.take_base(&image);
            made.cached += 1;
            return Ok(true);
        }
        if self.build.no_cache {
            return Ok(false);
        }
        let Some(record) = self.cache.step(key) else {
            return Ok(false);
        };
        let layer = record.layer();
        if layer
            .as_ref()
            .is_some_and(|layer| !self.build.store.contains(&layer.descriptor.digest))
        {
            return Ok(false);
        }
        made.push(layer, &step.name, self.epoch);
        made.cached += 1;
        Ok(true)
    }

    fn perform(
        &self,
        step: &Step,
        key: Key,
        made: &mut Made,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), BuildError> {
        let layer = match &step.action {
            Action::Base => match base::take(self, key, progress)? {
                base::Taken::Image(image) => {
                    made.take_base(&image);
                    return Ok(());
                }
                base::Taken::Layer(layer) => layer,
            },
            Action::Packages(names) => {
                let argv = run::apt_command(names);
                run::run(self, &step.name, &argv, true, made, progress)?
            }
            Action::Run { argv } => run::run(self, &step.name, argv, false, made, progress)?,
            Action::Copy { copy, tree } => {
                let below = self.below(made)?;
                let dir = self.workspace.folder("layer")?;
                copy::copy(self, copy, tree, &below, &dir)?;
                Some(self.pack(&dir, Times::All)?)
            }
            Action::Init => self.one_file(made, "/init", 0o755, self.build.init)?,
            Action::Services(text) => {
                self.one_file(made, "/etc/holdall.toml", 0o644, text.as_bytes())?
            }
            Action::Finish => None,
        };
        self.cache.put_step(key, &StepRecord::new(layer.as_ref()))?;
        made.push(layer, &step.name, self.epoch);
        Ok(())
    }

    /// A layer of a single file.
    fn one_file(
        &self,
        made: &Made,
        path: &str,
        mode: u32,
        bytes: &[u8],
    ) -> Result<Option<PackedLayer>, BuildError> {
        let below = self.below(made)?;
        let dir = self.workspace.folder("layer")?;
        Filling::new(&dir, &below)?.content(path, mode, bytes)?;
        Ok(Some(self.pack(&dir, Times::All)?))
    }

    /// The files of the layers so far.
    fn below(&self, made: &Made) -> Result<Tree, BuildError> {
        Ok(Tree::open(&self.folders(made)?)?)
    }

    fn folders(&self, made: &Made) -> Result<Vec<PathBuf>, BuildError> {
        folders(self.build.store, &made.layers)
    }

    /// Makes a layer of a folder, which moves to the unpacked layers.
    fn pack(&self, dir: &Path, times: Times) -> Result<PackedLayer, BuildError> {
        self.check_stop()?;
        let failed = |source| BuildError::WriteLayer {
            path: "/".into(),
            source,
        };
        settle(dir, self.epoch, times).map_err(failed)?;
        let opened = std::fs::File::open(dir).map_err(failed)?;
        let packed = self.build.store.pack_layer(opened.as_fd(), self.epoch)?;
        self.build.store.adopt_layer(dir, &packed.diff_id)?;
        Ok(packed)
    }

    /// Checks the services against the image's own files, and puts it together.
    fn finish(&self, made: &Made) -> Result<Image, BuildError> {
        let tree = self.below(made)?;
        let found = check::services(
            &self.source.manifest,
            &self.source.places,
            &tree,
            &self.path(made),
        )?;
        if !found.is_empty() {
            return Err(BuildError::invalid(
                &self.source.path,
                &self.source.text,
                &found,
            ));
        }
        let Source {
            image, manifest, ..
        } = self.source;
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

    /// The image's PATH.
    fn path(&self, made: &Made) -> String {
        let variables = self.variables(made);
        let path = variables.into_iter().find(|(name, _)| name == "PATH");
        path.map_or_else(|| config::PATH.to_owned(), |(_, value)| value)
    }

    /// The image's environment.
    fn variables(&self, made: &Made) -> Vec<(String, String)> {
        let base = made
            .base
            .as_ref()
            .map(|base| base.config.env.as_slice())
            .unwrap_or_default();
        let variables = config::environment(base, &self.source.image.env);
        let split = variables
            .iter()
            .filter_map(|variable| variable.split_once('='));
        split
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn check_stop(&self) -> Result<(), BuildError> {
        stopped(self.build.stop)
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
        let pairs = image
            .manifest
            .layers
            .iter()
            .zip(&image.config.rootfs.diff_ids);
        self.layers = pairs
            .map(|(descriptor, diff_id)| PackedLayer {
                descriptor: descriptor.clone(),
                diff_id: *diff_id,
            })
            .collect();
        self.history.clone_from(&image.config.history);
        self.base = Some(image.config.clone());
    }

    fn push(&mut self, layer: Option<PackedLayer>, name: &str, epoch: i64) {
        self.history.push(History {
            created: Some(config::rfc3339(epoch)),
            created_by: Some(format!("holdall: {name}")),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        self.layers.extend(layer);
    }
}

fn elapsed(started: std::time::Instant) -> u64 {
    u64::try_from(host::clock().saturating_duration_since(started).as_millis()).unwrap_or(u64::MAX)
}
