//! The static init that goes into every image, carried by the command.

/// `/init`, as built by build.rs from the crate `holdall-init`.
pub(crate) static BYTES: &[u8] = include_bytes!(env!("HOLDALL_INIT"));
