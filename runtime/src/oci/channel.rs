//! The socket between the runtime and the new container's first process: one
//! typed message a packet, descriptors beside it. The end of the other side
//! ends the wait, so neither can hang on the other's death.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType,
    recvmsg, sendmsg, shutdown, socketpair,
};
use serde::{Deserialize, Serialize};

use crate::sys;

/// Longest message in bytes; errors are cut to fit.
const LIMIT: usize = 8192;

/// What the two tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(crate) enum Message {
    /// Parent: cgroups are joined and ids mapped.
    Proceed,
    /// Child: the createRuntime hooks are due.
    RuntimeHooks,
    /// Parent: they have run.
    HooksDone,
    /// Child: here is the terminal's master.
    Console,
    /// Child: here is the filter's notify descriptor.
    Notify,
    /// Child: everything is set up.
    Ready,
    /// Parent: run the program.
    Start,
    /// Child: this failed, and I end.
    Failed {
        /// "cannot …: cause".
        message: String,
        /// 127 where the program isn't there, 126 where it can't be run, else
        /// 125.
        code: u8,
    },
}

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// Why a message didn't come or go.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("cannot reach the other side: it is gone")]
    Gone,
    #[error("cannot use the channel")]
    Socket(#[from] Errno),
    #[error("cannot understand the other side")]
    Garbled(#[from] serde_json::Error),
    #[error("cannot go on: got {0:?}")]
    Unexpected(Message),
}

impl Channel {
    /// Both ends, closed at exec.
    pub(crate) fn pair() -> Result<(Self, Self), ChannelError> {
        let (one, other) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a message, with a descriptor beside it.
    pub(crate) fn send(&self, message: &Message, fd: Option<&OwnedFd>) -> Result<(), ChannelError> {
        let mut text = serde_json::to_vec(message)?;
        if text.len() > LIMIT
            && let Message::Failed { message, code } = message
        {
            let short: String = message.chars().take(LIMIT / 8).collect();
            text = serde_json::to_vec(&Message::Failed {
                message: short,
                code: *code,
            })?;
        }
        let fds = fd.map(|fd| [fd.as_fd().as_raw_fd()]);
        let control: Vec<_> = fds
            .as_ref()
            .map(|fds| ControlMessage::ScmRights(fds))
            .into_iter()
            .collect();
        loop {
            let sent = sendmsg::<()>(
                self.0.as_raw_fd(),
                &[IoSlice::new(&text)],
                &control,
                MsgFlags::MSG_NOSIGNAL,
                None,
            );
            match sent {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(ChannelError::Gone),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for a message.
    pub(crate) fn receive(&self) -> Result<(Message, Option<OwnedFd>), ChannelError> {
        let mut text = [0u8; LIMIT];
        let mut space = cmsg_space!([i32; 1]);
        let mut buffer = [IoSliceMut::new(&mut text)];
        let (length, raw) = loop {
            let got = recvmsg::<()>(
                self.0.as_raw_fd(),
                &mut buffer,
                Some(&mut space),
                MsgFlags::MSG_CMSG_CLOEXEC,
            );
            match got {
                Ok(got) => {
                    let mut raw = None;
                    for control in got.cmsgs()? {
                        if let ControlMessageOwned::ScmRights(fds) = control {
                            raw = fds.first().copied();
                        }
                    }
                    break (got.bytes, raw);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Err(ChannelError::Gone),
                Err(errno) => return Err(errno.into()),
            }
        };
        if length == 0 {
            return Err(ChannelError::Gone);
        }
        // The kernel just opened it for us; nobody else knows the number.
        let fd = raw.map(sys::adopt).transpose().map_err(|_| Errno::EBADF)?;
        let message = serde_json::from_slice(text.get(..length).unwrap_or_default())?;
        Ok((message, fd))
    }

    /// Moves this end to a number that nobody uses any more.
    pub(crate) fn move_to(&mut self, number: i32) -> Result<(), ChannelError> {
        if self.0.as_raw_fd() != number {
            sys::dup_to_cloexec(self.0.as_fd(), number)?;
            self.0 = sys::adopt(number).map_err(|_| Errno::EBADF)?;
        }
        Ok(())
    }

    /// Sends nothing more: the other side stops listening, and may do so before
    /// or after our next word.
    pub(crate) fn hang_up(&self) {
        // Of a socket that is connected or was; the next word finds out.
        let _: nix::Result<()> = shutdown(self.0.as_raw_fd(), Shutdown::Write);
    }

    /// Waits for this message and no other.
    pub(crate) fn expect(&self, wanted: &Message) -> Result<(), ChannelError> {
        let (message, _) = self.receive()?;
        if message == *wanted {
            Ok(())
        } else {
            Err(ChannelError::Unexpected(message))
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits for a byte that says go on; none where the other side is gone.
pub(crate) fn await_byte(from: impl AsFd) -> nix::Result<usize> {
    loop {
        match nix::unistd::read(&from, &mut [0]) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_the_end_is_seen() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&Message::Ready, None).unwrap();
        one.send(
            &Message::Failed {
                message: "x".repeat(100_000),
                code: 1,
            },
            None,
        )
        .unwrap();
        assert_eq!(other.receive().unwrap().0, Message::Ready);
        assert!(matches!(other.receive().unwrap().0, Message::Failed { .. }));
        drop(one);
        assert!(matches!(other.receive(), Err(ChannelError::Gone)));
    }

    #[test]
    fn who_has_hung_up_reaches_nobody_though_the_other_side_is_there() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&Message::Ready, None).unwrap();
        one.hang_up();
        let late = one.send(&Message::Ready, None);
        assert!(matches!(late, Err(ChannelError::Gone)), "{late:?}");
        assert_eq!(other.receive().unwrap().0, Message::Ready);
        assert!(matches!(other.receive(), Err(ChannelError::Gone)));
    }

    #[test]
    fn a_descriptor_travels_beside_a_message() {
        let (one, other) = Channel::pair().unwrap();
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        one.send(&Message::Console, Some(&file)).unwrap();
        assert!(other.receive().unwrap().1.is_some());
    }
}
