//! What whoever started a box has of it.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use super::channel;
use super::error::BoxError;
use super::orders::Answer;
use super::state::LOST;
use crate::process::Handle;

/// A box that was started. As long as this lives, a box with `--rm` stays
/// there after its end, so that its log can be read and its code asked for.
#[derive(Debug)]
pub struct Started {
    /// None where the box ran already.
    pub(super) monitor: Option<Attended>,
    pub(super) process: Option<Handle>,
}

/// The monitor of a box that was started here.
#[derive(Debug)]
pub(super) struct Attended {
    /// Answers the box's end.
    pub(super) channel: UnixStream,
    /// Holds something when there are new lines in the log.
    pub(super) bell: OwnedFd,
}

/// What there is to know of a box that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Its log may hold more.
    Lines,
    /// It has ended, and its log holds all.
    Ended,
    /// Its monitor was killed, or isn't ours: nobody tells.
    Lost,
}

impl Started {
    pub(super) fn already(process: Option<Handle>) -> Self {
        Self {
            monitor: None,
            process,
        }
    }

    /// Waits for the box's end; its exit code.
    ///
    /// # Errors
    /// Where the box's process can't be waited for.
    pub fn wait(&self) -> Result<u8, BoxError> {
        if let Some(monitor) = &self.monitor
            && let Ok(Some((Answer::Exited(code), _))) = channel::receive(&monitor.channel)
        {
            return Ok(code);
        }
        // Its first monitor was killed; the kernel knows as well.
        let Some(process) = &self.process else {
            return Ok(LOST);
        };
        process
            .wait(None)
            .map_err(BoxError::system("wait for the box"))?;
        let code = process
            .exit_code()
            .map_err(BoxError::system("read the box's exit code"))?;
        Ok(code.unwrap_or(LOST))
    }

    /// Waits for news.
    pub(super) fn news(&self) -> io::Result<News> {
        let Some(Attended { channel, bell }) = &self.monitor else {
            return Ok(News::Lost);
        };
        loop {
            let mut fds = [
                PollFd::new(channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(bell.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let [said, rang] = fds.map(|fd| fd.any().unwrap_or(false));
            if said {
                // Its answer stays where it is until it is asked for.
                return match recv(channel.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK) {
                    Ok(0) | Err(Errno::ECONNRESET) => Ok(News::Lost),
                    Ok(_) => Ok(News::Ended),
                    Err(Errno::EINTR) => continue,
                    Err(errno) => Err(errno.into()),
                };
            }
            if rang {
                match nix::unistd::read(bell, &mut [0; 64]) {
                    Ok(_) | Err(Errno::EINTR) => return Ok(News::Lines),
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
    }

    /// The box's first process.
    pub(super) fn process(&self) -> Option<&Handle> {
        self.process.as_ref()
    }

    /// Lets a box with `--rm` go; its name is free when this returns, and its
    /// files are removed by whoever minded it.
    pub fn let_go(self) {
        let Some(Attended {
            channel: mut monitor,
            ..
        }) = self.monitor
        else {
            return;
        };
        // The monitor hears it, and then hangs up; as it does where it was
        // killed, and the box is the next command's to remove.
        if monitor.shutdown(Shutdown::Write).is_ok() {
            drop(io::copy(&mut monitor, &mut io::sink()));
        }
    }
}
