//! Messages with control messages beside them.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

/// The type of a control message that holds a pidfd of the sender: linux/socket.h.
pub(crate) const SCM_PIDFD: c_int = 4;

/// Makes a socket say who sent each message: by number, and by a handle where
/// the kernel has them (6.5).
pub(crate) fn ask_for_sender(socket: &OwnedFd) -> Result<(), Errno> {
    let set = |option| {
        let on: c_int = 1;
        let length = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or(4);
        // SAFETY: the call reads one int, which `on` is.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const on).cast(),
                length,
            )
        };
        Errno::result(done).map(drop)
    };
    set(libc::SO_PASSCRED)?;
    // Without handles, numbers have to do.
    let _ = set(libc::SO_PASSPIDFD);
    Ok(())
}

/// What a call of [`receive`] has written.
pub(crate) struct Taken {
    /// Bytes of the message.
    pub(crate) bytes: usize,
    /// Bytes of control messages.
    pub(crate) control: usize,
    pub(crate) flags: c_int,
}

/// Reads one message and the control messages beside it.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut [u64],
    flags: c_int,
) -> Result<Taken, Errno> {
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: a msghdr of all zero is a valid value of that plain struct.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control);
    // SAFETY: the lengths are those of `buffer` and `control`, which outlive
    // the call and are borrowed by nobody else.
    let bytes = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let bytes = Errno::result(bytes)?;
    Ok(Taken {
        bytes: usize::try_from(bytes).unwrap_or(0),
        control: message.msg_controllen,
        flags: message.msg_flags,
    })
}
