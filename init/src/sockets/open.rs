//! Opening one socket as the manifest says it.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use holdall_protocol::account::AccountError;
use holdall_protocol::manifest::{Listen, ListenAddress};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind,
    connect, listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod, umask};
use nix::unistd::{Gid, Uid, fchownat, geteuid};

use crate::account;
use crate::spawn::words;

/// Connections that wait for a service that restarts, unless said. The kernel
/// cuts it to its own limit, 4096 unless set lower.
const BACKLOG: u32 = 4096;

/// A unix socket's mode, unless said: as open as a TCP port, whoever reaches
/// the folder may connect.
const MODE: u32 = 0o666;

/// Room for the datagrams that wait for a service that restarts, in bytes. The
/// kernel cuts it to its own limit (net.core.rmem_max, about 200 kB unless set
/// higher).
const DATAGRAMS: usize = 4 << 20;

/// A socket can't be opened, or be made as the manifest wants it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {address}: {}", words(*.errno))]
    Open { address: String, errno: Errno },
    #[error("cannot listen on {0}: another program answers there")]
    Answered(String),
    #[error("cannot listen on {0}: a file that is no socket is in its place")]
    InTheWay(String),
    #[error("cannot give {path} to {owner:?}: {reason}")]
    Owner {
        path: String,
        owner: String,
        reason: OwnerError,
    },
    #[error("cannot set the mode of {path}: {}", words(*.errno))]
    Mode { path: String, errno: Errno },
}

/// Why a socket can't be given to its owner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnerError {
    #[error(transparent)]
    Account(AccountError),
    #[error("{}", words(*.0))]
    Change(Errno),
}

/// A socket, and the file of a unix one.
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    pub(super) file: Option<File>,
}

/// The file of a unix socket of ours, told from any other that lies at its path
/// later.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Opens the socket of an entry.
pub(super) fn open(wanted: &Listen) -> Result<Opened, ListenError> {
    let fd = match &wanted.address {
        ListenAddress::Port(port) => every_address(SockType::Stream, *port, wanted),
        ListenAddress::UdpPort(port) => every_address(SockType::Datagram, *port, wanted),
        ListenAddress::Tcp(address) => inet(SockType::Stream, *address, true, wanted),
        ListenAddress::Udp(address) => inet(SockType::Datagram, *address, true, wanted),
        ListenAddress::Unix(path) => return unix(path, wanted),
    };
    let fd = fd.map_err(|errno| failed(wanted, errno))?;
    Ok(Opened { fd, file: None })
}

/// Makes an open socket as the manifest wants it now. It stays open: nobody who
/// waits at it is lost.
pub(super) fn adapt(
    fd: &OwnedFd,
    file: Option<&File>,
    was: &Listen,
    wanted: &Listen,
) -> Result<(), ListenError> {
    if was.backlog != wanted.backlog && is_stream(&wanted.address) {
        wait_up_to(fd, wanted).map_err(|errno| failed(wanted, errno))?;
    }
    let Some(file) = file else { return Ok(()) };
    if was.owner != wanted.owner {
        file.give_to(wanted.owner.as_deref())?;
    }
    if was.mode != wanted.mode {
        file.set_mode(wanted.mode.unwrap_or(MODE))?;
    }
    Ok(())
}

fn failed(wanted: &Listen, errno: Errno) -> ListenError {
    let address = describe(&wanted.address);
    ListenError::Open { address, errno }
}

fn describe(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Port(_) | ListenAddress::UdpPort(_) => format!("port {address}"),
        ListenAddress::Tcp(_) | ListenAddress::Udp(_) | ListenAddress::Unix(_) => {
            address.to_string()
        }
    }
}

fn is_stream(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Port(_) | ListenAddress::Tcp(_) | ListenAddress::Unix(_) => true,
        ListenAddress::UdpPort(_) | ListenAddress::Udp(_) => false,
    }
}

fn wait_up_to(fd: &OwnedFd, wanted: &Listen) -> Result<(), Errno> {
    let backlog = i32::try_from(wanted.backlog.unwrap_or(BACKLOG)).unwrap_or(i32::MAX);
    // What is too large for the type is too large for the kernel too.
    listen(fd, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))
}

/// A port of every address: one socket of both families.
fn every_address(kind: SockType, port: u16, wanted: &Listen) -> Result<OwnedFd, Errno> {
    match inet(kind, (Ipv6Addr::UNSPECIFIED, port).into(), false, wanted) {
        // A kernel, or a box, without IPv6.
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => {
            inet(kind, (Ipv4Addr::UNSPECIFIED, port).into(), false, wanted)
        }
        done => done,
    }
}

fn inet(
    kind: SockType,
    address: SocketAddr,
    one_family: bool,
    wanted: &Listen,
) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if kind == SockType::Stream {
        // A restarted box must not wait for old connections to time out. Of a
        // datagram socket it would let anybody take the port over.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    } else {
        // As much as the kernel lets is enough, and less is not an error.
        let _ = setsockopt(&fd, sockopt::RcvBuf, &DATAGRAMS);
    }
    if wanted.reuse_port {
        setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` can be two sockets.
        setsockopt(&fd, sockopt::Ipv6V6Only, &one_family)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    if kind == SockType::Stream {
        wait_up_to(&fd, wanted)?;
    }
    Ok(fd)
}

fn unix(place: &str, wanted: &Listen) -> Result<Opened, ListenError> {
    let path = Path::new(place);
    let failed = |errno| failed(wanted, errno);
    let address = UnixAddr::new(path).map_err(failed)?;
    let (kind, flags) = (SockType::Stream, SockFlag::SOCK_CLOEXEC);
    let fd = socket(AddressFamily::Unix, kind, flags, None).map_err(failed)?;
    let mode = wanted.mode.unwrap_or(MODE);
    let bound = match bind_with_mode(&fd, &address, mode) {
        Err(Errno::EADDRINUSE) if is_stale(path, &address) => {
            let raw = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
            let removed = fs::remove_file(path).map_err(raw);
            removed.and_then(|()| bind_with_mode(&fd, &address, mode))
        }
        bound => bound,
    };
    match bound {
        Ok(()) => {}
        Err(Errno::EADDRINUSE) => {
            let found = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
            let place = place.to_owned();
            return Err(if found {
                ListenError::Answered(place)
            } else {
                ListenError::InTheWay(place)
            });
        }
        Err(errno) => return Err(failed(errno)),
    }
    let file = File::at(path).map_err(failed)?;
    let ready = match &wanted.owner {
        Some(owner) => file.give_to(Some(owner)),
        None => Ok(()),
    };
    // Last: nobody can connect before everything is as it should be.
    ready
        .and_then(|()| wait_up_to(&fd, wanted).map_err(failed))
        .inspect_err(|_| file.remove())?;
    Ok(Opened {
        fd,
        file: Some(file),
    })
}

/// Binds so that the file has this mode from its first moment. Changed
/// afterwards by its path, it could be another file by then, in a folder that
/// belongs to somebody else.
fn bind_with_mode(fd: &OwnedFd, address: &UnixAddr, mode: u32) -> Result<(), Errno> {
    // The kernel takes it from the socket, less the umask.
    fchmod(fd, Mode::from_bits_truncate(mode))?;
    let before = umask(Mode::empty());
    let bound = bind(fd.as_raw_fd(), address);
    umask(before);
    bound
}

/// Whether a file is a socket that nobody listens on.
pub(crate) fn is_stale(path: &Path, address: &impl SockaddrLike) -> bool {
    if !fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        return false;
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let trial = socket(AddressFamily::Unix, SockType::Stream, flags, None);
    trial.is_ok_and(|fd| connect(fd.as_raw_fd(), address) == Err(Errno::ECONNREFUSED))
}

impl File {
    /// What was bound there just now.
    fn at(path: &Path) -> Result<Self, Errno> {
        let found = fs::symlink_metadata(path)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        if !found.file_type().is_socket() || found.uid() != geteuid().as_raw() {
            // Somebody has put something else there meanwhile.
            return Err(Errno::EBUSY);
        }
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    fn is_ours(&self, found: &fs::Metadata) -> bool {
        (found.dev(), found.ino()) == (self.device, self.inode)
    }

    /// A handle on the file that stays this file, if it is still there.
    fn handle(&self) -> Result<fs::File, Errno> {
        let raw = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let mut options = OpenOptions::new();
        let handle = options.read(true).custom_flags(flags).open(&self.path);
        let handle = handle.map_err(raw)?;
        if self.is_ours(&handle.metadata().map_err(raw)?) {
            Ok(handle)
        } else {
            Err(Errno::ENOENT)
        }
    }

    /// Gives it to `user` or `user:group`; back to init where none.
    fn give_to(&self, owner: Option<&str>) -> Result<(), ListenError> {
        let change = || -> Result<(), OwnerError> {
            let account = owner.map(account::find).transpose();
            let account = account.map_err(OwnerError::Account)?;
            let (uid, gid) = account.map_or_else(
                || (geteuid(), nix::unistd::getegid()),
                |account| (Uid::from_raw(account.uid), Gid::from_raw(account.gid)),
            );
            let handle = self.handle().map_err(OwnerError::Change)?;
            let flags = AtFlags::AT_EMPTY_PATH;
            fchownat(handle.as_fd(), "", Some(uid), Some(gid), flags).map_err(OwnerError::Change)
        };
        change().map_err(|reason| ListenError::Owner {
            path: self.path.display().to_string(),
            owner: owner.unwrap_or_default().to_owned(),
            reason,
        })
    }

    fn set_mode(&self, mode: u32) -> Result<(), ListenError> {
        let change = || -> Result<(), Errno> {
            let handle = self.handle()?;
            // A handle without rights to read or write can't be changed but by
            // its name in /proc.
            let name = format!("/proc/self/fd/{}", handle.as_raw_fd());
            fs::set_permissions(name, fs::Permissions::from_mode(mode))
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
        };
        change().map_err(|errno| ListenError::Mode {
            path: self.path.display().to_string(),
            errno,
        })
    }

    /// Removes it, unless something else lies there by now.
    pub(super) fn remove(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| self.is_ours(&found)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
