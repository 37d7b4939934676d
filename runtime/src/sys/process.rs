//! Processes: clone3, pidfds, seccomp, limits.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Result, check, owned};

/// `CLONE_NEW*` and friends, as `clone3(2)` takes them.
pub(crate) mod clone {
    pub(crate) const PIDFD: u64 = 0x1000;
    pub(crate) const INTO_CGROUP: u64 = 0x2_0000_0000;
    pub(crate) const NEWNS: u64 = 0x0002_0000;
    pub(crate) const NEWCGROUP: u64 = 0x0200_0000;
    pub(crate) const NEWUTS: u64 = 0x0400_0000;
    pub(crate) const NEWIPC: u64 = 0x0800_0000;
    pub(crate) const NEWUSER: u64 = 0x1000_0000;
    pub(crate) const NEWPID: u64 = 0x2000_0000;
    pub(crate) const NEWNET: u64 = 0x4000_0000;
    pub(crate) const NEWTIME: u64 = 0x80;
}

#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Which side of a clone this is.
pub(crate) enum Cloned {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// The new process's id here.
        pid: Pid,
        /// A handle on it that outlives the number.
        pidfd: OwnedFd,
    },
}

/// Forks into new namespaces, and into a cgroup of version 2 if one is given.
///
/// Only for a single-threaded process: the child goes on to allocate. The
/// runtime is re-executed for each verb and starts no thread.
pub(crate) fn clone_process(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut arguments = CloneArgs {
        flags: namespaces | clone::PIDFD,
        pidfd: (&raw mut pidfd).addr() as u64,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= clone::INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM the child has its own copy of all memory, so
    // this is a fork; the arguments have the kernel's layout and size, and the
    // pidfd's place outlives the call. The process has one thread, so no lock
    // is held by a thread that the child lacks.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArgs>(),
        )
    })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    let pid = i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?;
    Ok(Cloned::Parent {
        pid: Pid::from_raw(pid),
        pidfd: owned(libc::c_long::from(pidfd))?,
    })
}

/// Ends the process at once: no destructor, no exit handler. What a child of
/// a clone must do, since both would act on the parent's things.
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(i32::from(code)) }
}

/// A handle on a process.
pub(crate) fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes integers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
}

/// Sends a signal by number, so that real-time ones work.
pub(crate) fn pidfd_kill(process: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: no siginfo is passed; the rest are integers.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })?;
    Ok(())
}

/// Asks for a signal when the parent dies, or for none.
pub(crate) fn parent_death_signal(signal: Option<Signal>) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(signal)
}

/// Loads a seccomp filter for this thread.
pub(crate) fn load_filter(
    program: &[libc::sock_filter],
    flags: libc::c_ulong,
) -> Result<Option<OwnedFd>> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the program and its header outlive the call; the kernel only
    // reads them.
    let value = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    })?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    owned(value).map(Some)
}

/// Sets a limit of another process (0: this one).
pub(crate) fn set_limit(pid: Pid, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the new limit outlives the call and no old one is asked for.
    check(libc::c_long::from(unsafe {
        libc::prlimit64(
            pid.as_raw(),
            resource,
            &raw const limit,
            std::ptr::null_mut(),
        )
    }))?;
    Ok(())
}

/// Reads a limit of this process: soft, hard.
pub(crate) fn limit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the old limit's place outlives the call and no new one is set.
    check(libc::c_long::from(unsafe {
        libc::prlimit64(0, resource, std::ptr::null(), &raw mut limit)
    }))?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets the execution domain (personality(2)).
pub(crate) fn set_execution_domain(domain: u64) -> Result<()> {
    // SAFETY: personality takes an integer.
    check(unsafe { libc::syscall(libc::SYS_personality, domain) })?;
    Ok(())
}

/// Sets the inheritable, permitted and effective sets at once.
pub(crate) fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let low = |set: u64| u32::try_from(set & 0xffff_ffff).unwrap_or(0);
    let high = |set: u64| u32::try_from(set >> 32).unwrap_or(0);
    let data: [u32; 6] = [
        low(effective),
        low(permitted),
        low(inheritable),
        high(effective),
        high(permitted),
        high(inheritable),
    ];
    // SAFETY: header and data have version 3's layout (two structs of three
    // words) and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// Puts all signals back to their defaults, none blocked. Handlers vanish at
/// exec, ignored signals don't.
pub(crate) fn reset_signals() -> Result<()> {
    // The kernel's own struct sigaction: SIG_DFL, no flags, no restorer, an
    // empty mask. The C library's call refuses the two signals it keeps for
    // itself, which a caller may well have ignored.
    let default = [0u64; 4];
    for number in 1..=libc::SIGRTMAX() {
        if matches!(number, libc::SIGKILL | libc::SIGSTOP) {
            continue;
        }
        // SAFETY: the action has the kernel's layout (four words with a mask
        // of eight bytes) and outlives the call; no old one is asked for.
        check(unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        })?;
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()
}

/// Takes one capability out of the bounding set.
pub(crate) fn drop_bounding(capability: u8) -> Result<()> {
    // SAFETY: PR_CAPBSET_DROP takes integers only.
    let done = unsafe {
        libc::prctl(
            libc::PR_CAPBSET_DROP,
            libc::c_ulong::from(capability),
            0,
            0,
            0,
        )
    };
    check(libc::c_long::from(done))?;
    Ok(())
}

/// Joins namespaces of another process at once, its user namespace first.
pub(crate) fn join_namespaces(process: BorrowedFd<'_>, flags: u64) -> Result<()> {
    let flags = libc::c_int::try_from(flags).map_err(|_| Errno::EINVAL)?;
    // SAFETY: setns takes integers only.
    check(libc::c_long::from(unsafe {
        libc::setns(process.as_raw_fd(), flags)
    }))?;
    Ok(())
}
