//! Removal of a whole tree by descriptors.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{self, UnlinkatFlags};

use super::names;

/// Removes one entry and, if it is a directory, all beneath it; iterative, so
/// that depth costs heap and not stack.
pub(crate) fn remove_entry(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<()> {
    match unistd::unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR | Errno::EPERM) => {}
        other => return other,
    }
    let open = |dir: BorrowedFd<'_>, name: &OsStr| {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        fcntl::openat(dir, name, flags, Mode::empty())
    };
    let first = open(parent, name)?;
    let mut stack = vec![(
        name.to_owned(),
        names(first.try_clone().map_err(io_errno)?)?,
        first,
    )];
    while let Some((_, left, dir)) = stack.last_mut() {
        match left.pop() {
            Some(child) => {
                match unistd::unlinkat(&*dir, child.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(Errno::EISDIR | Errno::EPERM) => {
                        let below = open(dir.as_fd(), &child)?;
                        let inside = names(below.try_clone().map_err(io_errno)?)?;
                        stack.push((child, inside, below));
                    }
                    Err(error) => return Err(error),
                }
            }
            None => {
                let Some((done, _, _)) = stack.pop() else {
                    break;
                };
                let above = stack.last().map_or(parent, |(_, _, dir)| dir.as_fd());
                unistd::unlinkat(above, done.as_os_str(), UnlinkatFlags::RemoveDir)?;
            }
        }
    }
    Ok(())
}

fn io_errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
