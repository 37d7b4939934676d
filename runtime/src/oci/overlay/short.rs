//! The lower layers as one option, for Linux before 6.8 (Debian 12 has 6.1).
//!
//! An option has at most 255 bytes, which fifteen paths of descriptors fill,
//! and one for each layer is not known there. So each layer gets a name of one byte, in a folder in memory that is
//! the working directory while the overlay is made: with the colons between
//! them 128 layers fit, which is docker's own bound.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{fchdir, symlinkat};

use super::{Options, OverlayError, by_fd, plain};
use crate::sys::NewFs;

/// As [`super::mount`], whose last resort this is.
pub(super) fn mount(options: &Options<'_>) -> Result<OwnedFd, OverlayError> {
    // The working directory is the process's: a thread may have its own.
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || in_own_directory(options));
        let failed = |error: std::io::Error| {
            plain(error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw))
        };
        thread
            .map_err(failed)?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn in_own_directory(options: &Options<'_>) -> Result<OwnedFd, OverlayError> {
    unshare(CloneFlags::CLONE_FS).map_err(plain)?;
    let names = NewFs::open("tmpfs").and_then(|fs| fs.mount(0));
    let names = names.map_err(plain)?;
    let mut lower = Vec::new();
    // Top first.
    for (layer, name) in options.layers.iter().rev().zip(bytes()) {
        let link = OsStr::from_bytes(std::slice::from_ref(&name));
        symlinkat(by_fd(layer).as_str(), &names, link).map_err(plain)?;
        lower.extend([name, b':']);
    }
    // The last colon.
    lower.pop();
    if lower.len() + 1 < 2 * options.layers.len() {
        return Err(plain(Errno::E2BIG));
    }
    fchdir(&names).map_err(plain)?;
    options.mount(|fs| fs.set("lowerdir", OsStr::from_bytes(&lower)))
}

/// Names that mean nothing to the kernel or to overlayfs.
fn bytes() -> impl Iterator<Item = u8> {
    (1..=u8::MAX).filter(|byte| !b"./:,\\".contains(byte))
}
