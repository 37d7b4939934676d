//! Where init is in the cgroup hierarchies, as /proc tells it.

use std::path::{Path, PathBuf};

/// The group that init is in, in one hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
}

impl Place {
    /// In the hierarchy of version 2, by the texts of /proc/self/cgroup and
    /// /proc/self/mountinfo.
    pub(super) fn unified(cgroup: &str, mountinfo: &str) -> Option<Self> {
        let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
        locate(own, mountinfo, |kind, _| kind == "cgroup2")
    }

    /// In that of version 1 which has a controller.
    pub(super) fn legacy(controller: &str, cgroup: &str, mountinfo: &str) -> Option<Self> {
        let has = |list: &str| list.split(',').any(|name| name == controller);
        // number:controllers:path
        let own = cgroup.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, own) = rest.split_once(':')?;
            has(controllers).then_some(own)
        })?;
        locate(own, mountinfo, |kind, options| {
            kind == "cgroup" && has(options)
        })
    }
}

/// The directory of a group, by the mounts that `wanted` takes by their type
/// and the options of their file system.
fn locate(own: &str, mountinfo: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<Place> {
    for line in mountinfo.lines() {
        // id parent major:minor root mountpoint options … - type source options
        let (fields, tail) = line.split_once(" - ")?;
        let mut tail = tail.split_whitespace();
        let (kind, options) = (tail.next()?, tail.nth(1).unwrap_or_default());
        if !wanted(kind, options) {
            continue;
        }
        let mut fields = fields.split_whitespace().skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let Ok(below) = Path::new(own).strip_prefix(root) else {
            continue;
        };
        let path = Path::new(point).join(below);
        return Some(Place { path });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 20 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
33 30 0:29 /docker/x /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
";

    fn at(path: &str) -> Option<Place> {
        let path = PathBuf::from(path);
        Some(Place { path })
    }

    #[test]
    fn the_own_group_is_found_in_a_hybrid_hierarchy() {
        let cgroup = "4:pids:/box\n2:cpu,cpuacct:/docker/x/y\n0::/box/a\n";
        let unified = Place::unified(cgroup, MOUNTS);
        assert_eq!(unified, at("/sys/fs/cgroup/unified/box/a"));
        let legacy = |controller| Place::legacy(controller, cgroup, MOUNTS);
        assert_eq!(legacy("pids"), at("/sys/fs/cgroup/pids/box"));
        assert_eq!(legacy("cpu"), at("/sys/fs/cgroup/cpu,cpuacct/y"));
        assert_eq!(legacy("memory"), None);
    }

    #[test]
    fn a_mount_that_shows_only_a_part_is_followed_from_there() {
        let mounts = "31 30 0:27 /docker/x /cg rw - cgroup2 cgroup2 rw\n";
        assert_eq!(Place::unified("0::/docker/x/y\n", mounts), at("/cg/y"));
        assert_eq!(Place::unified("0::/elsewhere\n", mounts), None);
    }

    #[test]
    fn without_version_2_there_is_none() {
        assert_eq!(Place::unified("4:pids:/box\n", MOUNTS), None);
    }
}
