//! The caller's own terminal.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, Once};

use holdall_protocol::Signal;
use holdall_protocol::control::WindowSize;
use nix::sys::termios::{
    SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr, tcsetattr,
};
use signal_hook::SigId;

use super::error::BoxError;
use crate::sys;

/// The terminal that is in raw mode, and how it was before: a panic ends the
/// program without dropping anything, so its hook looks here.
static RAW: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// The standard input's terminal in raw mode; dropped, it is as it was. Signals
/// that would end the program are caught meanwhile (see [`Signals`]), so every
/// way out drops it or panics. There is at most one.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Puts a terminal into raw mode; `None` where it is none.
    pub(crate) fn enter(terminal: BorrowedFd<'_>) -> Result<Option<Self>, BoxError> {
        // ENOTTY: a pipe or a file.
        let Ok(before) = tcgetattr(terminal) else {
            return Ok(None);
        };
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let own = terminal.try_clone_to_owned().map_err(BoxError::Terminal)?;
        restore_in_a_panic();
        if let Ok(mut place) = RAW.lock() {
            *place = Some((own, before));
        }
        let entered = Self(());
        tcsetattr(terminal, SetArg::TCSADRAIN, &raw)
            .map_err(|errno| BoxError::Terminal(errno.into()))?;
        Ok(Some(entered))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back, if it is in raw mode.
fn restore() {
    // Held for a moment only, and never in a panic; but a panic doesn't wait.
    if let Ok(mut place) = RAW.try_lock()
        && let Some((terminal, before)) = place.take()
    {
        // The terminal may be gone; then nobody sees its mode.
        let _: nix::Result<()> = tcsetattr(&terminal, SetArg::TCSADRAIN, &before);
    }
}

/// From the first call on, a panic restores the terminal before it is told.
fn restore_in_a_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            tell(panic);
        }));
    });
}

/// The character that ends a terminal's input, mostly Ctrl-D; `None` where it
/// has none.
pub(crate) fn end_of_input(terminal: BorrowedFd<'_>) -> Option<u8> {
    let mode = tcgetattr(terminal).ok()?;
    let end = mode
        .control_chars
        .get(SpecialCharacterIndices::VEOF as usize)?;
    // POSIX's _POSIX_VDISABLE is 0 on Linux.
    Some(*end).filter(|end| *end != 0)
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

#[cfg(test)]
mod tests {
    use nix::pty::openpty;
    use nix::sys::termios::LocalFlags;

    use super::*;

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let pair = openpty(None, None).expect("a terminal");
        let echoes = || {
            let mode = tcgetattr(&pair.slave).expect("its mode");
            mode.local_flags.contains(LocalFlags::ECHO)
        };
        assert!(echoes());
        let raw = RawMode::enter(pair.slave.as_fd()).expect("entered");
        assert!(!echoes());
        // As with panic = "abort": nothing is dropped.
        std::mem::forget(raw.expect("a terminal"));
        std::panic::catch_unwind(|| panic!("a bug")).expect_err("a panic");
        assert!(echoes());
        // And without a panic.
        let raw = RawMode::enter(pair.slave.as_fd()).expect("entered");
        assert!(!echoes());
        drop(raw);
        assert!(echoes());
    }

    #[test]
    fn the_end_of_input_is_the_terminals_own_character() {
        let pair = openpty(None, None).expect("a terminal");
        assert_eq!(end_of_input(pair.master.as_fd()), Some(4));
        let mut mode = tcgetattr(&pair.slave).expect("its mode");
        mode.control_chars[SpecialCharacterIndices::VEOF as usize] = 26;
        tcsetattr(&pair.slave, SetArg::TCSANOW, &mode).expect("set");
        assert_eq!(end_of_input(pair.master.as_fd()), Some(26));
    }
}
