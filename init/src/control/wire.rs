//! Bytes and descriptors on a unix stream.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::ancillary;

/// Descriptors that one message may carry. An exec has three.
pub(crate) const MAX_DESCRIPTORS: usize = 4;

/// Reads what is there into `buffer`, and descriptors into `descriptors`. Zero
/// bytes is the end.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<usize, Errno> {
    let received = ancillary::receive(socket, buffer)?;
    descriptors.extend(received.descriptors);
    Ok(received.bytes)
}

/// Writes what the peer takes, with a descriptor on its first byte.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<&OwnedFd>,
) -> Result<usize, Errno> {
    let slices = [IoSlice::new(bytes)];
    let number = descriptor.map(|fd| [fd.as_raw_fd()]);
    let rights = number
        .as_ref()
        .map(|number| ControlMessage::ScmRights(number));
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &slices, rights.as_slice(), flags, None)
}
