//! Terminals. The pair is made in the container's own devpts, so that its
//! name means the same inside; only the master leaves.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::{Mode, fstat, major};
use nix::sys::statfs::fstatfs;

use super::rootfs::{Place, Rootfs};
use super::spec::ConsoleSize;
use crate::sys;

/// statfs(2)'s number of devpts.
const DEVPTS_MAGIC: libc::__fsword_t = 0x1cd1;
/// The first of the eight majors of pseudo terminal slaves (devices.txt).
const SLAVE_MAJOR: u64 = 136;

/// Why there is no terminal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsoleError {
    /// The container has no devpts of its own.
    #[error("cannot use /dev/pts: it is no devpts")]
    NoDevpts,
    /// What opened is no slave.
    #[error("cannot use the terminal: it is no pseudo terminal")]
    NoTerminal,
    /// The kernel refused.
    #[error(transparent)]
    Errno(#[from] Errno),
    /// The socket that the master goes to.
    #[error("cannot send the terminal to {}", .path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Opens a terminal in the container, makes it the controlling one and the
/// three standard descriptors, and returns the master. After setsid and the
/// pivot.
pub(crate) fn open(root: Rootfs<'_>, size: Option<ConsoleSize>) -> Result<OwnedFd, ConsoleError> {
    let pts = root.open_strictly(Path::new("/dev/pts"))?;
    if fstatfs(&pts)?.filesystem_type().0 != DEVPTS_MAGIC {
        return Err(ConsoleError::NoDevpts);
    }
    // Not /dev/ptmx, which is a link of the image's tree.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let master = openat(&pts, "ptmx", flags, Mode::empty())?;
    sys::unlock_terminal(master.as_fd())?;
    let slave = sys::terminal_peer(master.as_fd())?;
    let kind = major(fstat(&slave)?.st_rdev);
    if !(SLAVE_MAJOR..SLAVE_MAJOR + 8).contains(&kind)
        || fstatfs(&slave)?.filesystem_type().0 != DEVPTS_MAGIC
    {
        return Err(ConsoleError::NoTerminal);
    }
    if let Some(ConsoleSize { height, width }) = size {
        let size = libc::winsize {
            ws_row: height,
            ws_col: width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        sys::set_window_size(slave.as_fd(), size)?;
    }
    sys::set_controlling_terminal(slave.as_fd())?;
    for number in 0..3 {
        sys::dup_to(slave.as_fd(), number)?;
    }
    Ok(master)
}

/// Shows the terminal as /dev/console too, for the first process of a
/// container.
pub(crate) fn bind_console(root: Rootfs<'_>) -> Result<(), ConsoleError> {
    let terminal = sys::standard(0)?;
    let place = root.open_or_make(Path::new("/dev/console"), Place::File)?;
    let tree = sys::clone_tree_at(terminal, false)?;
    sys::attach(tree.as_fd(), place.as_fd())?;
    Ok(())
}

/// Sends a master to the unix socket at `path` (runc's console socket).
pub(crate) fn send(master: &OwnedFd, path: &Path) -> Result<(), ConsoleError> {
    let error = |source| ConsoleError::Socket {
        path: path.to_owned(),
        source,
    };
    let socket = UnixStream::connect(path).map_err(error)?;
    let fds = [master.as_fd().as_raw_fd()];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(b"/dev/ptmx")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map_err(|errno| error(errno.into()))?;
    Ok(())
}
