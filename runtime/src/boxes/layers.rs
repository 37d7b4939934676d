//! An image's layers on disk, bottom first, with errors that name the image.

use std::path::PathBuf;

use holdall_image::Store;
use holdall_image::store::Image;

use super::error::BoxError;
use super::record::Record;

/// Those of the image called `name`, unpacked where they are not yet.
pub(super) fn of_image(
    images: &Store,
    image: &Image,
    name: &str,
) -> Result<Vec<PathBuf>, BoxError> {
    images
        .unpacked_layers(image)
        .map_err(|cause| BoxError::Unpack {
            image: name.to_owned(),
            cause: Box::new(cause),
        })
}

/// Those of the image that a box was made from.
pub(super) fn of_record(images: &Store, record: &Record) -> Result<Vec<PathBuf>, BoxError> {
    let image = images
        .image(&record.image)
        .map_err(|cause| BoxError::Image {
            image: record.image_name.clone(),
            cause: Box::new(cause),
        })?;
    of_image(images, &image, &record.image_name)
}
