//! The mounts of a plan.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::options::{self, Options};
use super::{PlanError, Propagation};
use crate::oci::spec::{Linux, Mount};
use crate::sys::attr;

mod ids;
pub(crate) use ids::IdMap;

/// One mount.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MountPlan {
    /// Where it stands in the configuration: the parent's prepared trees are
    /// found by it. Mounts that the plan adds have none.
    pub(crate) index: Option<usize>,
    /// Absolute, without `.` and `..`.
    pub(crate) target: PathBuf,
    pub(crate) what: MountWhat,
    pub(crate) options: Options,
    /// Attributes that wait until the mount was written to.
    pub(crate) read_only_later: bool,
    /// Whether no part of the target may be a symbolic link.
    pub(crate) strict_target: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MountWhat {
    /// A tree of the host, prepared by the parent.
    Bind {
        /// As configured; relative to the bundle.
        source: PathBuf,
        recursive: bool,
        /// The ids of an idmapped mount.
        ids: Option<IdMap>,
    },
    /// A filesystem made in the container's namespaces.
    New {
        kind: String,
        /// The name in /proc/mounts.
        source: String,
    },
    /// The container's own cgroups, prepared by the parent.
    Cgroup(Vec<CgroupMount>),
    /// The mount that is there already, with other attributes.
    Again,
}

/// One cgroup directory shown in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    /// The container's directory on the host.
    pub(crate) source: PathBuf,
    /// The name below the target; empty where it is the target itself (v2
    /// alone).
    pub(crate) name: String,
    /// Other names of the same hierarchy (`cpu` for `cpu,cpuacct`).
    pub(crate) aliases: Vec<String>,
}

/// Files of /proc that may be covered by a bind, since they only inform
/// (lxcfs does it). Everything else below /proc would let an image show a fake
/// kernel to us or to itself (CVE-2019-16884).
const PROC_FILES: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// Mounts in order; whether /dev is ours to fill; what turns read-only later.
pub(super) type Planned = (Vec<MountPlan>, bool, Vec<PathBuf>);

/// Plans the mounts of a configuration. `userns`: what a new user namespace
/// maps is there.
pub(super) fn plan(
    mounts: &[Mount],
    cgroups: &[CgroupMount],
    userns: Option<&Linux>,
) -> Result<Planned, PlanError> {
    let mut planned = Vec::with_capacity(mounts.len() + 1);
    let mut late = Vec::new();
    let mut own_dev = None;
    for (index, mount) in mounts.iter().enumerate() {
        let one = plan_one(index, mount, cgroups, userns)?;
        if one.what == MountWhat::Again {
            if one.options.clear & attr::RDONLY != 0 {
                late.retain(|target| *target != one.target);
            }
        } else if one.target == Path::new("/dev") {
            // A bind over /dev is the user's own doing, and theirs to fill.
            own_dev = Some(matches!(&one.what, MountWhat::New { kind, .. } if kind == "tmpfs"));
        }
        if one.read_only_later {
            late.push(one.target.clone());
        }
        planned.push(one);
    }
    if own_dev.is_none() {
        // Nodes are never made on the image's own /dev: it may be a link to
        // anywhere (CVE-2026-41579).
        planned.insert(0, bare_dev());
    }
    Ok((planned, own_dev.unwrap_or(true), late))
}

fn bare_dev() -> MountPlan {
    let words = ["nosuid", "strictatime", "mode=755", "size=65536k"].map(str::to_owned);
    MountPlan {
        index: None,
        target: PathBuf::from("/dev"),
        what: MountWhat::New {
            kind: "tmpfs".to_owned(),
            source: "tmpfs".to_owned(),
        },
        options: options::parse(&words),
        read_only_later: false,
        strict_target: true,
    }
}

fn plan_one(
    index: usize,
    mount: &Mount,
    cgroups: &[CgroupMount],
    userns: Option<&Linux>,
) -> Result<MountPlan, PlanError> {
    let target = clean(&mount.destination);
    let mut options = options::parse(&mount.options);
    let kind = mount.kind.as_deref().unwrap_or("none");
    if options.copy_up && (kind != "tmpfs" || options.remount) {
        let what = if options.remount { "a remount" } else { kind };
        return Err(PlanError::Unsupported(format!(
            "the mount option tmpcopyup on {what}"
        )));
    }
    let again = options.remount;
    let is_bind = !again && (options.bind.is_some() || kind == "bind");
    if !again {
        check_kernel_trees(&target, kind, is_bind)?;
    }
    let ids = ids::plan(index, mount, &options, is_bind, userns)?;
    let source = mount.source.clone();
    let what = if again {
        // The superblock may be the host's, of a bind: with mount(2) one word
        // here would turn a whole disk of the host read-only.
        if let Some((key, _)) = options.data.first() {
            return Err(PlanError::Unsupported(format!(
                "{key:?} beside \"remount\" in mounts[{index}].options"
            )));
        }
        MountWhat::Again
    } else if is_bind {
        // The words of a bind that a filesystem would take mean nothing.
        options.data.clear();
        MountWhat::Bind {
            source: source.ok_or(PlanError::Missing("the source of a bind mount"))?,
            recursive: options.bind.unwrap_or(true),
            ids,
        }
    } else if matches!(kind, "cgroup" | "cgroup2") {
        options.data.clear();
        MountWhat::Cgroup(cgroups.to_vec())
    } else {
        let source = source.map_or_else(|| kind.to_owned(), |path| path.display().to_string());
        MountWhat::New {
            kind: kind.to_owned(),
            source,
        }
    };
    if matches!(what, MountWhat::New { .. } | MountWhat::Cgroup(_)) {
        options.hold_for_one_mount();
    }
    // Nodes and mount points have to be made on it first.
    let written_first = match &what {
        MountWhat::New { kind, .. } => kind == "tmpfs",
        MountWhat::Again => [Path::new("/dev"), Path::new("/")].contains(&target.as_path()),
        MountWhat::Bind { .. } | MountWhat::Cgroup(_) => false,
    };
    let read_only_later = written_first && options.set & attr::RDONLY != 0;
    if read_only_later {
        options.set &= !attr::RDONLY;
    }
    let strict_target =
        [Path::new("/proc"), Path::new("/sys"), Path::new("/dev")].contains(&target.as_path());
    Ok(MountPlan {
        index: Some(index),
        target,
        what,
        options,
        read_only_later,
        strict_target,
    })
}

/// Refuses to cover what this runtime itself reads or writes.
fn check_kernel_trees(target: &Path, kind: &str, is_bind: bool) -> Result<(), PlanError> {
    let Ok(below) = target.strip_prefix("/proc") else {
        return Ok(());
    };
    let root = below.as_os_str().is_empty();
    let allowed = if root {
        !is_bind && kind == "proc"
    } else {
        PROC_FILES.iter().any(|file| below == Path::new(file))
    };
    if allowed {
        Ok(())
    } else {
        Err(PlanError::OverKernelTree(target.to_owned()))
    }
}

/// An absolute path without `.` and `..`. Links in it are resolved later, in
/// the container's root.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

impl fmt::Display for MountPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            MountWhat::Bind {
                source,
                recursive,
                ids,
            } => write!(
                f,
                "{} {}{}",
                if *recursive { "bind the tree" } else { "bind" },
                source.display(),
                match ids {
                    Some(IdMap {
                        recursive: true, ..
                    }) => " idmapped as a tree",
                    Some(_) => " idmapped",
                    None => "",
                },
            )?,
            MountWhat::New { kind, .. } => write!(f, "mount {kind}")?,
            MountWhat::Cgroup(hierarchies) => write!(f, "show {} cgroups", hierarchies.len())?,
            MountWhat::Again => f.write_str("change the mount")?,
        }
        write!(f, " at {}", self.target.display())?;
        // An error is read without them, a plan with.
        if !f.alternate() {
            return Ok(());
        }
        let Options {
            set,
            tree_set,
            propagation,
            data,
            copy_up,
            ..
        } = &self.options;
        if *set != 0 {
            write!(f, " attr={set:#x}")?;
        }
        if *tree_set != 0 {
            write!(f, " tree={tree_set:#x}")?;
        }
        if let Some((propagation, _)) = propagation {
            write!(f, " {propagation:?}")?;
        }
        if *copy_up {
            write!(f, " with what it covers")?;
        }
        for (key, value) in data {
            match value {
                Some(value) => write!(f, " {key}={value}")?,
                None => write!(f, " {key}")?,
            }
        }
        Ok(())
    }
}

impl MountPlan {
    /// How it takes part in mount events: not at all unless asked to.
    pub(crate) fn propagation(&self) -> (Propagation, bool) {
        self.options
            .propagation
            .unwrap_or((Propagation::Private, true))
    }
}

#[cfg(test)]
mod tests;
