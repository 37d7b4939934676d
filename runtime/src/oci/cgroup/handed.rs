//! Cgroups that a container's first process is given to divide among its
//! children: a child of each of the container's own, as the root of a detached
//! mount.
//!
//! It gets a copy of the mount and never a descriptor of the directory alone:
//! that one's `..` leads to the cgroups of the whole host. From a child it
//! reaches no file of the container's own cgroup, so that it can't lift the
//! limits that hold for all of the container.
//!
//! Where version 2 is there, the container's processes live in that child from
//! the beginning: it is the root of their cgroup namespace, and controllers can
//! be handed on through the cgroup above, which must have no process then.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use holdall_protocol::control::cgroup_fd_name;

use super::{CgroupError, Layout, Membership, failed, layout, make_dir};
use crate::oci::defaults::HAND_OVER_CGROUPS;
use crate::oci::spec::{IdMapping, Process, Spec};
use crate::sys;

/// The child. What is below is its owner's.
const CHILD: &str = "services";

/// The most cgroups that may lie below a container of version 2. Each of them
/// with a memory controller takes one of 65,535 numbers that the whole machine
/// has. (Version 1 has no such bound; there the memory limit of the container
/// is one, since the kernel counts what a cgroup takes.)
const MOST: u32 = 8192;

/// How deep they may lie: as deep as a manager of services below init nests its
/// own.
const DEEPEST: u32 = 16;

/// What the first process wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(super) controllers: Vec<String>,
    /// Who it is, as the host numbers it.
    owner: (u32, u32),
}

impl Wanted {
    /// What a configuration asks for; nothing where it asks for none.
    pub(crate) fn of(spec: &Spec) -> Option<Self> {
        let list = spec.annotations.get(HAND_OVER_CGROUPS)?;
        let user = spec.process.as_ref().map(|process| &process.user);
        let (uid, gid) = user.map_or((0, 0), |user| (user.uid, user.gid));
        let linux = spec.linux.as_ref();
        let uids = linux.map_or(&[][..], |linux| &linux.uid_mappings);
        let gids = linux.map_or(&[][..], |linux| &linux.gid_mappings);
        Some(Self {
            controllers: list
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            owner: (on_host(uids, uid)?, on_host(gids, gid)?),
        })
    }

    /// The controllers of version 1 for which a cgroup is made. One that needs
    /// processors and memory nodes assigned before anybody can be in it is not
    /// for this.
    pub(super) fn in_v1(&self, layout: &Layout) -> impl Iterator<Item = &str> {
        let names = self.controllers.iter().map(String::as_str);
        names.filter(|name| {
            let hierarchy = layout.v1_of(name);
            hierarchy.is_some_and(|found| !found.controllers.iter().any(|other| other == "cpuset"))
        })
    }
}

fn on_host(mappings: &[IdMapping], id: u32) -> Option<u32> {
    if mappings.is_empty() {
        return Some(id);
    }
    mappings.iter().find_map(|range| {
        let offset = id.checked_sub(range.container_id)?;
        range
            .host_id
            .checked_add(offset)
            .filter(|_| offset < range.size)
    })
}

/// Makes the children.
pub(super) fn make(layout: &Layout, made: &Membership, wanted: &Wanted) -> Result<(), CgroupError> {
    if let (Some(v2), Some(path)) = (&layout.v2, &made.v2) {
        for (file, bound) in [
            ("cgroup.max.descendants", MOST),
            ("cgroup.max.depth", DEEPEST),
        ] {
            // A kernel before 4.14 has neither.
            if let Err(error) = fs::write(path.join(file), bound.to_string()) {
                log::debug!("cannot write {}: {error}", path.join(file).display());
            }
        }
        let there = wanted.controllers.iter().map(String::as_str);
        let there: Vec<&str> = there
            .filter(|name| v2.controllers.iter().any(|known| known == name))
            .collect();
        let child = path.join(CHILD);
        let relative = child.strip_prefix(&v2.mount).unwrap_or(&child);
        // Where the host's own cgroup has processes, none can be handed on;
        // the first process says which of its limits is not held.
        if let Err(error) = layout::enable(&v2.mount, relative, &there) {
            log::debug!("{}", crate::causes::chain(&error));
        }
        make_child(&child, wanted)?;
    }
    for controller in wanted.in_v1(layout) {
        if let Some(member) = made.v1_of(controller) {
            make_child(&member.join(CHILD), wanted)?;
        }
    }
    Ok(())
}

/// Makes one, and gives away what its owner needs: to make cgroups below it, to
/// move processes, and to hand controllers on. Its limits are not among that.
fn make_child(path: &Path, wanted: &Wanted) -> Result<(), CgroupError> {
    make_dir(path)?;
    let (uid, gid) = wanted.owner;
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    chown(path, Some(uid), Some(gid)).map_err(failed("give away", path))?;
    for file in [
        "cgroup.procs",
        "cgroup.threads",
        "cgroup.subtree_control",
        "tasks",
    ] {
        let path = path.join(file);
        match chown(&path, Some(uid), Some(gid)) {
            // Of the other version.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done.map_err(failed("give away", &path))?,
        }
    }
    Ok(())
}

impl Membership {
    /// Where processes of the container begin, in version 2.
    pub(super) fn home(&self) -> Option<PathBuf> {
        let path = self.v2.as_ref()?;
        Some(if self.divided {
            path.join(CHILD)
        } else {
            path.clone()
        })
    }

    pub(super) fn v1_of(&self, controller: &str) -> Option<&Path> {
        let mut members = self.v1.iter();
        let member = members.find(|member| member.controllers.iter().any(|c| c == controller));
        member.map(|member| member.path.as_path())
    }

    /// Descriptors of the children, with their names. One that can't be made (a
    /// kernel without `open_tree`, or no right to mount) is left out: its
    /// controller counts as missing then.
    pub(crate) fn open_handed(&self, wanted: Option<&Wanted>) -> Vec<(String, OwnedFd)> {
        let Some(wanted) = wanted.filter(|_| self.divided) else {
            return Vec::new();
        };
        let v2 = self.home().map(|path| (cgroup_fd_name(None), path));
        let v1 = wanted.controllers.iter().filter_map(|controller| {
            let path = self.v1_of(controller)?.join(CHILD);
            Some((cgroup_fd_name(Some(controller)), path))
        });
        let open = |(name, path): (String, PathBuf)| match sys::clone_tree(&path, false) {
            Ok(tree) => Some((name, tree)),
            Err(errno) => {
                log::debug!("cannot hand over {}: {errno}", path.display());
                None
            }
        };
        v2.into_iter()
            .chain(v1.filter(|(_, path)| path.exists()))
            .filter_map(open)
            .collect()
    }
}

/// Announces descriptors that come behind `passed` others.
pub(crate) fn announce(process: &mut Process, passed: i32, handed: &[(String, OwnedFd)]) {
    if handed.is_empty() {
        return;
    }
    let names: Vec<&str> = handed.iter().map(|(name, _)| name.as_str()).collect();
    announce_names(&mut process.env, passed, &names);
}

fn announce_names(env: &mut Vec<String>, passed: i32, names: &[&str]) {
    let take = |env: &mut Vec<String>, key: &str| {
        let mut found = None;
        env.retain(|variable| match variable.strip_prefix(key) {
            Some(value) => {
                found = Some(value.to_owned());
                false
            }
            None => true,
        });
        found
    };
    let before = take(env, "LISTEN_FDNAMES=").unwrap_or_default();
    let mut all: Vec<&str> = before.split(':').filter(|_| !before.is_empty()).collect();
    // What was passed without a name keeps its place.
    let passed = usize::try_from(passed).unwrap_or(0);
    all.resize(passed, "unknown");
    all.extend(names);
    take(env, "LISTEN_FDS=");
    take(env, "LISTEN_PID=");
    env.push("LISTEN_PID=1".to_owned());
    env.push(format!("LISTEN_FDS={}", all.len()));
    env.push(format!("LISTEN_FDNAMES={}", all.join(":")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_come_behind_those_of_what_is_passed_on() {
        let mut env = vec![
            "A=1".to_owned(),
            "LISTEN_PID=1".to_owned(),
            "LISTEN_FDS=2".to_owned(),
            "LISTEN_FDNAMES=control:log".to_owned(),
        ];
        announce_names(&mut env, 2, &["x", "y"]);
        let expected = [
            "A=1",
            "LISTEN_PID=1",
            "LISTEN_FDS=4",
            "LISTEN_FDNAMES=control:log:x:y",
        ];
        assert_eq!(env, expected);
        let mut env = Vec::new();
        announce_names(&mut env, 1, &["x"]);
        assert_eq!(
            env,
            ["LISTEN_PID=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=unknown:x"]
        );
    }

    #[test]
    fn the_owner_is_numbered_as_the_host_does_it() {
        let range = |container_id, host_id, size| IdMapping {
            container_id,
            host_id,
            size,
        };
        assert_eq!(on_host(&[], 7), Some(7));
        let ranges = [range(0, 100_000, 10), range(10, 5000, 1)];
        assert_eq!(on_host(&ranges, 7), Some(100_007));
        assert_eq!(on_host(&ranges, 10), Some(5000));
        assert_eq!(on_host(&ranges, 11), None);
    }
}
