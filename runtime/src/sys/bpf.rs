//! One program for one cgroup (bpf(2)).

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Result, check, owned};

/// An instruction as the kernel lays it out (RFC 9669, *Basic instruction
/// encoding*).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BpfInstruction {
    pub(crate) code: u8,
    /// Destination in the low four bits, source in the high ones.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) operand: i32,
}

/// `union bpf_attr` as BPF_PROG_LOAD reads it, up to what is used here; the
/// kernel takes the rest as zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// `union bpf_attr` as BPF_PROG_ATTACH reads it.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Has the kernel ask this program at each use of a device in a cgroup. It
/// stays as long as the cgroup does.
pub(crate) fn attach_device_program(
    program: &[BpfInstruction],
    cgroup: BorrowedFd<'_>,
) -> Result<()> {
    const PROG_LOAD: libc::c_int = 5;
    const PROG_ATTACH: libc::c_int = 8;
    const CGROUP_DEVICE_PROGRAM: u32 = 15;
    const CGROUP_DEVICE_HOOK: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let load = Load {
        prog_type: CGROUP_DEVICE_PROGRAM,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        insns: program.as_ptr().addr() as u64,
        license: c"Apache-2.0".as_ptr().addr() as u64,
        ..Load::default()
    };
    // SAFETY: the attributes have the kernel's layout and their size is
    // passed; program and licence outlive the call, which only reads them.
    let loaded: OwnedFd = owned(unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>())
    })?;
    let attach = Attach {
        target_fd: cgroup.as_raw_fd().unsigned_abs(),
        attach_bpf_fd: loaded.as_raw_fd().unsigned_abs(),
        attach_type: CGROUP_DEVICE_HOOK,
        attach_flags: ALLOW_MULTI,
    };
    // SAFETY: as above; both descriptors are open.
    check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_ATTACH,
            &raw const attach,
            size_of::<Attach>(),
        )
    })?;
    Ok(())
}
