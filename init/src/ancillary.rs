//! Messages with what travels beside their bytes: descriptors and credentials.
//!
//! The entries are read from the bytes that the kernel has written, by its
//! layout (cmsg(3)), and every descriptor among them is taken over: also those
//! of a message that did not fit. (nix gives none of such a message, and then
//! they would stay open for ever.)

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;

use crate::sys;

/// Room for the entries of one message, as the kernel aligns them: for 64
/// descriptors, credentials and a handle.
const ROOM: usize = 64;

/// One message.
#[derive(Debug)]
pub(crate) struct Received {
    /// Of its bytes, how many are in the buffer.
    pub(crate) bytes: usize,
    /// It was longer, or had more beside it than there was room for.
    pub(crate) cut: bool,
    /// SCM_RIGHTS.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// SCM_CREDENTIALS, where the socket asks for them.
    pub(crate) sender: Option<Credentials>,
    /// SCM_PIDFD, where the socket asks for it.
    pub(crate) handle: Option<OwnedFd>,
}

/// Who sent it, as the kernel says: a number of zero is a process that can't
/// be seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
}

/// Reads one message, or what there is of a stream.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received, Errno> {
    // Words, so that the kernel's numbers are aligned.
    let mut room = [0_u64; ROOM];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let taken = sys::receive(socket.as_fd(), buffer, &mut room, flags.bits())?;
    let mut received = Received {
        bytes: taken.bytes,
        cut: taken.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        descriptors: Vec::new(),
        sender: None,
        handle: None,
    };
    let bytes: Vec<u8> = room.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut rest = bytes.get(..taken.control).unwrap_or(&[]);
    while let Some((kind, data, after)) = entry(rest) {
        rest = after;
        let numbers = data.chunks_exact(size_of::<i32>());
        let mut numbers =
            numbers.filter_map(|four| Some(i32::from_ne_bytes(four.try_into().ok()?)));
        match kind {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                received.descriptors.extend(numbers.filter_map(sys::adopt));
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                let (pid, uid) = (numbers.next(), numbers.next());
                received.sender = pid.zip(uid).map(|(pid, uid)| Credentials {
                    pid,
                    uid: uid.cast_unsigned(),
                });
            }
            (libc::SOL_SOCKET, sys::SCM_PIDFD) => {
                received.handle = numbers.next().and_then(sys::adopt);
            }
            (_, _) => {}
        }
    }
    Ok(received)
}

/// Level and type.
type Kind = (i32, i32);

/// The first entry: its kind and its data; and what is after it.
fn entry(bytes: &[u8]) -> Option<(Kind, &[u8], &[u8])> {
    const WORD: usize = size_of::<usize>();
    let (length, rest) = bytes.split_first_chunk::<WORD>()?;
    let (level, rest) = rest.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::from_ne_bytes(*length);
    let data = rest.get(..length.checked_sub(WORD + 8)?)?;
    let after = bytes.get(length.next_multiple_of(WORD)..).unwrap_or(&[]);
    let number = i32::from_ne_bytes;
    Some(((number(*level), number(*kind)), data, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{
        AddressFamily, ControlMessage, SockFlag, SockType, sendmsg, socketpair,
    };

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC;
        socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).expect("a pair")
    }

    fn send(from: &OwnedFd, bytes: &[u8], descriptors: &[OwnedFd]) {
        let numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let slices = [IoSlice::new(bytes)];
        let flags = MsgFlags::empty();
        sendmsg::<()>(from.as_raw_fd(), &slices, &rights, flags, None).expect("sent");
    }

    /// Both ends of so many pipes.
    fn pipes(count: usize) -> (Vec<OwnedFd>, Vec<OwnedFd>) {
        let pipes = (0..count).map(|_| nix::unistd::pipe().expect("a pipe"));
        pipes.unzip()
    }

    #[test]
    fn descriptors_and_the_sender_come_with_the_bytes() {
        let (one, other) = pair();
        sys::ask_for_sender(&other).expect("an option of every kernel");
        let (_reads, writes) = pipes(3);
        send(&one, b"hello", &writes);
        let mut buffer = [0; 8];
        let received = receive(&other, &mut buffer).expect("a message");
        assert_eq!((received.bytes, received.cut), (5, false));
        assert_eq!(received.descriptors.len(), 3);
        let own = i32::try_from(std::process::id()).expect("a number");
        assert_eq!(received.sender.map(|sender| sender.pid), Some(own));
    }

    #[test]
    fn what_does_not_fit_is_cut_and_no_descriptor_stays_open() {
        let (one, other) = pair();
        let (reads, writes) = pipes(200);
        send(&one, &[b'x'; 100], &writes);
        drop(writes);
        let mut buffer = [0; 10];
        let received = receive(&other, &mut buffer).expect("a message");
        assert!(received.cut && received.bytes == 10);
        assert!(!received.descriptors.is_empty());
        drop(received);
        for read in reads {
            let left = nix::unistd::read(&read, &mut buffer);
            assert_eq!(left, Ok(0), "somebody still holds the other end");
        }
    }

    #[test]
    fn bytes_that_are_no_entry_end_the_list() {
        assert!(entry(&[]).is_none());
        assert!(entry(&[0; 40]).is_none(), "shorter than its own head");
        let mut long = [0; 40];
        long[0] = 255;
        assert!(entry(&long).is_none(), "longer than what there is");
    }
}
