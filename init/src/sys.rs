//! The only unsafe code of this crate: system calls that nix does not wrap, or
//! wraps with an unsafe signature or with types that are too narrow (real-time
//! signals).
//!
//! **Invariant:** this program never starts a thread. Several calls here are
//! sound, and a child may run ordinary code after `fork`, only because of it.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use holdall_protocol::Signal;
use holdall_protocol::control::{Exit, WindowSize};
use nix::errno::Errno;

mod memory;
mod message;
mod program;
mod signal;
#[cfg(small)]
mod stand_ins;

pub(crate) use memory::{fork_with, has_room, memory_ran_short, mind_memory, refill_memory};
pub(crate) use message::{SCM_PIDFD, ask_for_sender, receive};
pub(crate) use program::{Strings, execve};
pub(crate) use signal::{default_signals, heed_signals, ignore_signal, restore_signal};

/// Where the C library enters. Rust's own start stays out: its guard of the
/// stack's end alone, which PID 1 has no use for, brings the C library's
/// scanf along.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _words: *const *const c_char) -> c_int {
    let code = crate::main();
    let _ = std::io::Write::flush(&mut std::io::stdout());
    c_int::from(code)
}

/// Which side of a fork runs.
enum Forked {
    /// The old process; the child's number.
    Parent(i32),
    /// The new one.
    Child,
}

/// Makes a child. Every signal should be blocked, so that none is delivered to
/// the child before it has put its signals in order. By the kernel's own call:
/// the C library's has work to do for threads, and for programs that go on in
/// the child, and brings its loader along.
fn fork() -> Result<Forked, Errno> {
    let (flags, none) = (c_long::from(libc::SIGCHLD), 0_usize);
    // SAFETY: the process has one thread (the module's invariant), so no lock
    // can be held by a thread that is missing in the child; it runs on in a
    // copy of this stack, and only to exec or to its end.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    match i32::try_from(Errno::result(pid)?) {
        Ok(0) => Ok(Forked::Child),
        Ok(pid) => Ok(Forked::Parent(pid)),
        Err(_) => Err(Errno::EINVAL),
    }
}

/// Ends the process at once: no destructor, no buffer, no `atexit`.
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: `_exit` takes any number and touches no memory of ours.
    unsafe { libc::_exit(c_int::from(code)) }
}

/// Sets this process's niceness.
pub(crate) fn set_nice(nice: i8) -> Result<(), Errno> {
    // SAFETY: setpriority takes numbers and touches no memory of ours.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, c_int::from(nice)) };
    Errno::result(done).map(drop)
}

/// Makes descriptor `to` a copy of `from` that stays open over exec. `to` must
/// belong to nobody: it is called between fork and exec only, and at boot for
/// 0 to 2.
pub(crate) fn copy_to(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: dup2 touches no memory; after the fork no destructor of this
    // copy of the process ever closes a descriptor.
    Errno::result(unsafe { libc::dup2(from, to) }).map(drop)
}

/// A copy of `from` at `least` or above, closed by exec.
pub(crate) fn copy_above(from: RawFd, least: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: fcntl with this command touches no memory.
    Errno::result(unsafe { libc::fcntl(from, libc::F_DUPFD_CLOEXEC, least) })
}

/// Marks every descriptor from `first` on as closed by exec.
pub(crate) fn close_on_exec_from(first: RawFd) {
    let low = u32::try_from(first).unwrap_or(3);
    // SAFETY: close_range with CLOEXEC touches no memory and closes nothing
    // yet.
    let done = unsafe {
        let flag = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
        libc::syscall(libc::SYS_close_range, low, u32::MAX, flag)
    };
    if done == 0 {
        return;
    }
    // A kernel before 5.11, or a sandbox without the call: one by one, up to a
    // bound that keeps this short.
    for fd in first..65_536 {
        // SAFETY: fcntl with this command touches no memory.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Gives up every capability of this process, and those that a program which
/// it executes would inherit.
pub(crate) fn drop_capabilities() -> Result<(), Errno> {
    // _LINUX_CAPABILITY_VERSION_3 and this process (capset(2)).
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0_u32; 6];
    // SAFETY: both outlive the call, and are as large as the structs that this
    // version reads: two words, and twice three.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    Errno::result(done).map(drop)
}

/// The path by which this program was executed, as the kernel was given it.
pub(crate) fn executed_path() -> Option<CString> {
    // SAFETY: getauxval takes a number and touches no memory of ours.
    let at = unsafe { libc::getauxval(libc::AT_EXECFN) };
    let at: *const c_char = std::ptr::with_exposed_provenance(usize::try_from(at).ok()?);
    if at.is_null() {
        return None;
    }
    // SAFETY: the kernel puts a string with a NUL at its end there, which
    // stays as it is while the process lives.
    Some(unsafe { CStr::from_ptr(at) }.to_owned())
}

/// Whether a descriptor is open.
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: fcntl with this command touches no memory.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Takes over a descriptor that came from outside: inherited, or out of a
/// control message. None where it is not open.
pub(crate) fn adopt(fd: RawFd) -> Option<OwnedFd> {
    if !is_open(fd) {
        return None;
    }
    // SAFETY: it is open, and the callers pass each number once: either one
    // that the kernel has just given out in a message, or an inherited one
    // before anything else could own it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) exit: Exit,
}

/// A child that has ended and is not reaped yet, if there is one. It stays a
/// zombie, so that its number can't be another's.
pub(crate) fn peek_ended() -> Result<Option<Ended>, Errno> {
    wait(
        libc::P_ALL,
        0,
        libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
    )
}

/// Reaps one child that is known to have ended.
pub(crate) fn reap(pid: i32) -> Result<Option<Ended>, Errno> {
    wait(
        libc::P_PID,
        pid.unsigned_abs(),
        libc::WEXITED | libc::WNOHANG,
    )
}

fn wait(kind: libc::idtype_t, id: u32, flags: c_int) -> Result<Option<Ended>, Errno> {
    // SAFETY: a siginfo of all zero is a valid value of that plain struct.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` outlives the call and is of the type that it fills.
    Errno::result(unsafe { libc::waitid(kind, id, &raw mut info, flags) })?;
    // SAFETY: waitid fills the child's fields, or leaves them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let number = u8::try_from(status & 0xff).unwrap_or(u8::MAX);
    let exit = match info.si_code {
        libc::CLD_EXITED => Exit::Code(number),
        _ => Signal::from_number(number).map_or(Exit::Code(u8::MAX), Exit::Signal),
    };
    Ok(Some(Ended { pid, exit }))
}

/// Signals one child by its number (or, negated, its group). Exact only while
/// that child is not reaped, which is for the caller to know.
pub(crate) fn kill(pid: i32, signal: Signal) -> Result<(), Errno> {
    // SAFETY: kill touches no memory.
    Errno::result(unsafe { libc::kill(pid, c_int::from(signal.number())) }).map(drop)
}

/// A handle on a process that stays that process.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: pidfd_open touches no memory.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just given out this descriptor, to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Signals the process behind a handle.
pub(crate) fn pidfd_signal(pidfd: &OwnedFd, signal: Signal) -> Result<(), Errno> {
    let none = std::ptr::null::<c_void>();
    let number = c_int::from(signal.number());
    // SAFETY: a null siginfo is allowed; nothing else is read.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            none,
            0,
        )
    };
    Errno::result(sent).map(drop)
}

/// Bytes that wait in a pipe.
pub(crate) fn readable_bytes(fd: impl AsFd) -> Result<usize, Errno> {
    let mut waiting: c_int = 0;
    // SAFETY: the call writes one int, which `waiting` is.
    Errno::result(unsafe {
        libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut waiting)
    })?;
    Ok(usize::try_from(waiting).unwrap_or(0))
}

/// Makes the terminal on `fd` the controlling one of this new session.
pub(crate) fn take_terminal(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: this request takes a plain number.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Gives up the controlling terminal.
pub(crate) fn leave_terminal(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: this request takes no argument.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCNOTTY) }).map(drop)
}

/// Unlocks a new terminal's master and opens the other end of it, wherever its
/// devpts is mounted.
pub(crate) fn open_peer(master: &OwnedFd) -> Result<OwnedFd, Errno> {
    let unlock: c_int = 0;
    // SAFETY: the call reads one int, which `unlock` is.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: this request takes a plain number.
    let fd = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just given out this descriptor, to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets a terminal's size.
pub(crate) fn resize(terminal: &OwnedFd, size: WindowSize) -> Result<(), Errno> {
    let size = libc::winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the call reads one winsize, which `size` is.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
        .map(drop)
}

/// Whether a child has ended and is not reaped: by a handle, so that it is that
/// process. An error where it is no child.
pub(crate) fn child_has_ended(pidfd: &OwnedFd) -> Result<bool, Errno> {
    let id = pidfd.as_raw_fd().cast_unsigned();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    wait(libc::P_PIDFD, id, flags).map(|ended| ended.is_some())
}

/// Whether the process behind a handle is there: alive, or not yet reaped.
pub(crate) fn pidfd_is_there(pidfd: &OwnedFd) -> bool {
    let none = std::ptr::null::<c_void>();
    // SAFETY: signal zero is sent to nobody; a null siginfo is allowed.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            0 as c_int,
            none,
            0,
        )
    };
    // Not to be permitted to signal it means that it is there.
    Errno::result(sent).map_or_else(|errno| errno == Errno::EPERM, |_| true)
}
