//! Mounts, as the child makes them: from descriptor to descriptor, each
//! target found beneath the root (runc's CVE-2021-30465, CVE-2025-31133,
//! CVE-2025-52565 were paths used twice).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat, makedev, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use super::copy_up::{copy_up, look_like};
use super::failure::StepFailure;
use super::plan::{CgroupMount, MountPlan, MountWhat, Node, NodeKind};
use super::prepare::{Prepared, set_attributes};
use super::rootfs::{Place, Rootfs, place_of};
use crate::sys::{self, MountAttr, NewFs, attr};

type Result<T> = std::result::Result<T, StepFailure>;

/// Makes one mount under the attached root.
pub(crate) fn mount(rootfs: Rootfs<'_>, prepared: &Prepared, plan: &MountPlan) -> Result<()> {
    match &plan.what {
        MountWhat::Bind { .. } => {
            let tree = plan
                .index
                .and_then(|index| prepared.trees.get(&index))
                .ok_or(StepFailure::NotPrepared)?;
            let target = target(rootfs, plan, place_of(tree.as_fd())?)?;
            sys::attach(tree.as_fd(), target.as_fd())?;
        }
        MountWhat::New { kind, source } => {
            let target = target(rootfs, plan, Place::Directory)?;
            let filesystem = new_filesystem(kind, source, plan)?;
            if plan.options.copy_up {
                copy_up(target.as_fd(), filesystem.as_fd())?;
                if !plan.options.data.iter().any(|(key, _)| key == "mode") {
                    look_like(target.as_fd(), filesystem.as_fd())?;
                }
            }
            sys::attach(filesystem.as_fd(), target.as_fd())?;
            let (propagation, recursive) = plan.propagation();
            let change = MountAttr {
                propagation: propagation.flag(),
                ..MountAttr::default()
            };
            sys::set_mount(filesystem.as_fd(), change, recursive)?;
        }
        MountWhat::Cgroup(hierarchies) => {
            let target = target(rootfs, plan, Place::Directory)?;
            show_cgroups(prepared, hierarchies, plan, target)?;
        }
        MountWhat::Again => change(rootfs, plan)?,
    }
    Ok(())
}

/// Changes the mount that is at a path; what no word is about stays, as with
/// mount(8).
fn change(rootfs: Rootfs<'_>, plan: &MountPlan) -> Result<()> {
    let place = if plan.strict_target {
        rootfs.open_strictly(&plan.target)?
    } else {
        rootfs.open(&plan.target)?
    };
    let changed = set_attributes(place.as_fd(), plan).and_then(|()| {
        let Some((propagation, recursive)) = plan.options.propagation else {
            return Ok(());
        };
        let change = MountAttr {
            propagation: propagation.flag(),
            ..MountAttr::default()
        };
        sys::set_mount(place.as_fd(), change, recursive)
    });
    match changed {
        // Not the root of a mount.
        Err(Errno::EINVAL) => Err(StepFailure::NoMount),
        other => Ok(other?),
    }
}

/// The open mount point. /proc, /sys and /dev must be real directories: an
/// image that has a link there wants us to write somewhere else.
fn target(rootfs: Rootfs<'_>, plan: &MountPlan, place: Place) -> Result<OwnedFd> {
    if plan.target == Path::new("/") {
        return Err(StepFailure::OverRoot);
    }
    if !plan.strict_target {
        return Ok(rootfs.open_or_make(&plan.target, place)?);
    }
    let target = match rootfs.open_strictly(&plan.target) {
        Err(Errno::ENOENT) => rootfs.open_or_make(&plan.target, place)?,
        Err(Errno::ELOOP) => return Err(StepFailure::NotADirectory),
        other => other?,
    };
    if place_of(target.as_fd())? == Place::Directory {
        Ok(target)
    } else {
        Err(StepFailure::NotADirectory)
    }
}

fn new_filesystem(kind: &str, source: &str, plan: &MountPlan) -> Result<OwnedFd> {
    let fs = NewFs::open(kind)?;
    let configure = || -> nix::Result<OwnedFd> {
        if !source.is_empty() {
            fs.set("source", source)?;
        }
        for (key, value) in &plan.options.data {
            match value {
                Some(value) => fs.set(key, value)?,
                None => fs.flag(key)?,
            }
        }
        fs.mount(plan.options.set)
    };
    match configure() {
        // Sysfs belongs to the network namespace; in a user namespace on the
        // host's network it can't be mounted, but the host's can be shown.
        Err(Errno::EPERM) if kind == "sysfs" => {
            let tree = sys::clone_tree(Path::new("/sys"), true)?;
            let change = MountAttr {
                set: plan.options.set,
                ..MountAttr::default()
            };
            sys::set_mount(tree.as_fd(), change, true)?;
            Ok(tree)
        }
        Err(errno) => Err(match fs.complaint() {
            Some(said) => StepFailure::Kernel { said, errno },
            None => errno.into(),
        }),
        Ok(mount) => Ok(mount),
    }
}

/// The container's own cgroups. Alone, version 2 is the target itself; beside
/// version 1, each hierarchy is a directory on a small tmpfs.
fn show_cgroups(
    prepared: &Prepared,
    hierarchies: &[CgroupMount],
    plan: &MountPlan,
    target: OwnedFd,
) -> Result<()> {
    let tree = |hierarchy: &CgroupMount| {
        prepared
            .cgroups
            .get(&hierarchy.source)
            .ok_or(StepFailure::NotPrepared)
    };
    if let [alone] = hierarchies
        && alone.name.is_empty()
    {
        return Ok(sys::attach(tree(alone)?.as_fd(), target.as_fd())?);
    }
    let fs = NewFs::open("tmpfs")?;
    fs.set("mode", "755")?;
    fs.set("source", "cgroup")?;
    let shelf = fs.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
    sys::attach(shelf.as_fd(), target.as_fd())?;
    let rootfs = Rootfs::new(shelf.as_fd());
    for hierarchy in hierarchies {
        let place = rootfs.open_or_make(Path::new(&hierarchy.name), Place::Directory)?;
        sys::attach(tree(hierarchy)?.as_fd(), place.as_fd())?;
        for alias in &hierarchy.aliases {
            symlinkat(hierarchy.name.as_str(), &shelf, alias.as_str())?;
        }
    }
    let change = MountAttr {
        set: plan.options.set & attr::RDONLY,
        ..MountAttr::default()
    };
    Ok(sys::set_mount(shelf.as_fd(), change, false)?)
}

/// Makes device nodes and links, each by its open directory.
pub(crate) fn devices(rootfs: Rootfs<'_>, prepared: &Prepared, nodes: &[Node]) -> Result<()> {
    for node in nodes {
        let (parent, name) = rootfs.parent(&node.path)?;
        match &node.kind {
            NodeKind::Special {
                format,
                major,
                minor,
                mode,
                owner: (uid, gid),
            } => {
                let kind = SFlag::from_bits_truncate(*format);
                let bits = Mode::from_bits_truncate(*mode);
                mknodat(&parent, name, kind, bits, makedev(*major, *minor))?;
                // The umask may have taken bits; the name is still what was
                // made, since nobody else reaches this directory yet.
                fchmodat(&parent, name, bits, FchmodatFlags::FollowSymlink)?;
                if (*uid, *gid) != (0, 0) {
                    let owner = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
                    let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
                    fchownat(&parent, name, owner.0, owner.1, flags)?;
                }
            }
            NodeKind::Host => {
                let tree = prepared
                    .devices
                    .get(&node.path)
                    .ok_or(StepFailure::NotPrepared)?;
                let place = rootfs.open_or_make(&node.path, Place::File)?;
                sys::attach(tree.as_fd(), place.as_fd())?;
            }
            NodeKind::Link(target) => match symlinkat(*target, &parent, name) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            },
        }
    }
    Ok(())
}

/// Turns the mount at a path read-only.
pub(crate) fn make_read_only(rootfs: Rootfs<'_>, path: &Path) -> Result<()> {
    let place = rootfs.open(path)?;
    let change = MountAttr {
        set: attr::RDONLY,
        ..MountAttr::default()
    };
    Ok(sys::set_mount(place.as_fd(), change, false)?)
}

/// Covers a path with a read-only view of itself. What isn't there needs none.
pub(crate) fn protect(rootfs: Rootfs<'_>, path: &Path) -> Result<()> {
    let place = match rootfs.open(path) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        other => other?,
    };
    let tree = sys::clone_tree_at(place.as_fd(), true)?;
    let change = MountAttr {
        set: attr::RDONLY,
        ..MountAttr::default()
    };
    sys::set_mount(tree.as_fd(), change, true)?;
    Ok(sys::attach(tree.as_fd(), place.as_fd())?)
}

/// Covers paths with nothing: files with the null device, directories with
/// one empty filesystem that they share.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Mask {
    /// Covers one path. What isn't there needs nothing.
    pub(crate) fn cover(&mut self, rootfs: Rootfs<'_>, path: &Path) -> Result<()> {
        let place = match rootfs.open(path) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            other => other?,
        };
        if place_of(place.as_fd())? == Place::File {
            if self.null.is_none() {
                self.null = Some(null_device(rootfs)?);
            }
            let null = self.null.as_ref().ok_or(StepFailure::NotPrepared)?;
            let cover = sys::clone_tree_at(null.as_fd(), false)?;
            return Ok(sys::attach(cover.as_fd(), place.as_fd())?);
        }
        if let Some(empty) = &self.empty {
            let cover = sys::clone_tree_at(empty.as_fd(), false)?;
            return Ok(sys::attach(cover.as_fd(), place.as_fd())?);
        }
        let fs = NewFs::open("tmpfs")?;
        fs.set("nr_blocks", "1")?;
        fs.set("nr_inodes", "1")?;
        let empty = fs.mount(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
        sys::attach(empty.as_fd(), place.as_fd())?;
        self.empty = Some(empty);
        Ok(())
    }
}

/// The container's null device, if it is one: an image or a bind may put
/// anything at its name (CVE-2025-31133).
pub(crate) fn null_device(rootfs: Rootfs<'_>) -> Result<OwnedFd> {
    let null = rootfs.open_strictly(Path::new("/dev/null"))?;
    if is_null(null.as_fd())? {
        Ok(null)
    } else {
        Err(StepFailure::FakeNull)
    }
}

/// Whether this is the null device, wherever its node lies.
pub(crate) fn is_null(file: BorrowedFd<'_>) -> nix::Result<bool> {
    let stat = fstat(file)?;
    let format = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    Ok(format == SFlag::S_IFCHR && stat.st_rdev == makedev(1, 3))
}

/// A procfs that nobody else sees, for our own writes: the container's /proc
/// may be covered or faked (CVE-2025-52881).
pub(crate) fn write_sysctl(proc: BorrowedFd<'_>, key: &str, value: &str) -> Result<()> {
    let path = if key.contains('/') {
        key.to_owned()
    } else {
        key.replace('.', "/")
    };
    let how = OpenHow::new()
        .flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC)
        .resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_XDEV
                | ResolveFlag::RESOLVE_NO_SYMLINKS,
        );
    let file = openat2(proc, format!("sys/{path}").as_str(), how)?;
    nix::unistd::write(&file, value.as_bytes())?;
    Ok(())
}
