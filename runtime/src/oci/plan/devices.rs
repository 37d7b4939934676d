//! The device nodes of a plan.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::PlanError;
use crate::oci::spec::Device;

/// One entry of /dev (or elsewhere).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Absolute.
    pub(crate) path: PathBuf,
    pub(crate) kind: NodeKind,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// A character or block device, or a FIFO, made here.
    Special {
        /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
        format: u32,
        major: u64,
        minor: u64,
        mode: u32,
        owner: (u32, u32),
    },
    /// The host's own, bound; in a user namespace none can be made.
    Host,
    /// A symbolic link.
    Link(&'static str),
}

/// What every container has (config-linux.md, *Default Devices*).
const DEFAULT: [(&str, u64, u64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that programs expect (config-linux.md, *Default Devices* and runc's).
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/core", "/proc/kcore"),
];

/// Plans nodes and links. Where /dev isn't ours, only what lies elsewhere.
pub(super) fn plan(
    devices: &[Device],
    own_dev: bool,
    can_mknod: bool,
) -> Result<Vec<Node>, PlanError> {
    let mut kinds: BTreeMap<PathBuf, NodeKind> = BTreeMap::new();
    let special = |format, major, minor, mode, owner| {
        if can_mknod {
            NodeKind::Special {
                format,
                major,
                minor,
                mode,
                owner,
            }
        } else {
            NodeKind::Host
        }
    };
    for (path, major, minor) in DEFAULT {
        kinds.insert(
            path.into(),
            special(libc::S_IFCHR, major, minor, 0o666, (0, 0)),
        );
    }
    for device in devices {
        let invalid = || PlanError::Invalid {
            property: "linux.devices",
            value: device.path.display().to_string(),
        };
        let format = match device.kind.as_str() {
            "c" | "u" => libc::S_IFCHR,
            "b" => libc::S_IFBLK,
            "p" => libc::S_IFIFO,
            _ => return Err(invalid()),
        };
        if !device.path.is_absolute() || device.path.components().any(|c| c.as_os_str() == "..") {
            return Err(invalid());
        }
        let number = |value: i64| u64::try_from(value).map_err(|_| invalid());
        let (major, minor) = if format == libc::S_IFIFO {
            (0, 0)
        } else {
            (number(device.major)?, number(device.minor)?)
        };
        let mode = device.file_mode.unwrap_or(0o666) & 0o7777;
        let owner = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
        kinds.insert(
            device.path.clone(),
            special(format, major, minor, mode, owner),
        );
    }
    for (path, target) in LINKS {
        kinds.insert(path.into(), NodeKind::Link(target));
    }
    let mine = |path: &Path| own_dev || !path.starts_with("/dev");
    Ok(kinds
        .into_iter()
        .filter(|(path, _)| mine(path))
        .map(|(path, kind)| Node { path, kind })
        .collect())
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            NodeKind::Special {
                major, minor, mode, ..
            } => {
                write!(f, "{path}({major}:{minor} {mode:o})")
            }
            NodeKind::Host => write!(f, "{path}(host)"),
            NodeKind::Link(target) => write!(f, "{path}->{target}"),
        }
    }
}
