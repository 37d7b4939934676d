//! What signals do to this process.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use holdall_protocol::Signal;

/// The signals that this process may ignore, a bit each: all of them, until
/// [`default_signals`] has put them in order. A program inherits only these, as
/// exec itself takes every handler back; so its child has no more to do than
/// [`heed_signals`].
static MAYBE_IGNORED: AtomicU64 = AtomicU64::new(u64::MAX);

fn bit(number: u8) -> u64 {
    1 << (u32::from(number).wrapping_sub(1) % 64)
}

/// All 64 signals to their default action.
pub(crate) fn default_signals() {
    MAYBE_IGNORED.store(u64::MAX, Ordering::Relaxed);
    heed_signals();
    MAYBE_IGNORED.store(0, Ordering::Relaxed);
}

/// Those that are ignored to their default action. The kernel's own call, as
/// glibc's refuses the two that it keeps for itself. It is called between fork
/// and exec too.
pub(crate) fn heed_signals() {
    // As large as the kernel's struct on any architecture; all zero is
    // SIG_DFL, no flags, empty mask.
    let zero = [0_u64; 8];
    let ignored = MAYBE_IGNORED.load(Ordering::Relaxed);
    for number in (1..=64_u8).filter(|number| ignored & bit(*number) != 0) {
        // SAFETY: `zero` outlives the call and is at least as large as the
        // struct read; the old action is not asked for. KILL and STOP are
        // refused, which is right.
        unsafe {
            let (action, none) = (zero.as_ptr(), std::ptr::null_mut::<c_void>());
            libc::syscall(
                libc::SYS_rt_sigaction,
                c_int::from(number),
                action,
                none,
                size_of::<u64>(),
            );
        }
    }
}

/// Ignores one signal, which also discards it where it is pending.
pub(crate) fn ignore_signal(signal: Signal) {
    MAYBE_IGNORED.fetch_or(bit(signal.number()), Ordering::Relaxed);
    // SAFETY: SIG_IGN installs no code.
    unsafe { libc::signal(c_int::from(signal.number()), libc::SIG_IGN) };
}

/// The default action again.
pub(crate) fn restore_signal(signal: Signal) {
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(c_int::from(signal.number()), libc::SIG_DFL) };
    MAYBE_IGNORED.fetch_and(!bit(signal.number()), Ordering::Relaxed);
}
