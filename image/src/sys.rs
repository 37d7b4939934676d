//! The system calls that nix lacks: extended attributes, early writing.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// Has the kernel begin to write a file's content to the disk, so that a later
/// sync has less to wait for. It promises nothing, so its failure costs nothing.
pub(crate) fn start_writing(file: &File) {
    // SAFETY: sync_file_range takes integers only, and the descriptor is open
    // as long as `file` is borrowed.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

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
