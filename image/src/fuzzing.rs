//! Entrances to what is private here, for the workspace's `fuzz/`. Not built
//! otherwise.

use std::io::Read;

use crate::compress::sniff;
use crate::digest::Digest;
use crate::layer::LayerError;
use crate::layer::limits::Limits;
use crate::root::RootDir;
use crate::store;

/// What [`crate::Store::unpacked`] does with a blob, within other limits:
/// plain, gzip or zstd, to the end; gives the diff ID.
pub fn unpack(input: impl Read, root: &RootDir, limits: &Limits) -> Result<Digest, LayerError> {
    let (coding, tar) = sniff(input).map_err(LayerError::Read)?;
    store::unpack_coded(coding, tar, root, limits)
}
