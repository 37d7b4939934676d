//! The sockets of `listen`: opened once inside the box, held as long as init
//! lives, and handed to the service at each start, so that who connects while
//! it restarts waits in the backlog.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use holdall_protocol::manifest::{Listen, ListenAddress};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind,
    connect, listen, setsockopt, socket, sockopt,
};

use crate::spawn::words;

/// Connections that wait for a service that restarts. The kernel cuts it to
/// its own limit, 4096 unless set lower.
const BACKLOG: i32 = 4096;

/// A socket can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", words(*.errno))]
pub(crate) struct ListenError {
    address: String,
    errno: Errno,
}

/// The sockets of one service.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    open: Vec<(Listen, OwnedFd)>,
}

impl Sockets {
    /// Opens those that aren't open yet, and gives all in the manifest's order
    /// with their names.
    pub(crate) fn open(&mut self, wanted: &[Listen]) -> Result<Vec<(String, RawFd)>, ListenError> {
        for entry in wanted {
            if self.find(entry).is_none() {
                let fd = listen_on(&entry.address).map_err(|errno| ListenError {
                    address: describe(&entry.address),
                    errno,
                })?;
                self.open.push((entry.clone(), fd));
            }
        }
        let named = |entry: &Listen| Some((entry.name.clone(), self.find(entry)?.as_raw_fd()));
        Ok(wanted.iter().filter_map(named).collect())
    }

    /// Closes those that are not wanted any more.
    pub(crate) fn keep(&mut self, wanted: &[Listen]) {
        self.open.retain(|(entry, _)| {
            let keep = wanted.contains(entry);
            if let (ListenAddress::Unix(path), false) = (&entry.address, keep) {
                let _ = fs::remove_file(path);
            }
            keep
        });
    }

    fn find(&self, wanted: &Listen) -> Option<&OwnedFd> {
        self.open
            .iter()
            .find(|(entry, _)| entry == wanted)
            .map(|(_, fd)| fd)
    }

    /// Removes the files of unix sockets, at the end.
    pub(crate) fn unlink(&self) {
        for (entry, _) in &self.open {
            if let ListenAddress::Unix(path) = &entry.address {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn describe(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Port(_) | ListenAddress::UdpPort(_) => format!("port {address}"),
        ListenAddress::Tcp(_) | ListenAddress::Udp(_) | ListenAddress::Unix(_) => {
            address.to_string()
        }
    }
}

fn listen_on(address: &ListenAddress) -> Result<OwnedFd, Errno> {
    match address {
        ListenAddress::Port(port) => match tcp((Ipv6Addr::UNSPECIFIED, *port).into(), false) {
            // A kernel, or a box, without IPv6.
            Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => {
                tcp((Ipv4Addr::UNSPECIFIED, *port).into(), false)
            }
            done => done,
        },
        ListenAddress::Tcp(address) => tcp(*address, true),
        // Refused where the file is read (`unbuilt.rs`).
        ListenAddress::UdpPort(_) | ListenAddress::Udp(_) => Err(Errno::EPROTONOSUPPORT),
        ListenAddress::Unix(path) => unix(Path::new(path)),
    }
}

fn tcp(address: SocketAddr, one_family: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // A restarted box must not wait for old connections to time out.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &one_family)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}

fn unix(path: &Path) -> Result<OwnedFd, Errno> {
    let address = UnixAddr::new(path)?;
    let fd = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    match bind(fd.as_raw_fd(), &address) {
        Err(Errno::EADDRINUSE) if is_stale(path, &address) => {
            fs::remove_file(path).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))?;
            bind(fd.as_raw_fd(), &address)?;
        }
        done => done?,
    }
    // As open as a TCP port: whoever reaches the folder may connect. A refusal
    // leaves the umask's.
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o666));
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
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
