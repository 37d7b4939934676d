//! The keeper: waits for its monitor to be lost, and starts another. As it has
//! nothing else to do, it also waits for the disk, see `unsynced.rs`.
//!
//! It holds copies of everything that must outlive a monitor: the listening
//! sockets, the FIFOs, the handle on the box's process (whose exit code it
//! thereby keeps readable) and the guard lock. The design had init hold the
//! sockets; but a socket of the host's network namespace inside a box is a
//! foothold there (`shutdown` it, then `connect` anywhere), so no box gets one
//! that it didn't ask for.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::channel;
use super::monitor::{SHORT_LIFE, begin, start_monitor};
use super::orders::{Done, Extra, Kept, Orders, take};
use super::unsynced;
use crate::clock::Deadline;
use crate::process::{Handle, timeout};

/// The program `holdall-keeper`.
pub(crate) fn main() -> ExitCode {
    let Ok(channel) = begin() else {
        return ExitCode::FAILURE;
    };
    match take(&channel) {
        Ok(Some((orders, kept, Extra::Adopt(process)))) => {
            keep(channel, orders, &kept, &process);
            ExitCode::SUCCESS
        }
        Ok(Some((_, _, Extra::Launch(_))) | None) | Err(_) => ExitCode::FAILURE,
    }
}

fn keep(mut channel: UnixStream, mut orders: Orders, kept: &Kept, process: &Handle) {
    orders.from_keeper = true;
    let mut born = Deadline::after(SHORT_LIFE);
    let dirs = orders.dirs();
    let mut sync = unsynced::due(&dirs);
    loop {
        if !is_told(&channel, sync) {
            sync = None;
            unsynced::sync(&dirs);
            continue;
        }
        // Nothing else is ever said, so an error is a loss too.
        if let Ok(Some((Done, _))) = channel::receive::<Done>(&channel) {
            return;
        }
        loop {
            // A pause after one that didn't live, whatever ended it: even a box
            // that only has to be cleared away could fail at it for ever.
            pause(born);
            born = Deadline::after(SHORT_LIFE);
            if let Ok(next) = start_monitor(&orders, kept, &[process.as_fd()]) {
                channel = next;
                break;
            }
        }
    }
}

/// Waits for a word or the end of the channel; `false` where none came by then.
fn is_told(channel: &UnixStream, until: Option<Deadline>) -> bool {
    loop {
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout(until)) {
            Ok(0) if until.is_some_and(|until| until.left().is_zero()) => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            // What else is wrong, reading finds out.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// Sleeps until then.
fn pause(until: Deadline) {
    while !until.left().is_zero() {
        // Cut short by a signal, it goes on.
        let _: nix::Result<i32> = poll(&mut [], timeout(Some(until)));
    }
}
