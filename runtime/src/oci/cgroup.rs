//! Control groups, of version 1, 2 or both at once. No controller is assumed:
//! what nobody asked for is left out, and what was asked for and isn't there
//! is an error.
//!
//! Where version 2 is mounted, even without controllers beside version 1, the
//! container is cloned straight into a cgroup of it: `cgroup.kill` then ends
//! everything at once.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::plan::CgroupMount;
use super::spec::{DeviceRule, Resources};
use crate::sys;

mod devices;
mod handed;
mod layout;
mod limits;
mod tree;
pub(crate) use handed::{Wanted, announce};
pub(crate) use layout::Layout;

/// Why a cgroup can't be made, joined or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    /// A path that leaves the hierarchy, or systemd's form.
    #[error("cannot use the cgroup path {0:?}")]
    Path(String),
    /// A controller that this host doesn't have.
    #[error("cannot limit {what}: the host has no {controller} controller")]
    NoController {
        /// The limit.
        what: String,
        /// Who would enforce it.
        controller: String,
    },
    /// A file or directory of the hierarchy.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A device rule that can't be compiled.
    #[error("cannot set the device rules")]
    Devices(#[source] nix::Error),
}

pub(super) fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::File { verb, path, source }
}

/// The cgroups of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    /// In the version 2 hierarchy.
    pub(crate) v2: Option<PathBuf>,
    /// In hierarchies of version 1: mount point's name, other names, path.
    pub(crate) v1: Vec<V1Member>,
    /// The first process gets a child of each to divide further; in version 2
    /// all processes live in it.
    #[serde(default)]
    pub(crate) divided: bool,
}

/// One cgroup of version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct V1Member {
    /// The hierarchy's directory name, such as `cpu,cpuacct`.
    pub(crate) name: String,
    /// Its controllers.
    pub(crate) controllers: Vec<String>,
    /// The container's directory.
    pub(crate) path: PathBuf,
}

/// The cgroups that a container will have. Nothing is made yet, so that they
/// can be written down first: a cgroup that nobody knows of stays for good.
pub(crate) fn plan(
    layout: &Layout,
    wanted: &str,
    resources: Option<&Resources>,
    handed: Option<&Wanted>,
) -> Result<Membership, CgroupError> {
    let relative = check_path(wanted)?;
    let limits = limits::of(resources);
    let mut controllers: Vec<&str> = limits.iter().map(|limit| limit.controller).collect();
    if !device_rules(resources).is_empty() && layout.v1_of("devices").is_some() {
        controllers.push("devices");
    }
    controllers.extend(handed.iter().flat_map(|handed| handed.in_v1(layout)));
    if layout.v2.is_none() {
        // The only way to stop everything at once.
        controllers.push("freezer");
    }
    let has_one = |hierarchy: &&layout::V1| {
        let mut names = hierarchy.controllers.iter();
        names.any(|name| controllers.contains(&name.as_str()))
    };
    let v1 = layout.v1.iter().filter(has_one).map(|hierarchy| V1Member {
        name: hierarchy.name.clone(),
        controllers: hierarchy.controllers.clone(),
        path: hierarchy.mount.join(&relative),
    });
    Ok(Membership {
        v2: layout.v2.as_ref().map(|v2| v2.mount.join(&relative)),
        v1: v1.collect(),
        divided: handed.is_some(),
    })
}

/// Makes the cgroups that were planned and sets their limits. On failure those
/// in `made` are there, and are the caller's to remove.
pub(crate) fn make(
    layout: &Layout,
    planned: &Membership,
    resources: Option<&Resources>,
    handed: Option<&Wanted>,
    made: &mut Membership,
) -> Result<(), CgroupError> {
    made.divided = planned.divided;
    for member in &planned.v1 {
        make_dir(&member.path)?;
        made.v1.push(member.clone());
    }
    let limits = limits::of(resources);
    if let (Some(v2), Some(path)) = (&layout.v2, &planned.v2) {
        let used: Vec<&str> = limits
            .iter()
            .map(|limit| limit.controller)
            .filter(|name| layout.v1_of(name).is_none())
            .filter(|name| v2.controllers.iter().any(|known| known == name))
            .collect();
        make_dir(path)?;
        made.v2 = Some(path.clone());
        let relative = path.strip_prefix(&v2.mount).unwrap_or(path);
        layout::enable(&v2.mount, relative, &used)?;
    }
    limits::write(&limits, made, layout)?;
    if let Some(resources) = resources {
        limits::write_unified(&resources.unified, made)?;
    }
    let rules = device_rules(resources);
    if !rules.is_empty() {
        devices::restrict(rules, made)?;
    }
    // Last: what is below them is limited from the beginning.
    handed.map_or(Ok(()), |handed| handed::make(layout, made, handed))
}

fn device_rules(resources: Option<&Resources>) -> &[DeviceRule] {
    resources.map_or(&[], |resources| &resources.devices)
}

/// `/a/b` or `a/b`, below the hierarchy's root.
fn check_path(wanted: &str) -> Result<PathBuf, CgroupError> {
    let error = || CgroupError::Path(wanted.to_owned());
    let relative = PathBuf::from(wanted.trim_matches('/'));
    let plain = relative
        .components()
        .all(|c| matches!(c, std::path::Component::Normal(_)));
    if !plain || relative.as_os_str().is_empty() || wanted.contains([':', '\n', '\0']) {
        return Err(error());
    }
    Ok(relative)
}

fn make_dir(path: &Path) -> Result<(), CgroupError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("make", parent))?;
    }
    match fs::create_dir(path) {
        // Docker makes it beforehand in some versions, and a cgroup that is
        // empty is as good as new.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(failed("make", path)),
    }
}

impl Membership {
    /// The version 2 directory, for a clone into it.
    pub(crate) fn open_v2(&self) -> Result<Option<OwnedFd>, CgroupError> {
        let open = |path: PathBuf| {
            let file = fs::File::open(&path);
            file.map(OwnedFd::from).map_err(failed("open", &path))
        };
        self.home().map(open).transpose()
    }

    /// The version 1 files through which a process joins by itself.
    ///
    /// A single thread that writes `0` for itself to `tasks` needs no lock
    /// over all forks of the machine; a pid written to `cgroup.procs` does,
    /// and waits 4 ms for it.
    pub(crate) fn open_v1(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        let open = |member: &V1Member| {
            let path = member.path.join("tasks");
            let file = fs::OpenOptions::new().write(true).open(&path);
            file.map(OwnedFd::from).map_err(failed("open", &path))
        };
        self.v1.iter().map(open).collect()
    }

    /// Puts a process into the version 2 cgroup; for a kernel that can't
    /// clone into one.
    pub(crate) fn join_v2(&self, pid: Pid) -> Result<(), CgroupError> {
        self.home().map_or(Ok(()), |path| join(&path, pid))
    }

    /// Whether a process is in the version 2 cgroup or below it, or there is
    /// none to be in.
    pub(crate) fn holds_v2(&self, pid: Pid) -> bool {
        self.v2.is_none() || self.pids().contains(&pid)
    }

    /// The version 2 cgroup that a process of this container is in, if it is
    /// below the container's.
    pub(crate) fn leaf_of(pid: i32, cgroup: &Self) -> Result<Option<OwnedFd>, CgroupError> {
        let Some(top) = &cgroup.v2 else {
            return Ok(None);
        };
        let Some(path) = tree::find(top, pid) else {
            return Ok(None);
        };
        fs::File::open(&path)
            .map(|file| Some(file.into()))
            .map_err(failed("open", &path))
    }

    /// What the container sees of them.
    pub(crate) fn mounts(&self) -> Vec<CgroupMount> {
        let alone = self.v1.is_empty();
        let mut mounts: Vec<CgroupMount> = self
            .v1
            .iter()
            .map(|member| CgroupMount {
                source: member.path.clone(),
                name: member.name.clone(),
                aliases: member
                    .controllers
                    .iter()
                    .filter(|name| **name != member.name)
                    .cloned()
                    .collect(),
            })
            .collect();
        if let Some(source) = self.home() {
            let name = if alone {
                String::new()
            } else {
                "unified".to_owned()
            };
            mounts.push(CgroupMount {
                source,
                name,
                aliases: Vec::new(),
            });
        }
        mounts
    }

    /// Every process in them, sub-cgroups included.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        let Some(path) = self.any() else {
            return Vec::new();
        };
        let mut pids = Vec::new();
        tree::collect(path, &mut pids);
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    fn any(&self) -> Option<&Path> {
        self.v2
            .as_deref()
            .or_else(|| self.v1.first().map(|member| member.path.as_path()))
    }

    /// Sends a signal to every process in them.
    pub(crate) fn signal(&self, signal: i32) {
        if signal == libc::SIGKILL
            && let Some(path) = &self.v2
            && fs::write(path.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        // Repeated, since a fork may outrun one round; a fork bomb is slower
        // than a hundred.
        for _ in 0..100 {
            let pids = self.pids();
            for pid in &pids {
                // A handle, then the check that it is still one of ours: the
                // number may be somebody else's by now.
                if let Ok(process) = sys::pidfd_open(*pid)
                    && self.pids().contains(pid)
                    && let Err(errno) = sys::pidfd_kill(process.as_fd(), signal)
                {
                    log::debug!("cannot signal {pid}: {errno}");
                }
            }
            if pids.is_empty() || signal != libc::SIGKILL {
                return;
            }
        }
    }

    /// Ends whoever is left in them, and removes them. The usual case, that
    /// nobody is, is tried first: a kill takes the kernel's one cgroup lock.
    pub(crate) fn clear(&self) -> Result<(), CgroupError> {
        let paths = self
            .v2
            .iter()
            .chain(self.v1.iter().map(|member| &member.path));
        // All of them are tried, whatever the first one says.
        if paths
            .filter(|path| tree::remove_idle(path).is_err())
            .count()
            > 0
        {
            self.signal(libc::SIGKILL);
            self.remove()?;
        }
        Ok(())
    }

    /// Removes them with everything below. What is gone already is fine.
    pub(crate) fn remove(&self) -> Result<(), CgroupError> {
        let paths = self
            .v2
            .iter()
            .chain(self.v1.iter().map(|member| &member.path));
        let mut first = Ok(());
        for path in paths {
            let removed = tree::remove(path);
            if first.is_ok() {
                first = removed;
            }
        }
        first
    }
}

fn join(cgroup: &Path, pid: Pid) -> Result<(), CgroupError> {
    let path = cgroup.join("cgroup.procs");
    fs::write(&path, pid.to_string()).map_err(failed("join", cgroup))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_path_stays_below_the_root() {
        assert_eq!(check_path("/docker/abc").unwrap(), Path::new("docker/abc"));
        for bad in ["", "/", "../x", "a/../b", "system.slice:docker:abc"] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
    }
}
