//! The base of an image: nothing, an image of the store, one that is taken in
//! from a layout or an archive, or a Debian made from packages.

use std::fs::File;
use std::path::Path;

use holdall_image::archive::{self, ArchiveError};
use holdall_image::store::Image;
use holdall_image::{PackedLayer, Reference};

use super::Executor;
use crate::Progress;
use crate::bootstrap::bootstrap;
use crate::cache::Key;
use crate::error::BuildError;
use crate::layer::Times;
use crate::packages::Packages;
use crate::toml::Base;

/// What a base is.
pub(super) enum Taken {
    /// An image, with its layers and its configuration.
    Image(Image),
    /// Files; none for scratch.
    Layer(Option<PackedLayer>),
}

/// The base's image, if it is one and is in the store.
pub(super) fn image_of(executor: &Executor<'_>, key: Key) -> Result<Option<Image>, BuildError> {
    match &executor.source.image.from.value {
        Base::Reference(reference) => Ok(Some(resolve(executor, reference)?)),
        Base::Layout { .. } | Base::Archive(_) => {
            let digest = executor.cache.image(key);
            Ok(digest.and_then(|digest| executor.build.store.image(&digest).ok()))
        }
        Base::Scratch | Base::Bootstrap { .. } => Ok(None),
    }
}

fn resolve(executor: &Executor<'_>, reference: &Reference) -> Result<Image, BuildError> {
    let found = executor.build.store.resolve(&reference.to_string());
    found.map_err(|source| BuildError::NoBase {
        reference: reference.clone(),
        source,
    })
}

/// Takes the base in.
pub(super) fn take(
    executor: &Executor<'_>,
    key: Key,
    progress: &mut dyn FnMut(Progress),
) -> Result<Taken, BuildError> {
    let context = executor.build.context;
    match &executor.source.image.from.value {
        Base::Scratch => Ok(Taken::Layer(None)),
        Base::Reference(reference) => Ok(Taken::Image(resolve(executor, reference)?)),
        Base::Layout { dir, tag } => {
            let path = context.join(dir);
            let found = archive::import_layout(executor.build.store, &path);
            import(executor, key, &path, found, tag.as_deref())
        }
        Base::Archive(file) => {
            let path = context.join(file);
            let open = File::open(&path);
            let open = open.map_err(|source| BuildError::ReadFile {
                path: path.clone(),
                source,
            })?;
            let found = archive::load(executor.build.store, open);
            import(executor, key, &path, found, None)
        }
        Base::Bootstrap { .. } => {
            let Some(lock) = executor.lock else {
                return Ok(Taken::Layer(None));
            };
            let packages = packages(executor);
            let mut output = |line: &str| {
                progress(Progress::Output {
                    line: line.to_owned(),
                })
            };
            packages.fetch(lock, &mut output)?;
            let root = bootstrap(&packages, lock, executor.epoch, &mut output)?;
            Ok(Taken::Layer(Some(executor.pack(&root, Times::Newer)?)))
        }
    }
}

/// The kept packages.
pub(super) fn packages<'a>(executor: &'a Executor<'_>) -> Packages<'a> {
    Packages {
        keep: executor.build.dirs.packages(),
        workspace: executor.workspace,
        host: executor.host,
        stop: executor.build.stop,
    }
}

/// The one image of what was taken in, or the one that `tag` names.
fn import(
    executor: &Executor<'_>,
    key: Key,
    path: &Path,
    found: Result<Vec<(Option<Reference>, Image)>, ArchiveError>,
    tag: Option<&str>,
) -> Result<Taken, BuildError> {
    let found = found.map_err(|source| BuildError::Import {
        path: path.to_owned(),
        source,
    })?;
    let named = |name: &Option<Reference>| {
        tag.is_none_or(|tag| name.as_ref().and_then(Reference::tag) == Some(tag))
    };
    let mut images: Vec<&Image> = Vec::new();
    for (_, image) in found.iter().filter(|(name, _)| named(name)) {
        // One image may be there under several names.
        if !images.contains(&image) {
            images.push(image);
        }
    }
    let [image] = images.as_slice() else {
        let found = match (images.len(), tag) {
            (0, Some(tag)) => format!("no image with the tag {tag:?}"),
            (0, None) => "no image".to_owned(),
            (count, _) => format!("{count} images"),
        };
        return Err(BuildError::NotOneImage {
            path: path.to_owned(),
            found,
        });
    };
    executor.cache.put_image(key, image.digest)?;
    Ok(Taken::Image((*image).clone()))
}
