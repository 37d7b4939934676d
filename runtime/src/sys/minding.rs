//! For those who mind a box: descriptors over sockets, exit codes of other
//! people's children, and a start that leaves no child behind.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Result, check};

/// Descriptors in one message; the kernel's limit is 253 (SCM_MAX_FD).
pub(crate) const MAX_FDS: usize = 200;

/// Writes bytes with descriptors attached to the first of them; returns how
/// many bytes went.
pub(crate) fn send_with_fds(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<usize> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
}

/// Reads bytes and the descriptors attached to them; 0 bytes is the end.
pub(crate) fn receive_with_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; 253]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel installed these descriptors for this very
            // message, and nobody else has seen them.
            fds.extend(
                raw.into_iter()
                    .map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }),
            );
        }
    }
    Ok((message.bytes, fds))
}

/// The wait status of a process that is gone *and* was reaped by whoever its
/// parent is; `None` before that. Linux 6.15 or newer; older ones answer
/// EINVAL or ENOTTY.
pub(crate) fn exit_status_of(process: BorrowedFd<'_>) -> Result<Option<i32>> {
    // SAFETY: pidfd_info is plain data for which zeroes are valid.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    let wanted = u64::from(libc::PIDFD_INFO_EXIT);
    info.mask = wanted;
    // SAFETY: the ioctl reads and writes one pidfd_info, whose size is part of
    // the request's number and which outlives the call.
    let done = unsafe { libc::ioctl(process.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    check(libc::c_long::from(done))?;
    Ok((info.mask & wanted != 0).then_some(info.exit_code))
}

/// Makes `command` start a grandchild: the child that [`Command::spawn`]
/// returns ends at once (wait for it), and the program is nobody's zombie.
pub(crate) fn detach(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let hook = || {
        // SAFETY: a bare clone, as fork without its handlers; the child makes
        // only async-signal-safe calls up to its exec.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        match child {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                nix::unistd::setsid().map_err(io::Error::from)?;
                Ok(())
            }
            // SAFETY: ends this process without running anything of its
            // parent's.
            _ => unsafe { libc::_exit(0) },
        }
    };
    // SAFETY: the hook makes system calls only and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

/// Watches a descriptor for input on the current tokio runtime.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and always the same number as long as it
    // lives, and the AsyncFd owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// A record lock on the whole file that belongs to the open file description:
/// it lasts until the last descriptor of it, in whatever process, is closed.
pub(crate) fn lock_record(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap_or_default(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// `true` where the errno says that the kernel is too old for
/// [`exit_status_of`].
pub(crate) fn exit_status_is_unknown(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EINVAL | Errno::ENOTTY | Errno::ENOTSUP | Errno::ESRCH
    )
}
