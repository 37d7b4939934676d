//! What the parent opens on the host before the clone, while only the host is
//! visible: trees to bind, namespaces to join, the root. The child inherits
//! the descriptors and never opens a host path again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::plan::{CgroupMount, IdMap, MountPlan, MountWhat, NodeKind, Plan, Propagation, Step};
use super::spec::{IdMapping, NamespaceType};
use crate::sys::{self, Cloned, MountAttr, attr, clone};

/// Why something of the host can't be handed to the container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    /// The root filesystem.
    #[error("cannot open the root filesystem {}", .path.display())]
    Root {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// The source of a bind mount.
    #[error("cannot take {} for the mount at {}", .path.display(), .target.display())]
    Source {
        /// On the host.
        path: PathBuf,
        /// Inside.
        target: PathBuf,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// A namespace to join.
    #[error("cannot open the {kind:?} namespace {}", .path.display())]
    Namespace {
        /// Which type.
        kind: NamespaceType,
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The id mapping of a mount.
    #[error("cannot map ids for the mount at {}", .target.display())]
    Mapping {
        /// Inside.
        target: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Descriptors for the child.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The root, a detached mount.
    pub(crate) root: OwnedFd,
    /// Trees to attach, by the mount's place in the configuration.
    pub(crate) trees: BTreeMap<usize, OwnedFd>,
    /// Cgroup directories, detached, by host path.
    pub(crate) cgroups: BTreeMap<PathBuf, OwnedFd>,
    /// Host devices, detached, by path.
    pub(crate) devices: BTreeMap<PathBuf, OwnedFd>,
    /// Namespaces to join.
    pub(crate) namespaces: BTreeMap<NamespaceType, OwnedFd>,
    /// Files through which the child joins cgroups of version 1.
    pub(crate) tasks: Vec<OwnedFd>,
    /// Cgroups for the program to divide, with their names.
    pub(crate) handed: Vec<(String, OwnedFd)>,
    /// A running container's first process, and which of its namespaces to
    /// join.
    pub(crate) running: Option<(OwnedFd, u64)>,
}

impl Prepared {
    /// For a program in a running container, which has everything.
    pub(crate) fn of_running(root: OwnedFd, init: OwnedFd, flags: u64) -> Self {
        Self {
            running: Some((init, flags)),
            ..Self::new(root)
        }
    }

    fn new(root: OwnedFd) -> Self {
        Self {
            root,
            trees: BTreeMap::new(),
            cgroups: BTreeMap::new(),
            devices: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            tasks: Vec::new(),
            handed: Vec::new(),
            running: None,
        }
    }
}

/// The root as a detached mount: the one that was handed over, or a private
/// copy of the bundle's.
pub(crate) fn root(given: Option<OwnedFd>, path: &Path) -> Result<OwnedFd, PrepareError> {
    let error = |source| PrepareError::Root {
        path: path.to_owned(),
        source,
    };
    let tree = match given {
        Some(tree) => tree,
        None => sys::clone_tree(path, true).map_err(error)?,
    };
    make_private(tree.as_fd()).map_err(error)?;
    Ok(tree)
}

fn make_private(tree: BorrowedFd<'_>) -> nix::Result<()> {
    let change = MountAttr {
        propagation: libc::MS_PRIVATE,
        ..MountAttr::default()
    };
    sys::set_mount(tree, change, true)
}

/// Opens everything that the plan names on the host.
pub(crate) fn prepare(plan: &Plan, root: OwnedFd, bundle: &Path) -> Result<Prepared, PrepareError> {
    let mut prepared = Prepared::new(root);
    for (kind, path) in &plan.join {
        let file = File::open(path).map_err(|source| PrepareError::Namespace {
            kind: *kind,
            path: path.clone(),
            source,
        })?;
        prepared.namespaces.insert(*kind, file.into());
    }
    for step in &plan.steps {
        match step {
            Step::Mount(mount) => prepare_mount(&mut prepared, mount, bundle)?,
            Step::MakeDevices(nodes) => {
                for node in nodes.iter().filter(|node| node.kind == NodeKind::Host) {
                    let tree = take(&node.path, &node.path, false)?;
                    prepared.devices.insert(node.path.clone(), tree);
                }
            }
            _ => {}
        }
    }
    Ok(prepared)
}

/// A detached, private copy of a host path.
fn take(path: &Path, target: &Path, recursive: bool) -> Result<OwnedFd, PrepareError> {
    let error = |source| PrepareError::Source {
        path: path.to_owned(),
        target: target.to_owned(),
        source,
    };
    let tree = sys::clone_tree(path, recursive).map_err(error)?;
    make_private(tree.as_fd()).map_err(error)?;
    Ok(tree)
}

fn prepare_mount(
    prepared: &mut Prepared,
    mount: &MountPlan,
    bundle: &Path,
) -> Result<(), PrepareError> {
    match &mount.what {
        MountWhat::Bind {
            source,
            recursive,
            ids,
        } => {
            let path = bundle.join(source);
            let error = |source| PrepareError::Source {
                path: path.clone(),
                target: mount.target.clone(),
                source,
            };
            let tree = sys::clone_tree(&path, *recursive).map_err(error)?;
            set_up_tree(tree.as_fd(), mount).map_err(error)?;
            if let Some(ids) = ids {
                map_ids(tree.as_fd(), ids).map_err(|source| PrepareError::Mapping {
                    target: mount.target.clone(),
                    source,
                })?;
            }
            if let Some(index) = mount.index {
                prepared.trees.insert(index, tree);
            }
        }
        MountWhat::Cgroup(hierarchies) => {
            for CgroupMount { source, .. } in hierarchies {
                let tree = take(source, &mount.target, false)?;
                set_attributes(tree.as_fd(), mount).map_err(|errno| PrepareError::Source {
                    path: source.clone(),
                    target: mount.target.clone(),
                    source: errno,
                })?;
                prepared.cgroups.insert(source.clone(), tree);
            }
        }
        MountWhat::New { .. } | MountWhat::Again => {}
    }
    Ok(())
}

/// A copied tree belongs to the source's peer group until told otherwise:
/// what the container mounts in it would show on the host.
fn set_up_tree(tree: BorrowedFd<'_>, mount: &MountPlan) -> nix::Result<()> {
    let (propagation, recursive) = mount.propagation();
    if propagation != Propagation::Shared {
        make_private_below(tree, recursive)?;
    }
    let change = MountAttr {
        propagation: propagation.flag(),
        ..MountAttr::default()
    };
    sys::set_mount(tree, change, recursive)?;
    set_attributes(tree, mount)
}

/// What the asked-for propagation doesn't reach is private.
fn make_private_below(tree: BorrowedFd<'_>, recursive: bool) -> nix::Result<()> {
    if recursive {
        Ok(())
    } else {
        make_private(tree)
    }
}

/// Sets what is asked for, of the mount and of those below it.
pub(crate) fn set_attributes(tree: BorrowedFd<'_>, mount: &MountPlan) -> nix::Result<()> {
    let options = &mount.options;
    let top = MountAttr {
        set: options.set,
        // Clearing a policy of access times means clearing the whole field.
        clear: options.clear,
        ..MountAttr::default()
    };
    if (top.set, top.clear) != (0, 0) {
        sys::set_mount(tree, top, false)?;
    }
    let whole = MountAttr {
        set: options.tree_set,
        clear: options.tree_clear,
        ..MountAttr::default()
    };
    if (whole.set, whole.clear) != (0, 0) {
        sys::set_mount(tree, whole, true)?;
    }
    Ok(())
}

/// Shifts the ids of a detached mount by a user namespace that exists only
/// for this.
fn map_ids(tree: BorrowedFd<'_>, ids: &IdMap) -> io::Result<()> {
    let (wait, hold) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    match sys::clone_process(clone::NEWUSER, None)? {
        Cloned::Child => {
            drop(hold);
            // Ends with the parent's copy of the pipe, whatever becomes of it.
            let _ = nix::unistd::read(&wait, &mut [0]);
            sys::exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => {
            let namespace = write_maps(pid.as_raw(), &ids.users, &ids.groups)
                .and_then(|()| File::open(format!("/proc/{pid}/ns/user")));
            drop(hold);
            nix::sys::wait::waitid(
                nix::sys::wait::Id::PIDFd(pidfd.as_fd()),
                nix::sys::wait::WaitPidFlag::WEXITED,
            )?;
            let namespace = namespace?;
            let userns = u64::from(std::os::fd::AsRawFd::as_raw_fd(&namespace).unsigned_abs());
            let change = MountAttr {
                set: attr::IDMAP,
                userns,
                ..MountAttr::default()
            };
            Ok(sys::set_mount(tree, change, ids.recursive)?)
        }
    }
}

/// Maps the ids of a process's new user namespace.
pub(crate) fn write_maps(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> io::Result<()> {
    let text = |mappings: &[IdMapping]| -> String {
        mappings
            .iter()
            .map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size))
            .collect()
    };
    std::fs::write(format!("/proc/{pid}/gid_map"), text(gids))?;
    std::fs::write(format!("/proc/{pid}/uid_map"), text(uids))
}
