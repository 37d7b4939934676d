//! Docker's default filter, as data.
//!
//! Calls that the kernel itself checks are allowed; what would reach the host,
//! or a part of the kernel with a history of holes, isn't. The table of calls
//! is closed, so the compact form is what is *not* allowed: a call that is
//! newer than the table gets ENOSYS from the compiler's own rule, never ALLOW.

use super::table;
use crate::oci::spec::{Seccomp, SeccompAction, SeccompArg, SeccompOp, SeccompRule};

/// Refused with EPERM under docker's default capabilities.
const DENIED: [&str; 68] = [
    // The clock, the machine, the kernel's code.
    "clock_settime",
    "settimeofday",
    "reboot",
    "acct",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "bpf",
    "perf_event_open",
    "lookup_dcookie",
    "ioperm",
    "iopl",
    "swapon",
    "swapoff",
    "syslog",
    "vhangup",
    "quotactl",
    "quotactl_fd",
    // Namespaces and mounts.
    "setns",
    "unshare",
    "mount",
    "umount2",
    "pivot_root",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "sethostname",
    "setdomainname",
    "listns",
    // The kernel's keyring knows no namespaces.
    "add_key",
    "keyctl",
    "request_key",
    // Other processes and other files.
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "open_by_handle_at",
    "fanotify_init",
    // Memory policy.
    "get_mempolicy",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "mbind",
    "migrate_pages",
    "move_pages",
    // Much code, much found in it.
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    // Security modules.
    "lsm_get_self_attr",
    "lsm_set_self_attr",
    "lsm_list_modules",
    // Newer than docker's list.
    "file_getattr",
    "file_setattr",
    // Obsolete.
    "_sysctl",
    "sysfs",
    "uselib",
    "ustat",
    "nfsservctl",
    // Allowed by argument, below.
    "clone",
    "clone3",
    "personality",
    "socket",
];

/// `CLONE_NEW*` of clone(2), but for NEWTIME, which isn't its.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Execution domains that change nothing about safety: LINUX, LINUX32, both
/// with UNAME26, and asking for the present one.
const DOMAINS: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Address families below this are allowed.
const PLAIN_FAMILIES: u64 = 12;

/// More that are allowed: what is left out is no use in a container, or (AF_ALG,
/// AF_VSOCK) has holes or reaches around its network.
const FAMILIES: [u64; 25] = [
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44,
    45,
];

fn allow(name: &str, op: SeccompOp, value: u64) -> SeccompRule {
    SeccompRule {
        names: vec![name.to_owned()],
        action: SeccompAction::Allow,
        errno_ret: None,
        args: vec![SeccompArg {
            index: 0,
            value,
            value_two: 0,
            op,
        }],
    }
}

/// The profile for docker's default capabilities.
#[must_use]
pub fn default() -> Seccomp {
    let allowed = table::all()
        .map(|(name, _)| name)
        .filter(|name| !DENIED.contains(name));
    let mut syscalls = vec![SeccompRule {
        names: allowed.map(str::to_owned).collect(),
        action: SeccompAction::Allow,
        ..SeccompRule::default()
    }];
    syscalls.extend(DOMAINS.map(|domain| allow("personality", SeccompOp::Equal, domain)));
    syscalls.push(allow("socket", SeccompOp::Less, PLAIN_FAMILIES));
    syscalls.extend(FAMILIES.map(|family| allow("socket", SeccompOp::Equal, family)));
    syscalls.push(allow("clone", SeccompOp::MaskedEqual, NEW_NAMESPACES));
    syscalls.push(SeccompRule {
        // Its flags lie in memory, where a filter can't look: programs are
        // told that there is no such call and use clone.
        names: vec!["clone3".to_owned()],
        action: SeccompAction::Errno,
        errno_ret: Some(libc::ENOSYS.unsigned_abs()),
        args: Vec::new(),
    });
    Seccomp {
        default_action: SeccompAction::Errno,
        default_errno_ret: Some(libc::EPERM.unsigned_abs()),
        syscalls,
        ..Seccomp::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_denied_name_is_a_call() {
        let numbers = table::numbers();
        for name in DENIED
            .into_iter()
            .filter(|name| cfg!(target_arch = "x86_64") || *name != "iopl")
        {
            assert!(numbers.contains_key(name), "{name}");
        }
    }
}
