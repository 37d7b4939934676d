//! `--profile`: the one thing that is looked up in an image's own services
//! before a box of it runs, since a box in the background could only fail
//! unseen.

use std::path::Path;

use holdall_image::Store;
use holdall_image::store::Image;
use holdall_image::tree::Tree;
use holdall_protocol::Manifest;
use holdall_protocol::decode::MAX_TEXT;
use holdall_protocol::manifest::Reader;

use super::error::BoxError;
use super::layers;

/// Where the builder puts the services.
const SERVICES: &str = "etc/holdall.toml";

/// Makes sure that the image has this profile.
///
/// # Errors
/// [`BoxError::UnknownProfile`]; or the image can't be looked into. Services
/// that can't be read are left to init, whose words about them are better.
pub(super) fn check(
    images: &Store,
    image: &Image,
    image_name: &str,
    profile: &str,
) -> Result<(), BoxError> {
    let layers = layers::of_image(images, image, image_name)?;
    let text = Tree::open(&layers)
        .and_then(|tree| tree.read(Path::new(SERVICES), MAX_TEXT as u64))
        .map_err(|cause| BoxError::Services {
            image: image_name.to_owned(),
            cause,
        })?;
    let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
    let Ok(manifest) = Manifest::from_toml(&text, Reader::Init) else {
        return Ok(());
    };
    match manifest.for_profile(Some(profile)) {
        Ok(_) => Ok(()),
        Err(unknown) => Err(BoxError::UnknownProfile {
            image: image_name.to_owned(),
            profile: unknown.name,
            near: unknown.near,
        }),
    }
}
