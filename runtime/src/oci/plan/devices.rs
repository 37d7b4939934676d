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
    for (index, device) in devices.iter().enumerate() {
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
        let number = |name, value: Option<i64>| {
            let value = value.ok_or_else(|| PlanError::NoNumber {
                index,
                number: name,
                kind: device.kind.clone(),
            })?;
            u64::try_from(value).map_err(|_| invalid())
        };
        let (major, minor) = if format == libc::S_IFIFO {
            (0, 0)
        } else {
            (
                number("major", device.major)?,
                number("minor", device.minor)?,
            )
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

#[cfg(test)]
mod tests {
    use std::slice;

    use libc::{S_IFBLK, S_IFCHR, S_IFIFO};
    use serde_json::{Value, json};

    use super::*;

    /// What a configured device becomes where nodes can be made.
    fn planned(config: &Value) -> Result<NodeKind, PlanError> {
        let device: Device = serde_json::from_value(config.clone()).unwrap();
        let nodes = plan(slice::from_ref(&device), true, true)?;
        let made = nodes.into_iter().find(|node| node.path == device.path);
        Ok(made.expect("a node at the path of the device").kind)
    }

    #[test]
    fn a_device_is_made_with_the_type_numbers_mode_and_owner_it_was_given() {
        let cases = [
            // As in config-linux.md, *Devices*: 438 is 0666, 432 is 0660.
            (
                json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438,
                "uid": 0, "gid": 0}),
                (S_IFCHR, 10, 229, 0o666, (0, 0)),
            ),
            (
                json!({"path": "/dev/sda", "type": "b", "major": 8, "minor": 0, "fileMode": 432,
                "uid": 0, "gid": 6}),
                (S_IFBLK, 8, 0, 0o660, (0, 6)),
            ),
            // mknod(1): an unbuffered device is a character device too.
            (
                json!({"path": "/dev/raw1", "type": "u", "major": 162, "minor": 1}),
                (S_IFCHR, 162, 1, 0o666, (0, 0)),
            ),
            // A FIFO has no numbers.
            (
                json!({"path": "/run/fifo", "type": "p", "fileMode": 0o600, "uid": 1000, "gid": 100}),
                (S_IFIFO, 0, 0, 0o600, (1000, 100)),
            ),
            (
                json!({"path": "/run/fifo", "type": "p", "major": -1, "minor": -1}),
                (S_IFIFO, 0, 0, 0o666, (0, 0)),
            ),
            // As stat(2) tells a mode, the type is in it; only permissions count.
            (
                json!({"path": "/dev/tape", "type": "c", "major": 9, "minor": 0,
                "fileMode": S_IFCHR | 0o2640}),
                (S_IFCHR, 9, 0, 0o2640, (0, 0)),
            ),
        ];
        for (config, (format, major, minor, mode, owner)) in cases {
            let made = NodeKind::Special {
                format,
                major,
                minor,
                mode,
                owner,
            };
            assert_eq!(planned(&config), Ok(made), "{config}");
        }
    }

    #[test]
    fn a_device_without_a_number_is_refused_unless_it_is_a_fifo() {
        for kind in ["c", "u", "b"] {
            for (numbers, missing) in [
                (json!({}), "major"),
                (json!({"major": 10}), "minor"),
                (json!({"minor": 229}), "major"),
            ] {
                let mut config = numbers;
                config["type"] = kind.into();
                config["path"] = "/dev/x".into();
                let text = format!(
                    "cannot use the configuration: linux.devices[0].{missing} is missing, \
                     type {kind:?} needs it"
                );
                assert_eq!(planned(&config).unwrap_err().to_string(), text, "{config}");
            }
        }
        // A zero that was written is a number.
        let zero = json!({"path": "/dev/x", "type": "b", "major": 8, "minor": 0});
        assert!(planned(&zero).is_ok());
    }

    #[test]
    fn a_device_of_no_known_type_or_number_or_outside_the_container_is_refused() {
        for (path, kind, major, minor) in [
            // The type "all" is for rules of access, not for nodes.
            ("/dev/x", "a", 1, 3),
            ("/dev/x", "d", 1, 3),
            ("/dev/x", "", 1, 3),
            // So is -1 for any number.
            ("/dev/x", "c", -1, 3),
            ("/dev/x", "b", 8, -1),
            ("dev/x", "c", 1, 3),
            ("/dev/../../x", "c", 1, 3),
            ("../dev/x", "c", 1, 3),
        ] {
            let refused = PlanError::Invalid {
                property: "linux.devices",
                value: path.to_owned(),
            };
            let config = json!({"path": path, "type": kind, "major": major, "minor": minor});
            assert_eq!(planned(&config), Err(refused), "{config}");
        }
    }
}
