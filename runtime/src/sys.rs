//! The system calls that nix doesn't have. The crate's only unsafe code.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;

mod bpf;
mod minding;
mod mount;
mod process;
pub(crate) use bpf::*;
pub(crate) use minding::*;
pub(crate) use mount::*;
pub(crate) use process::*;

type Result<T> = nix::Result<T>;

/// Turns the kernel's answer into a result.
fn check(value: libc::c_long) -> Result<libc::c_long> {
    Errno::result(value)
}

/// Takes over a descriptor that the kernel just made.
fn owned(value: libc::c_long) -> Result<OwnedFd> {
    let raw = RawFd::try_from(check(value)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel returned this descriptor from the call whose result
    // was passed in, and nobody else has seen it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A path as the kernel wants it.
fn c_path(path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// Takes over an inherited descriptor, named on the command line.
///
/// Fails where the number isn't open, so that a wrong number never turns into
/// a descriptor of our own that happens to be opened later.
pub(crate) fn adopt(raw: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads a flag and touches no memory.
    if unsafe { libc::fcntl(raw, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open (just checked), came by inheritance, and the command
    // line that names it is parsed once, so it has no other owner here.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Moves descriptors to fixed numbers in the child of a [`std::process::Command`].
///
/// `plan[i]` is open as `plan[i].0` in the parent and becomes `plan[i].1`.
pub(crate) fn inherit_fds(
    command: &mut std::process::Command,
    plan: Vec<(RawFd, RawFd)>,
    parent_death: Option<nix::sys::signal::Signal>,
) {
    use std::os::unix::process::CommandExt;
    let parent = nix::unistd::getpid();
    let highest = plan.iter().map(|(_, to)| *to).max().unwrap_or(2);
    let mut parked: Vec<RawFd> = Vec::with_capacity(plan.len());
    let hook = move || {
        parked.clear();
        // Two rounds, so that no target is overwritten while it is a source.
        for (from, _) in &plan {
            // SAFETY: fcntl on a descriptor of ours; async-signal-safe.
            let high = unsafe { libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, highest + 1) };
            if high == -1 {
                return Err(io::Error::last_os_error());
            }
            parked.push(high);
        }
        for (high, (_, to)) in parked.iter().zip(&plan) {
            // SAFETY: dup2 onto a number of the child alone; async-signal-safe.
            if unsafe { libc::dup2(*high, *to) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        if let Some(signal) = parent_death {
            nix::sys::prctl::set_pdeathsig(signal)?;
            // Died before the line above: nobody would tell us any more.
            if nix::unistd::getppid() != parent {
                return Err(Errno::ESRCH.into());
            }
        }
        Ok(())
    };
    // SAFETY: the hook makes system calls only; `parked` has its memory, and
    // errors made from an errno allocate nothing.
    unsafe { command.pre_exec(hook) };
}

/// Marks every descriptor from `first` on as closed at exec.
pub(crate) fn cloexec_from(first: RawFd) -> Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` on.
///
/// Whoever owns one of them must never use or drop it again; callers exec or
/// exit next.
pub(crate) fn close_from(first: RawFd) -> Result<()> {
    close_range(first, 0)
}

fn close_range(first: RawFd, flags: libc::c_uint) -> Result<()> {
    let first = libc::c_uint::try_from(first).map_err(|_| Errno::EINVAL)?;
    // SAFETY: close_range touches no memory.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) })?;
    Ok(())
}

/// Makes one of our own fixed numbers (a standard descriptor) mean something
/// else.
pub(crate) fn dup_to(from: BorrowedFd<'_>, to: RawFd) -> Result<()> {
    // SAFETY: dup2 touches no memory; the target number is given up by its
    // owner (callers are about to exec).
    check(libc::c_long::from(unsafe {
        libc::dup2(from.as_raw_fd(), to)
    }))?;
    Ok(())
}

/// Makes the session's controlling terminal this one.
pub(crate) fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    check(libc::c_long::from(done))?;
    Ok(())
}

/// Opens the other end of a pseudo terminal without a path (TIOCGPTPEER).
pub(crate) fn terminal_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags by value and returns a descriptor.
    let raw = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    owned(libc::c_long::from(raw))
}

/// Unlocks the slave of a pseudo terminal.
pub(crate) fn unlock_terminal(master: BorrowedFd<'_>) -> Result<()> {
    let zero: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which outlives the call.
    let done = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const zero) };
    check(libc::c_long::from(done))?;
    Ok(())
}

/// Reads a terminal's size.
pub(crate) fn window_size(terminal: BorrowedFd<'_>) -> Result<libc::winsize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one winsize, which outlives the call.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    check(libc::c_long::from(done))?;
    Ok(size)
}

/// Sets a terminal's size.
pub(crate) fn set_window_size(terminal: BorrowedFd<'_>, size: libc::winsize) -> Result<()> {
    // SAFETY: TIOCSWINSZ reads one winsize, which outlives the call.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    check(libc::c_long::from(done))?;
    Ok(())
}

/// Brings the loopback interface of the current network namespace up.
pub(crate) fn loopback_up() -> Result<()> {
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is plain data for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // IFF_UP alone; the kernel keeps the flags that are its own.
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    let done = unsafe {
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )
    };
    check(libc::c_long::from(done))?;
    Ok(())
}

/// Joins a new, empty session keyring, so that the host's isn't reachable.
pub(crate) fn new_session_keyring(name: &CStr) -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: the name is NUL-terminated and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    Ok(())
}

/// One of the standard descriptors, if it is open.
pub(crate) fn standard(number: RawFd) -> Result<BorrowedFd<'static>> {
    if !(0..3).contains(&number) {
        return Err(Errno::EBADF);
    }
    // SAFETY: F_GETFD reads a flag and touches no memory.
    check(libc::c_long::from(unsafe {
        libc::fcntl(number, libc::F_GETFD)
    }))?;
    // SAFETY: it is open (just checked), and the runtime never closes its
    // standard descriptors, only replaces them.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Lets an inherited descriptor survive exec.
pub(crate) fn keep_at_exec(number: RawFd) -> Result<()> {
    // SAFETY: F_SETFD takes an integer.
    check(libc::c_long::from(unsafe {
        libc::fcntl(number, libc::F_SETFD, 0)
    }))?;
    Ok(())
}

/// A copy under the first free number from `lowest` on, closed at exec.
pub(crate) fn dup_from(fd: BorrowedFd<'_>, lowest: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes integers only.
    let raw = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
    owned(libc::c_long::from(raw))
}

/// Copies a descriptor to a number that nobody uses any more, closed at exec.
pub(crate) fn dup_to_cloexec(from: BorrowedFd<'_>, to: RawFd) -> Result<()> {
    if from.as_raw_fd() == to {
        return Ok(());
    }
    // SAFETY: dup3 touches no memory; the number's owner never uses it again
    // (the caller is about to exec).
    check(libc::c_long::from(unsafe {
        libc::dup3(from.as_raw_fd(), to, libc::O_CLOEXEC)
    }))?;
    Ok(())
}
