//! Bytes and descriptors on a unix stream.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::sys;

/// Descriptors that one message may carry. An exec has three.
pub(crate) const MAX_DESCRIPTORS: usize = 4;

/// Reads what is there into `buffer`, and descriptors into `descriptors`. Zero
/// bytes is the end.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<usize, Errno> {
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; MAX_DESCRIPTORS]);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    // What did not fit was closed by the kernel; what did is ours to close.
    for entry in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = entry {
            descriptors.extend(numbers.into_iter().filter_map(sys::adopt));
        }
    }
    Ok(message.bytes)
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
