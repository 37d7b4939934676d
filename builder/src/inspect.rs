//! What is there already of a prepared build: for its plan, for the build that
//! has nothing to do, and for a check without a build.

use holdall_image::store::Image;
use holdall_image::{PackedLayer, Reference, Tree};

use crate::Build;
use crate::cache::{Cache, Key};
use crate::check::{self, Finding};
use crate::config;
use crate::error::BuildError;
use crate::execute;
use crate::plan::{Action, Plan, PlannedStep, Step, UNLOCKED};
use crate::prepare::Prepared;
use crate::toml::Base;

/// What a step left in the cache.
pub(crate) enum Cached {
    /// The base's image.
    Image(Box<Image>),
    /// Layers; none where the step changed nothing.
    Layers(Vec<PackedLayer>),
}

/// What a step made before, if all of it is still there.
pub(crate) fn cached(
    build: &Build<'_>,
    cache: &Cache,
    prepared: &Prepared,
    step: &Step,
    key: Key,
) -> Option<Cached> {
    if let (Action::Base, base) = (&step.action, &prepared.source.image.from.value) {
        match base {
            Base::Reference(_) => {
                return prepared
                    .base_image
                    .clone()
                    .map(|image| Cached::Image(Box::new(image)));
            }
            // Taking it in again would lead to the same image.
            Base::Layout { .. } | Base::Archive(_) => {
                let image = build.store.image(&cache.image(key)?).ok()?;
                return Some(Cached::Image(Box::new(image)));
            }
            Base::Scratch | Base::Bootstrap { .. } => {}
        }
    }
    if build.no_cache {
        return None;
    }
    let layers = cache.step(key)?;
    let there = |layer: &PackedLayer| build.store.contains(&layer.descriptor.digest);
    layers.iter().all(there).then_some(Cached::Layers(layers))
}

/// The image, if the whole chain of steps led to one before.
pub(crate) fn finished(build: &Build<'_>, cache: &Cache, prepared: &Prepared) -> Option<Image> {
    let keys = prepared.keys.as_ref().filter(|_| !build.no_cache)?;
    build.store.image(&cache.image(keys.image)?).ok()
}

/// The steps for people.
pub(crate) fn plan(
    build: &Build<'_>,
    cache: &Cache,
    prepared: &Prepared,
    tags: Vec<Reference>,
) -> Plan {
    let mut steps: Vec<PlannedStep> = prepared
        .steps
        .names()
        .map(|name| PlannedStep {
            name: name.to_owned(),
            cached: false,
        })
        .collect();
    if let Some(keys) = &prepared.keys {
        let layers = prepared.steps.layers.iter().zip(&keys.layers);
        let layers = layers.map(|(step, key)| cached(build, cache, prepared, step, *key).is_some());
        let last = [finished(build, cache, prepared).is_some()];
        for (step, cached) in steps.iter_mut().zip(layers.chain(last)) {
            step.cached = cached;
        }
    }
    let mut notes = Vec::new();
    if prepared.keys.is_none() {
        let file = prepared.lock_path.display();
        notes.push(if prepared.stale_lock {
            format!("{file} is for other packages: they are chosen anew")
        } else {
            format!("no {file} yet: the packages are chosen, and it is written")
        });
    }
    let unlocked = |step: &Step| matches!(step.action, Action::Packages(_));
    if prepared.steps.layers.iter().any(unlocked) {
        notes.push(UNLOCKED.to_owned());
    }
    Plan {
        tags,
        file: prepared.source.path.clone(),
        steps,
        notes,
    }
}

/// The services against the image's files, as far as these are in the cache.
pub(crate) fn check(
    build: &Build<'_>,
    cache: &Cache,
    prepared: &Prepared,
) -> Result<Vec<Finding>, BuildError> {
    let Some(keys) = &prepared.keys else {
        return Ok(Vec::new());
    };
    let mut layers = Vec::new();
    let mut env = Vec::new();
    for (step, key) in prepared.steps.layers.iter().zip(&keys.layers) {
        match &step.action {
            // These say nothing about the files of the services.
            Action::Init | Action::Services(_) => continue,
            Action::Base | Action::Packages(_) | Action::Copy { .. } | Action::Run { .. } => {}
        }
        match cached(build, cache, prepared, step, *key) {
            None => return Ok(Vec::new()),
            Some(Cached::Layers(made)) => layers.extend(made),
            Some(Cached::Image(image)) => {
                layers = execute::layers_of(&image);
                env = image.config.config.env;
            }
        }
    }
    let tree = Tree::open(&execute::folders(build.store, &layers)?)?;
    let variables = config::environment(&env, &prepared.source.image.env);
    let variables: Vec<(String, String)> = variables
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Ok(check::services(&prepared.source, &tree, &variables)?)
}
