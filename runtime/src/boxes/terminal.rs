//! The caller's own terminal.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use holdall_protocol::Signal;
use holdall_protocol::control::WindowSize;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use signal_hook::SigId;

use super::error::BoxError;
use crate::sys;

/// A terminal in raw mode; dropped, it is as it was. Signals that would end
/// the program are caught meanwhile (see [`Signals`]), so every way out drops
/// it.
#[derive(Debug)]
pub(crate) struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Puts a terminal into raw mode; `None` where it is none.
    pub(crate) fn enter(terminal: BorrowedFd<'_>) -> Result<Option<Self>, BoxError> {
        // ENOTTY: a pipe or a file.
        let Ok(before) = tcgetattr(terminal) else {
            return Ok(None);
        };
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let terminal = terminal.try_clone_to_owned().map_err(BoxError::Terminal)?;
        tcsetattr(&terminal, SetArg::TCSADRAIN, &raw)
            .map_err(|errno| BoxError::Terminal(errno.into()))?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone; then nobody sees its mode.
        let _: nix::Result<()> = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// The size of the terminal at a descriptor; `None` where it is none.
pub(crate) fn size_of(terminal: BorrowedFd<'_>) -> Option<WindowSize> {
    let size = sys::window_size(terminal).ok()?;
    Some(WindowSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Gives a pseudo terminal its size.
pub(crate) fn resize(master: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(sys::set_window_size(master, size)?)
}

/// SIGWINCH: the terminal has another size.
pub(crate) const RESIZED: i32 = nix::sys::signal::Signal::SIGWINCH as i32;

/// Signals of this process as things to read.
#[derive(Debug)]
pub(crate) struct Signals {
    sources: Vec<(i32, UnixStream, SigId)>,
}

impl Signals {
    /// Catches these from now on.
    pub(crate) fn catch(numbers: &[i32]) -> io::Result<Self> {
        let mut signals = Self {
            sources: Vec::new(),
        };
        for number in numbers {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            let id = signal_hook::low_level::pipe::register(*number, write)?;
            signals.sources.push((*number, read, id));
        }
        Ok(signals)
    }

    /// What to poll, in order.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.iter().map(|(_, read, _)| read.as_fd())
    }

    /// Takes those that came.
    pub(crate) fn take(&self) -> Vec<i32> {
        let came = |mut read: &UnixStream| matches!(io::Read::read(&mut read, &mut [0; 64]), Ok(count) if count > 0);
        self.sources
            .iter()
            .filter(|(_, read, _)| came(read))
            .map(|(number, ..)| *number)
            .collect()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (_, _, id) in &self.sources {
            signal_hook::low_level::unregister(*id);
        }
    }
}

/// As the protocol has it.
pub(crate) fn named(number: i32) -> Option<Signal> {
    u8::try_from(number).ok().and_then(Signal::from_number)
}
