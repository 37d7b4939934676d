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
use crate::error::BuildError;
use crate::packages::Packages;
use crate::toml::Base;

/// What a base is.
pub(super) enum Taken {
    /// An image, with its layers and its configuration.
    Image(Box<Image>),
    /// Files; none for scratch.
    Layer(Option<PackedLayer>),
}

/// Takes the base in.
pub(super) fn take(
    executor: &Executor<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Taken, BuildError> {
    let context = executor.build.context;
    match &executor.prepared.source.image.from.value {
        Base::Scratch => Ok(Taken::Layer(None)),
        Base::Reference(_) => match &executor.prepared.base_image {
            Some(image) => Ok(Taken::Image(Box::new(image.clone()))),
            None => Err(executor.prepared.unresolved()),
        },
        Base::Layout { dir, tag } => {
            let path = context.join(dir);
            let found = archive::import_layout(executor.build.store, &path);
            import(&path, found, tag.as_deref())
        }
        Base::Archive(file) => {
            let path = context.join(file);
            let open = File::open(&path);
            let open = open.map_err(|source| BuildError::ReadFile {
                path: path.clone(),
                source,
            })?;
            let found = archive::load(executor.build.store, open);
            import(&path, found, None)
        }
        Base::Bootstrap { .. } => {
            let lock = executor.prepared.lock.as_ref();
            let lock = lock.ok_or_else(|| executor.prepared.unresolved())?;
            let packages = packages(executor);
            let mut output = |line: &str| {
                progress(Progress::Output {
                    line: line.to_owned(),
                })
            };
            packages.fetch(lock, &mut output)?;
            let root = bootstrap(&packages, lock, executor.epoch, &mut output)?;
            Ok(Taken::Layer(Some(executor.pack(&root)?)))
        }
    }
}

/// The kept packages.
pub(super) fn packages<'a>(executor: &'a Executor<'_>) -> Packages<'a> {
    Packages {
        keep: executor.build.dirs.packages(),
        workspace: executor.workspace,
        host: &executor.prepared.host,
        stop: executor.build.stop,
    }
}

/// The one image of what was taken in, or the one that `tag` names.
fn import(
    path: &Path,
    found: Result<Vec<(Option<Reference>, Image)>, ArchiveError>,
    tag: Option<&str>,
) -> Result<Taken, BuildError> {
    let found = found.map_err(|source| BuildError::Import {
        path: path.to_owned(),
        source: Box::new(source),
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
    Ok(Taken::Image(Box::new((*image).clone())))
}
