//! Which hierarchies this host has, and where.

use std::fs;
use std::path::{Path, PathBuf};

use super::{CgroupError, failed};

/// The hierarchies that are mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Version 2.
    pub(crate) v2: Option<V2>,
    /// Version 1.
    pub(crate) v1: Vec<V1>,
}

/// The version 2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct V2 {
    pub(crate) mount: PathBuf,
    /// What it can limit here; nothing where version 1 holds all controllers.
    pub(crate) controllers: Vec<String>,
}

/// One hierarchy of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct V1 {
    pub(crate) mount: PathBuf,
    /// The mount point's last name.
    pub(crate) name: String,
    pub(crate) controllers: Vec<String>,
}

/// Every controller that version 1 ever had: what else stands among a mount's
/// options isn't one.
const CONTROLLERS: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "net_prio",
    "blkio",
    "perf_event",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
];

impl Layout {
    /// Reads what is mounted.
    pub(crate) fn detect() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read(path).map_err(failed("read", path))?;
        let mut layout = parse(&String::from_utf8_lossy(&text));
        if let Some(v2) = &mut layout.v2 {
            let path = v2.mount.join("cgroup.controllers");
            let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
            v2.controllers = text.split_whitespace().map(str::to_owned).collect();
        }
        Ok(layout)
    }

    /// The version 1 hierarchy of a controller.
    pub(crate) fn v1_of(&self, controller: &str) -> Option<&V1> {
        self.v1
            .iter()
            .find(|hierarchy| hierarchy.controllers.iter().any(|c| c == controller))
    }
}

/// proc_pid_mountinfo(5). The first mount of a hierarchy counts.
fn parse(text: &str) -> Layout {
    let mut layout = Layout::default();
    for line in text.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else {
            continue;
        };
        let mut fields = mount.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else {
            continue;
        };
        let mut filesystem = filesystem.split(' ');
        let (kind, options) = (filesystem.next(), filesystem.nth(1).unwrap_or_default());
        let mount = PathBuf::from(point);
        match kind {
            // A container's own corner of the tree, seen from outside.
            _ if root.starts_with("/..") => {}
            Some("cgroup2") if layout.v2.is_none() => {
                layout.v2 = Some(V2 {
                    mount,
                    controllers: Vec::new(),
                });
            }
            Some("cgroup") => {
                let controllers: Vec<String> = options
                    .split(',')
                    .filter(|word| CONTROLLERS.contains(word))
                    .map(str::to_owned)
                    .collect();
                let known = layout
                    .v1
                    .iter()
                    .any(|known| known.controllers == controllers);
                let name = mount
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned());
                if let Some(name) = name.filter(|_| !controllers.is_empty() && !known) {
                    layout.v1.push(V1 {
                        mount,
                        name,
                        controllers,
                    });
                }
            }
            _ => {}
        }
    }
    layout
}

/// Lets controllers act below each directory on the way to a cgroup.
pub(super) fn enable(
    mount: &Path,
    relative: &Path,
    controllers: &[&str],
) -> Result<(), CgroupError> {
    if controllers.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
    let mut place = mount.to_owned();
    for component in relative.components() {
        let path = place.join("cgroup.subtree_control");
        fs::write(&path, words.join(" ")).map_err(failed("write", &path))?;
        place.push(component);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_host_has_both_versions() {
        let layout = parse(
            "30 1 0:2 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             31 30 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             32 30 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             33 30 0:5 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n\
             34 30 0:5 /x /mnt/other rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(
            layout.v2.as_ref().unwrap().mount,
            Path::new("/sys/fs/cgroup/unified")
        );
        assert_eq!(layout.v1.len(), 1);
        assert_eq!(layout.v1_of("cpuacct").unwrap().name, "cpu,cpuacct");
        assert!(layout.v1_of("systemd").is_none());
    }
}
