//! What an inode is, and changes to it through a descriptor.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{self, AtFlags, OFlag};
use nix::sys::stat::{self, FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags};
use nix::sys::time::TimeSpec;
use nix::unistd::{self, Gid, Uid};

use super::bits;
use crate::sys;

/// Longest list of attribute names and longest value that the kernel has.
const MAX_XATTR: usize = 1 << 16;

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Unix socket.
    Socket,
}

impl Kind {
    pub(crate) fn bits(self) -> SFlag {
        match self {
            Kind::File => SFlag::S_IFREG,
            Kind::Directory => SFlag::S_IFDIR,
            Kind::Symlink => SFlag::S_IFLNK,
            Kind::CharDevice => SFlag::S_IFCHR,
            Kind::BlockDevice => SFlag::S_IFBLK,
            Kind::Fifo => SFlag::S_IFIFO,
            Kind::Socket => SFlag::S_IFSOCK,
        }
    }

    fn of(mode: u32) -> Kind {
        match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => Kind::Symlink,
            SFlag::S_IFCHR => Kind::CharDevice,
            SFlag::S_IFBLK => Kind::BlockDevice,
            SFlag::S_IFIFO => Kind::Fifo,
            SFlag::S_IFSOCK => Kind::Socket,
            _ => Kind::File,
        }
    }
}

/// What `stat` tells of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky, no type bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Modification time: seconds since 1970.
    pub mtime: i64,
    /// Modification time: nanoseconds of the second.
    pub mtime_nanos: u32,
    /// Change time: seconds since 1970.
    pub ctime: i64,
    /// Change time: nanoseconds of the second.
    pub ctime_nanos: u32,
    /// Names it has.
    pub links: u64,
    /// Device number, where it is a device.
    pub rdev: u64,
    /// File system it lies on.
    pub dev: u64,
    /// Inode number there.
    pub ino: u64,
}

impl Metadata {
    /// Of what the descriptor stands for.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> nix::Result<Metadata> {
        stat::fstat(fd).map(|found| Metadata::from(&found))
    }

    /// Of `name` in `parent`, not followed.
    pub(crate) fn at(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<Metadata> {
        stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map(|found| Metadata::from(&found))
    }

    /// An overlay whiteout: the name is deleted from the layers below.
    #[must_use]
    pub fn is_whiteout(&self) -> bool {
        self.kind == Kind::CharDevice && self.rdev == 0
    }
}

impl From<&FileStat> for Metadata {
    fn from(found: &FileStat) -> Metadata {
        Metadata {
            kind: Kind::of(found.st_mode),
            mode: found.st_mode & 0o7777,
            uid: found.st_uid,
            gid: found.st_gid,
            size: u64::try_from(found.st_size).unwrap_or(0),
            mtime: found.st_mtime,
            mtime_nanos: u32::try_from(found.st_mtime_nsec).unwrap_or(0),
            ctime: found.st_ctime,
            ctime_nanos: u32::try_from(found.st_ctime_nsec).unwrap_or(0),
            links: found.st_nlink,
            rdev: found.st_rdev,
            dev: found.st_dev,
            ino: found.st_ino,
        }
    }
}

/// An inode by descriptor. Changes reach it through `/proc/self/fd`, whose
/// link leads to this very inode, be it a link itself.
#[derive(Debug)]
pub(crate) struct Node {
    fd: OwnedFd,
    /// Whether the inode itself was opened, so that the descriptor serves
    /// without that detour.
    opened: bool,
}

impl From<OwnedFd> for Node {
    fn from(fd: OwnedFd) -> Node {
        Node { fd, opened: false }
    }
}

impl From<File> for Node {
    fn from(file: File) -> Node {
        Node {
            fd: file.into(),
            opened: true,
        }
    }
}

impl Node {
    /// `name` in `parent`, not followed and not opened.
    pub(crate) fn at(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<Node> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        fcntl::openat(parent, name, flags, Mode::empty()).map(Node::from)
    }

    pub(crate) fn metadata(&self) -> nix::Result<Metadata> {
        Metadata::of(self.fd.as_fd())
    }

    /// The text of the link that the inode is.
    pub(crate) fn read_link(&self) -> nix::Result<OsString> {
        fcntl::readlinkat(&self.fd, "")
    }

    fn proc_path(&self) -> CString {
        CString::new(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).unwrap_or_default()
    }

    pub(crate) fn set_owner(&self, uid: u32, gid: u32) -> nix::Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        unistd::fchownat(&self.fd, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)
    }

    /// Sets both times; of what is not opened by its name in `parent`.
    pub(crate) fn set_mtime(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        seconds: i64,
        nanoseconds: u32,
    ) -> nix::Result<()> {
        if !self.opened {
            return set_mtime_at(parent, name, seconds, nanoseconds);
        }
        let time = TimeSpec::new(seconds, i64::from(nanoseconds));
        stat::futimens(&self.fd, &time, &time)
    }

    pub(crate) fn set_mode(&self, mode: u32) -> nix::Result<()> {
        if self.opened {
            return stat::fchmod(&self.fd, bits(mode));
        }
        let path = self.proc_path();
        stat::fchmodat(
            fcntl::AT_FDCWD,
            path.as_c_str(),
            bits(mode),
            FchmodatFlags::FollowSymlink,
        )
    }

    pub(crate) fn set_xattr(&self, name: &OsStr, value: &[u8]) -> io::Result<()> {
        sys::setxattr(&self.proc_path(), &CString::new(name.as_bytes())?, value)
    }

    pub(crate) fn xattr(&self, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
        let (path, name) = (self.proc_path(), CString::new(name.as_bytes())?);
        let mut buffer = vec![0; 256];
        loop {
            match sys::getxattr(&path, &name, &mut buffer) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Err(error) if error.raw_os_error() == Some(Errno::ENODATA as i32) => {
                    return Ok(None);
                }
                Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
                    return Ok(None);
                }
                Err(error)
                    if error.raw_os_error() == Some(Errno::ERANGE as i32)
                        && buffer.len() < MAX_XATTR =>
                {
                    buffer.resize(MAX_XATTR, 0);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All attributes, sorted by name.
    pub(crate) fn xattrs(&self) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        let path = self.proc_path();
        let length = match sys::listxattr(&path, &mut []) {
            Ok(0) => return Ok(Vec::new()),
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
                return Ok(Vec::new());
            }
            other => other?,
        };
        let mut buffer = vec![0; length.max(MAX_XATTR)];
        let length = sys::listxattr(&path, &mut buffer)?;
        buffer.truncate(length);
        let mut found = Vec::new();
        for name in buffer
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            let name = OsString::from_vec(name.to_vec());
            // Gone since it was listed: then it is not there.
            if let Some(value) = self.xattr(&name)? {
                found.push((name, value));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The inode's content, if it is a regular file.
    pub(crate) fn open_regular(&self) -> io::Result<File> {
        match Metadata::of(self.fd.as_fd())?.kind {
            Kind::File => {}
            Kind::Directory => return Err(io::ErrorKind::IsADirectory.into()),
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is no regular file",
                ));
            }
        }
        let path = self.proc_path();
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        Ok(File::from(fcntl::open(
            path.as_c_str(),
            flags,
            Mode::empty(),
        )?))
    }
}

/// Sets both times of `name` in `parent`, not followed.
pub(crate) fn set_mtime_at(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    seconds: i64,
    nanoseconds: u32,
) -> nix::Result<()> {
    let time = TimeSpec::new(seconds, i64::from(nanoseconds));
    stat::utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}
