//! A cgroup a service, where init is PID 1 of a box and may make groups below
//! its own: then one write ends everything in it. Version 2, also beside a
//! version 1 hierarchy. Anywhere else nobody asked us to touch the host's
//! groups, and the lineage mark does the work.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use holdall_protocol::ServiceName;

/// The group that init is in.
#[derive(Debug)]
pub(crate) struct Cgroups {
    own: PathBuf,
}

/// The group of one service.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroups {
    /// Init's own group, if groups can be made below it.
    pub(crate) fn find() -> Option<Self> {
        let own = locate(
            &fs::read_to_string("/proc/self/cgroup").ok()?,
            &fs::read_to_string("/proc/self/mountinfo").ok()?,
        )?;
        // The root of the whole system has no such file, and is not ours.
        if !own.join("cgroup.kill").exists() {
            return None;
        }
        let trial = own.join("holdall.init");
        fs::create_dir(&trial).ok()?;
        fs::remove_dir(&trial).ok()?;
        Some(Self { own })
    }

    /// The group of a service, made where it isn't there, and the file by
    /// which a process joins it.
    pub(crate) fn of(&self, service: &ServiceName) -> io::Result<(Cgroup, OwnedFd)> {
        let path = self.own.join(format!("service.{service}"));
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let procs = File::options()
            .write(true)
            .open(path.join("cgroup.procs"))?;
        Ok((Cgroup { path }, procs.into()))
    }
}

impl Cgroup {
    /// Kills whoever is in it; true when there was nobody.
    pub(crate) fn kill_all(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        let populated = events.lines().any(|line| line == "populated 1");
        if populated {
            // An error is seen in the next round: still populated.
            let _ = fs::write(self.path.join("cgroup.kill"), "1");
        }
        !populated
    }

    /// Removes it, if nobody is in it.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// The directory of the version 2 group of /proc/self/cgroup, by the mounts of
/// /proc/self/mountinfo.
fn locate(cgroup: &str, mountinfo: &str) -> Option<PathBuf> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    for line in mountinfo.lines() {
        // id parent major:minor root mountpoint options … - type source …
        let (fields, tail) = line.split_once(" - ")?;
        if tail.split_whitespace().next() != Some("cgroup2") {
            continue;
        }
        let mut fields = fields.split_whitespace().skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let Ok(below) = Path::new(own).strip_prefix(root) else {
            continue;
        };
        return Some(Path::new(point).join(below));
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
";

    #[test]
    fn the_own_group_is_found_in_a_hybrid_hierarchy() {
        let cgroup = "4:pids:/box\n0::/box/a\n";
        let own = locate(cgroup, MOUNTS);
        assert_eq!(own, Some(PathBuf::from("/sys/fs/cgroup/unified/box/a")));
    }

    #[test]
    fn a_mount_that_shows_only_a_part_is_followed_from_there() {
        let mounts = "31 30 0:27 /docker/x /cg rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            locate("0::/docker/x/y\n", mounts),
            Some(PathBuf::from("/cg/y"))
        );
        assert_eq!(locate("0::/elsewhere\n", mounts), None);
    }

    #[test]
    fn without_version_2_there_is_none() {
        assert_eq!(locate("4:pids:/box\n", MOUNTS), None);
    }
}
