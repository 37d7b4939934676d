//! The static init that goes into every image, carried by the command.

use holdall_builder::Init;
use holdall_image::Digest;

/// `/init`, as built by build.rs from the crate `holdall-init`.
static BYTES: &[u8] = include_bytes!(env!("HOLDALL_INIT"));
/// Its SHA-256 by build.rs, in hexadecimal.
const SHA256: &str = env!("HOLDALL_INIT_SHA256");

pub(crate) fn init() -> Init<'static> {
    match Digest::from_hex(SHA256) {
        Ok(digest) => Init::known(BYTES, digest),
        Err(_) => Init::of(BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_the_init_is_that_of_its_bytes() {
        assert_eq!(Digest::of(BYTES).hex(), SHA256);
    }
}
