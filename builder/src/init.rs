//! The init that goes into the images.

use holdall_image::Digest;

/// A static init and its digest. Who knows the digest beforehand saves most of a
/// build that finds everything done.
#[derive(Debug, Clone, Copy)]
pub struct Init<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) digest: Digest,
}

impl<'a> Init<'a> {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self::known(bytes, Digest::of(bytes))
    }

    /// Of bytes whose digest this is: a wrong one would let a build find the
    /// images of another init.
    #[must_use]
    pub fn known(bytes: &'a [u8], digest: Digest) -> Self {
        Self { bytes, digest }
    }
}
