//! The only unsafe code of this crate.

use nix::errno::Errno;

/// Which side of a fork runs.
pub(crate) enum Forked {
    /// The old process; the child's number.
    Parent(i32),
    /// The new one.
    Child,
}

/// Makes a child that may run ordinary code.
pub(crate) fn fork() -> Result<Forked, Errno> {
    // SAFETY: this program never starts a thread, so no lock can be held by a
    // thread that is missing in the child.
    let pid = unsafe { libc::fork() };
    match Errno::result(pid)? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// Ends the process at once: no destructor, no buffer.
pub(crate) fn exit_now() -> ! {
    // SAFETY: `_exit` takes any number and touches no memory of ours.
    unsafe { libc::_exit(0) }
}
