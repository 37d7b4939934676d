//! What init makes ready around itself: missing mounts of a bare box and its run
//! directory. None of it may fail the boot.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use holdall_protocol::control::SOCKET_NAME;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::mount::{MsFlags, mount};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use nix::sys::stat::Mode;
use nix::unistd::{fchdir, geteuid};

use crate::sockets::is_stale;
use crate::sys;

/// A mount that a box is expected to have.
struct Mount {
    kind: &'static str,
    target: &'static str,
    /// It is missing if this isn't there.
    sign: &'static str,
    flags: MsFlags,
    data: &'static str,
}

const QUIET: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// Engines make all of these; a bare `unshare` or chroot makes none.
const MOUNTS: [Mount; 3] = [
    Mount {
        kind: "proc",
        target: "/proc",
        sign: "/proc/version",
        flags: QUIET,
        data: "",
    },
    Mount {
        kind: "sysfs",
        target: "/sys",
        sign: "/sys/kernel",
        flags: QUIET,
        data: "",
    },
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        sign: "/dev/pts/ptmx",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        data: "newinstance,ptmxmode=0666,mode=0620",
    },
];

/// Mounts what is missing, where the mount point is there and it is permitted.
pub(crate) fn mount_missing() {
    for Mount {
        kind,
        target,
        sign,
        flags,
        data,
    } in MOUNTS
    {
        if !Path::new(sign).exists() {
            // Not permitted, or nowhere to put it: the box is as it was, and
            // what needs it says so itself.
            let _ = mount(Some(kind), target, Some(kind), flags, Some(data));
        }
    }
}

/// Opens those of the descriptors 0 to 2 that we were started without: else
/// the next file that is opened would have such a number, and words meant for
/// stderr would end up in it. What Rust's own start does, but for a box without
/// /dev/null, where that would end us.
pub(crate) fn fill_standard_descriptors() {
    for fd in 0..3 {
        if !sys::is_open(fd) {
            // The lowest free number is this one. Where nothing can be opened,
            // nothing can be said either.
            let _open_from_now_on = null(true).map(IntoRawFd::into_raw_fd);
        }
    }
}

/// /dev/null, or what is as empty where a box has none.
pub(crate) fn null(for_children: bool) -> Result<OwnedFd, Errno> {
    let (file, memory) = if for_children {
        (OFlag::empty(), MFdFlags::empty())
    } else {
        (OFlag::O_CLOEXEC, MFdFlags::MFD_CLOEXEC)
    };
    let null = open("/dev/null", OFlag::O_RDWR | file, Mode::empty());
    null.or_else(|_| {
        let empty = memfd_create(c"null", MFdFlags::MFD_ALLOW_SEALING | memory)?;
        fcntl(&empty, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
        Ok(empty)
    })
}

/// Why a run directory can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunDirError {
    #[error("cannot make {0}")]
    Make(PathBuf, #[source] io::Error),
    #[error("cannot open {0}")]
    Open(PathBuf, #[source] io::Error),
    #[error("cannot use {0}: it belongs to another user")]
    Foreign(PathBuf),
    #[error("cannot use {0}: another init answers there")]
    InUse(PathBuf),
    #[error("cannot listen in {0}")]
    Listen(PathBuf, #[source] Errno),
}

/// Clients that wait to be accepted.
const BACKLOG: i32 = 512;

/// Where the control socket may lie, in the order in which init and its client
/// look.
pub(crate) fn run_dirs(chosen: Option<&Path>) -> Vec<PathBuf> {
    if let Some(chosen) = chosen {
        return vec![chosen.to_owned()];
    }
    let uid = geteuid();
    let hidden = format!(".holdall-{uid}");
    [
        "/run/holdall".into(),
        Path::new("/tmp").join(&hidden),
        Path::new("/dev/shm").join(&hidden),
    ]
    .to_vec()
}

/// The first run directory that can be made and is safe, opened, and the
/// listening socket in it.
pub(crate) fn open_run_dir(chosen: Option<&Path>) -> Result<(PathBuf, OwnedFd), Vec<RunDirError>> {
    let mut errors = Vec::new();
    for path in run_dirs(chosen) {
        match open_one(&path).and_then(|dir| Ok((listen_in(&path, &dir)?, dir))) {
            Ok((socket, _)) => return Ok((path, socket)),
            Err(error) => errors.push(error),
        }
    }
    Err(errors)
}

fn open_one(path: &Path) -> Result<File, RunDirError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(RunDirError::Make(path.to_owned(), error));
        }
        Ok(()) | Err(_) => {}
    }
    let dir = open_dir(path).map_err(|error| RunDirError::Open(path.to_owned(), error))?;
    let found = dir
        .metadata()
        .map_err(|error| RunDirError::Open(path.to_owned(), error))?;
    if found.uid() != geteuid().as_raw() {
        return Err(RunDirError::Foreign(path.to_owned()));
    }
    if found.mode() & 0o077 != 0 {
        // Ours, but open to others: an image may have made it.
        dir.set_permissions(fs::Permissions::from_mode(0o700))
            .map_err(|error| RunDirError::Open(path.to_owned(), error))?;
    }
    Ok(dir)
}

/// A directory, and never what a symbolic link points to.
fn open_dir(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    File::options().read(true).custom_flags(flags).open(path)
}

fn listen_in(path: &Path, dir: &File) -> Result<OwnedFd, RunDirError> {
    let make = || -> Result<OwnedFd, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let address = UnixAddr::new(SOCKET_NAME)?;
        let name = Path::new(SOCKET_NAME);
        within(dir, || match bind(fd.as_raw_fd(), &address) {
            Err(Errno::EADDRINUSE) if is_stale(name, &address) => {
                fs::remove_file(name)
                    .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
                bind(fd.as_raw_fd(), &address)
            }
            done => done,
        })?;
        // Who reaches it is for the directory to say, and what they may ask for
        // their credentials.
        let open = fs::Permissions::from_mode(0o666);
        let _ = within(dir, || Ok(fs::set_permissions(name, open)));
        listen(&fd, Backlog::new(BACKLOG)?)?;
        Ok(fd)
    };
    make().map_err(|errno| match errno {
        Errno::EADDRINUSE => RunDirError::InUse(path.to_owned()),
        errno => RunDirError::Listen(path.to_owned(), errno),
    })
}

/// Does something inside a directory, so that the name of a socket stays short
/// however long the path of its folder is.
pub(crate) fn within<T>(dir: &File, action: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let raw = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let back = File::options()
        .read(true)
        .custom_flags(flags)
        .open(".")
        .map_err(raw)?;
    fchdir(dir)?;
    let done = action();
    fchdir(&back)?;
    done
}

/// Connects to the init whose socket lies in one of the run directories.
pub(crate) fn connect(chosen: Option<&Path>) -> Option<OwnedFd> {
    let address = UnixAddr::new(SOCKET_NAME).ok()?;
    run_dirs(chosen).into_iter().find_map(|path| {
        let dir = open_dir(&path).ok()?;
        let fd = socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .ok()?;
        within(&dir, || nix::sys::socket::connect(fd.as_raw_fd(), &address)).ok()?;
        Some(fd)
    })
}
