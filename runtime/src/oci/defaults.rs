//! What a container gets when nobody says otherwise: docker's defaults.

use std::path::PathBuf;

use super::spec::{
    Capabilities, DeviceRule, Linux, Mount, Namespace, NamespaceType, Process, Resources, Root,
    Spec, VERSION,
};

/// Marks a configuration whose resource limits are our own defaults: one that
/// can't be had is lowered and said once, where a user's own is an error.
pub const CLAMP_LIMITS: &str = "org.holdall.limits.clamp";

/// Asks for cgroups that the first process may divide among its children: the
/// controllers that are wanted, separated by commas. Nothing of a controller
/// that isn't there is handed over, and without any there is still the cgroup
/// of version 2, to end processes by.
///
/// They are announced as LISTEN_FDS does it, behind the descriptors that the
/// caller of the runtime passes on.
pub const HAND_OVER_CGROUPS: &str = "org.holdall.cgroup.hand-over";

/// Docker's capability set.
pub const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// What says more about the host than a container should know.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/security",
];

/// What would change the host.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

const NAMESPACES: [NamespaceType; 6] = [
    NamespaceType::Pid,
    NamespaceType::Network,
    NamespaceType::Ipc,
    NamespaceType::Uts,
    NamespaceType::Mount,
    NamespaceType::Cgroup,
];

/// Destination, type, source, options.
const MOUNTS: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    (
        "/dev",
        "tmpfs",
        "tmpfs",
        &["nosuid", "strictatime", "mode=755", "size=65536k"],
    ),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &[
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ],
    ),
    (
        "/dev/shm",
        "tmpfs",
        "shm",
        &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    ),
    (
        "/dev/mqueue",
        "mqueue",
        "mqueue",
        &["nosuid", "noexec", "nodev"],
    ),
    (
        "/sys",
        "sysfs",
        "sysfs",
        &["nosuid", "noexec", "nodev", "ro"],
    ),
    (
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["nosuid", "noexec", "nodev", "relatime", "ro"],
    ),
];

/// Docker's default container: its namespaces, mounts, capabilities, filter,
/// masked paths; and `no_new_privs`, which docker leaves off.
///
/// The caller sets the root, the program and its environment.
#[must_use]
pub fn spec() -> Spec {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect::<Vec<_>>();
    let capabilities: Vec<String> = owned(&CAPABILITIES);
    Spec {
        oci_version: VERSION.to_owned(),
        root: Some(Root {
            path: PathBuf::from("rootfs"),
            readonly: false,
        }),
        mounts: MOUNTS
            .iter()
            .map(|(destination, kind, source, options)| Mount {
                destination: PathBuf::from(destination),
                kind: Some((*kind).to_owned()),
                source: Some(PathBuf::from(source)),
                options: owned(options),
                ..Mount::default()
            })
            .collect(),
        process: Some(Process {
            args: vec!["sh".to_owned()],
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ],
            cwd: PathBuf::from("/"),
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities,
                // CVE-2022-29162 and its kin: inheritable ones let a plain
                // user's exec of a marked file gain them.
                inheritable: Vec::new(),
                ambient: Vec::new(),
            }),
            no_new_privileges: true,
            ..Process::default()
        }),
        linux: Some(Linux {
            namespaces: NAMESPACES
                .map(|kind| Namespace { kind, path: None })
                .to_vec(),
            resources: Some(Resources {
                devices: vec![DeviceRule {
                    allow: false,
                    kind: None,
                    major: None,
                    minor: None,
                    access: Some("rwm".to_owned()),
                }],
                ..Resources::default()
            }),
            seccomp: Some(super::seccomp::profile::default()),
            masked_paths: paths(&MASKED),
            readonly_paths: paths(&READ_ONLY),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}
