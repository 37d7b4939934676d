//! The host's side of published ports: listening sockets.
//!
//! They are bound *without* SO_REUSEPORT: with it, any other socket of the
//! same user that also sets it would share the port in silence and take half
//! of the connections. A later switch between two states of a box sets the
//! option on the socket it already has, just before it binds the second; Linux
//! allows that.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, socket, sockopt,
};
use serde::{Deserialize, Serialize};

use super::Publish;

/// One socket of the host and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The address on the host.
    pub host: SocketAddr,
    /// The port in the box.
    pub inside: u16,
}

/// Why a port isn't published.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("cannot publish port {0}: it is in use")]
    InUse(SocketAddr),
    /// No port is free on all addresses.
    #[error("cannot publish port {0} of the box: no free port found on the host")]
    NoneFree(u16),
    /// Anything else.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// A bound socket, and what it is for.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) port: PublishedPort,
    pub(crate) socket: OwnedFd,
}

/// How often a free port is looked for that is free on IPv4 and IPv6 alike.
const FREE_PORT_TRIES: u32 = 64;

/// Clients that may wait to be accepted; the kernel caps it at
/// net.core.somaxconn. A short queue would refuse clients in a burst.
const BACKLOG: i32 = 4096;

/// Binds every socket of `publish`; on an error none stays bound.
///
/// # Errors
/// The first port that can't be had.
pub(crate) fn bind_all(publish: &[Publish]) -> Result<Vec<Bound>, ListenError> {
    let mut bound = Vec::new();
    for publish in publish {
        for (host, inside) in publish.pairs() {
            match host {
                Some(port) => bound.extend(bind_port(publish, port, inside)?),
                None => bound.extend(bind_free(publish, inside)?),
            }
        }
    }
    Ok(bound)
}

/// Binds exactly these, as they were bound before.
pub(crate) fn rebind(port: &PublishedPort) -> Result<Bound, ListenError> {
    let socket = open(port.host).map_err(|errno| error(port.host, errno))?;
    Ok(Bound {
        port: port.clone(),
        socket,
    })
}

fn error(address: SocketAddr, errno: Errno) -> ListenError {
    match errno {
        Errno::EADDRINUSE => ListenError::InUse(address),
        errno => ListenError::Listen {
            address,
            cause: errno.into(),
        },
    }
}

fn bind_port(publish: &Publish, port: u16, inside: u16) -> Result<Vec<Bound>, ListenError> {
    let mut bound = Vec::new();
    for address in publish.addresses() {
        let host = SocketAddr::new(address, port);
        match open(host) {
            Ok(socket) => bound.push(Bound {
                port: PublishedPort { host, inside },
                socket,
            }),
            Err(errno) if family_is_missing(publish, address, errno) => {}
            Err(errno) => return Err(error(host, errno)),
        }
    }
    Ok(bound)
}

/// A host without IPv6 still publishes on IPv4 when nobody asked for IPv6.
fn family_is_missing(publish: &Publish, address: IpAddr, errno: Errno) -> bool {
    publish.any_address()
        && address.is_ipv6()
        && matches!(errno, Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)
}

/// Lets the kernel pick a port on the first address and takes the same on the
/// others.
fn bind_free(publish: &Publish, inside: u16) -> Result<Vec<Bound>, ListenError> {
    let addresses = publish.addresses();
    for _ in 0..FREE_PORT_TRIES {
        let mut port = 0;
        let mut bound = Vec::new();
        let mut taken = false;
        for address in &addresses {
            let wanted = SocketAddr::new(*address, port);
            match open(wanted) {
                Ok(socket) => {
                    let cause = |errno: Errno| error(wanted, errno);
                    let name: SockaddrStorage = getsockname(socket.as_raw_fd()).map_err(cause)?;
                    port = name
                        .as_sockaddr_in()
                        .map(|name| name.port())
                        .or_else(|| name.as_sockaddr_in6().map(|name| name.port()))
                        .unwrap_or(port);
                    let host = SocketAddr::new(*address, port);
                    bound.push(Bound {
                        port: PublishedPort { host, inside },
                        socket,
                    });
                }
                Err(Errno::EADDRINUSE) => taken = true,
                Err(errno) if family_is_missing(publish, *address, errno) => {}
                Err(errno) => return Err(error(wanted, errno)),
            }
        }
        if !taken {
            return Ok(bound);
        }
    }
    Err(ListenError::NoneFree(inside))
}

fn open(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    // A port whose last connections linger in TIME_WAIT is free.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        // 0.0.0.0 has a socket of its own.
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(text: &str) -> Vec<Publish> {
        vec![text.parse().expect(text)]
    }

    #[test]
    fn a_free_port_is_the_same_on_both_families() {
        let bound = bind_all(&publish("80")).expect("bound");
        let ports: Vec<u16> = bound.iter().map(|bound| bound.port.host.port()).collect();
        assert!(!ports.is_empty());
        assert!(
            ports
                .iter()
                .all(|port| *port != 0 && Some(port) == ports.first()),
            "{ports:?}"
        );
    }

    #[test]
    fn a_second_socket_on_a_published_port_is_refused_even_with_reuseport() {
        let bound = bind_all(&publish("127.0.0.1::80")).expect("bound");
        let host = bound.first().expect("one").port.host;
        let again = publish(&format!("{host}:80"));
        assert!(matches!(bind_all(&again), Err(ListenError::InUse(address)) if address == host));
        // A wildcard overlaps it.
        let wide = publish(&format!("{}:80", host.port()));
        assert!(matches!(bind_all(&wide), Err(ListenError::InUse(_))));

        let sharing = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .expect("socket");
        setsockopt(&sharing, sockopt::ReusePort, &true).expect("option");
        let taken = bind(sharing.as_raw_fd(), &SockaddrStorage::from(host));
        assert_eq!(taken, Err(Errno::EADDRINUSE));
    }

    #[test]
    fn a_failed_range_leaves_no_port_bound() {
        let bound = bind_all(&publish("127.0.0.1::80")).expect("bound");
        let last = bound.first().expect("one").port.host.port();
        let Some(first) = last.checked_sub(1) else {
            return;
        };
        let range = publish(&format!("127.0.0.1:{first}-{last}:80-81"));
        assert!(bind_all(&range).is_err());
        drop(bound);
        // The other program may hold `first` too; then both refusals say so.
        match bind_all(&range) {
            Ok(bound) => assert_eq!(bound.len(), 2),
            Err(error) => assert!(error.to_string().contains(&first.to_string()), "{error}"),
        }
    }
}
