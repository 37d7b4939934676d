//! Mounts by descriptor: open_tree, fsopen, move_mount, mount_setattr.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::{Result, c_path, check, owned};

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const AT_EMPTY_PATH: libc::c_uint = 0x1000;
const AT_SYMLINK_NOFOLLOW: libc::c_uint = 0x100;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;

/// Attributes of a mount, as `mount_setattr(2)` and `fsmount(2)` take them.
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 0x1;
    pub(crate) const NOSUID: u64 = 0x2;
    pub(crate) const NODEV: u64 = 0x4;
    pub(crate) const NOEXEC: u64 = 0x8;
    /// The field of the three access time policies; relatime is its zero.
    pub(crate) const ATIME: u64 = 0x70;
    pub(crate) const NOATIME: u64 = 0x10;
    pub(crate) const STRICTATIME: u64 = 0x20;
    pub(crate) const NODIRATIME: u64 = 0x80;
    pub(crate) const IDMAP: u64 = 0x0010_0000;
    pub(crate) const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// What `mount_setattr(2)` changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MountAttr {
    /// Attributes switched on.
    pub(crate) set: u64,
    /// Attributes switched off.
    pub(crate) clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE` or 0.
    pub(crate) propagation: u64,
    /// The user namespace of an idmapped mount.
    pub(crate) userns: u64,
}

/// A detached copy of the mount (tree) that holds `path`.
pub(crate) fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is NUL-terminated and outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// A detached copy of the mount (tree) at an open file or directory.
pub(crate) fn clone_tree_at(place: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE
        | OPEN_TREE_CLOEXEC
        | AT_EMPTY_PATH
        | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the empty path is NUL-terminated.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags) })
}

/// Attaches a detached mount over an open file or directory.
pub(crate) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: both paths are empty and NUL-terminated.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// Changes a mount, or a whole tree of them.
pub(crate) fn set_mount(mount: BorrowedFd<'_>, change: MountAttr, recursive: bool) -> Result<()> {
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `change` has the kernel's layout, its size is passed, and it
    // outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const change,
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// Changes the propagation of every mount of this namespace.
pub(crate) fn set_propagation_of_all(propagation: u64) -> Result<()> {
    let change = MountAttr {
        propagation,
        ..MountAttr::default()
    };
    // SAFETY: as in `set_mount`; the path is a NUL-terminated literal.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            AT_RECURSIVE | AT_SYMLINK_NOFOLLOW,
            &raw const change,
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// A filesystem under construction.
#[derive(Debug)]
pub(crate) struct NewFs(OwnedFd);

impl NewFs {
    /// Begins one of this type.
    pub(crate) fn open(kind: &str) -> Result<Self> {
        let kind = CString::new(kind).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the name is NUL-terminated and outlives the call.
        owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) }).map(Self)
    }

    fn config(&self, command: Command, key: Option<&str>, value: Option<&Path>) -> Result<()> {
        let key = key
            .map(CString::new)
            .transpose()
            .map_err(|_| Errno::EINVAL)?;
        let value = value.map(c_path).transpose()?;
        let pointer =
            |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |t| t.as_ptr());
        // SAFETY: both texts are absent or NUL-terminated and outlive the
        // call.
        check(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.0.as_raw_fd(),
                command as libc::c_uint,
                pointer(&key),
                pointer(&value),
                0,
            )
        })?;
        Ok(())
    }

    /// Sets an option with a value.
    pub(crate) fn set(&self, key: &str, value: impl AsRef<Path>) -> Result<()> {
        self.config(Command::SetString, Some(key), Some(value.as_ref()))
    }

    /// Sets an option without one.
    pub(crate) fn flag(&self, key: &str) -> Result<()> {
        self.config(Command::SetFlag, Some(key), None)
    }

    /// Makes the filesystem and a detached mount of it.
    pub(crate) fn mount(&self, attributes: u64) -> Result<OwnedFd> {
        self.config(Command::Create, None, None)?;
        let attributes = libc::c_uint::try_from(attributes).map_err(|_| Errno::EINVAL)?;
        // SAFETY: fsmount takes integers only.
        owned(unsafe {
            libc::syscall(
                libc::SYS_fsmount,
                self.0.as_raw_fd(),
                FSMOUNT_CLOEXEC,
                attributes,
            )
        })
    }

    /// What the kernel says went wrong, if it says anything.
    pub(crate) fn complaint(&self) -> Option<String> {
        let mut text = [0u8; 512];
        let length = nix::unistd::read(&self.0, &mut text).ok()?;
        let message = String::from_utf8_lossy(text.get(..length)?);
        // "e message": the first letter is the level.
        Some(message.get(2..)?.trim().to_owned())
    }
}

/// Commands of `fsconfig(2)`.
#[derive(Clone, Copy)]
enum Command {
    SetFlag = 0,
    SetString = 1,
    Create = 6,
}
