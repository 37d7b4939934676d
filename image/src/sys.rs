//! The system calls that nix lacks: extended attributes.

use std::ffi::CStr;
use std::io;

/// `getxattr` into `buffer`; the value's length. An empty buffer asks for the
/// length alone.
pub(crate) fn getxattr(path: &CStr, name: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: both strings end in NUL by type, and the kernel writes at most
    // `buffer.len()` bytes to a buffer that we hold exclusively.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// `listxattr` into `buffer`: names, each ended by NUL. An empty buffer asks
/// for the length alone.
pub(crate) fn listxattr(path: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the path ends in NUL by type, and the kernel writes at most
    // `buffer.len()` bytes to a buffer that we hold exclusively.
    let length =
        unsafe { libc::listxattr(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(length).map_err(|_| io::Error::last_os_error())
}

/// `setxattr`, creating or replacing.
pub(crate) fn setxattr(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: both strings end in NUL by type, and the kernel reads
    // `value.len()` bytes of a slice that we borrow for the call.
    let status = unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
