//! `listen` and `expose`.

use std::fmt;
use std::net::SocketAddr;

use super::values::{mode, owner};
use super::write::quoted;
use crate::decode::{Problems, Value};

/// A socket that init opens once, holds, and hands over at every start
/// (LISTEN_FDS, LISTEN_FDNAMES): `"http=8000"`, `"http=127.0.0.1:8000"`,
/// `"dns=53/udp"`, `"api=/run/api.sock"`, or a table that says more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listen {
    /// Its name in LISTEN_FDNAMES.
    pub name: String,
    /// Where.
    pub address: ListenAddress,
    /// Connections that wait, of a stream; as many as the kernel lets where
    /// none.
    pub backlog: Option<u32>,
    /// A unix socket's mode; 0666, as open as a port, where none.
    pub mode: Option<u32>,
    /// A unix socket's owner, `user` or `user:group`; init's own where none.
    pub owner: Option<String>,
    /// `reuse_port`: others may open the same port beside it (SO_REUSEPORT).
    pub reuse_port: bool,
    /// It is the service's descriptor 0, as FastCGI wants it, and not among
    /// those of LISTEN_FDS.
    pub stdin: bool,
}

/// Where a socket listens, inside the box.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP on a port of every address, IPv6 and IPv4 (one dual-stack socket,
    /// or IPv4 where the kernel has no IPv6).
    Port(u16),
    /// TCP on one address.
    Tcp(SocketAddr),
    /// UDP on a port of every address, as [`Port`](Self::Port).
    UdpPort(u16),
    /// UDP on one address.
    Udp(SocketAddr),
    /// A unix stream socket at an absolute path.
    Unix(String),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "{port}"),
            Self::Tcp(address) => write!(f, "{address}"),
            Self::UdpPort(port) => write!(f, "{port}/udp"),
            Self::Udp(address) => write!(f, "{address}/udp"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// A port that a service binds itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Expose {
    /// Which.
    pub port: u16,
    /// Over what.
    pub protocol: Protocol,
}

/// The transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The longest path of a unix socket: `sun_path` with its NUL.
pub(super) const MAX_SOCKET_PATH: usize = 107;

/// The longest name of a socket, as of a service.
const MAX_NAME: usize = 63;

/// Names that begin so are init's own, in LISTEN_FDNAMES.
const RESERVED: &str = "holdall-";

const FORM: &str = "write \"http=8000\", \"http=127.0.0.1:8000\" or \"api=/run/api.sock\"";

/// Reads one entry of `listen`: a string, or `{ name, at, backlog, mode, owner,
/// reuse_port, stdin }`.
pub(super) fn listen(value: &Value<'_>, problems: &mut Problems) -> Option<Listen> {
    if value.as_integer().is_some() {
        problems.add_help(value.span(), "`listen` must name its sockets", FORM);
        return None;
    }
    let Some(mut table) = value.as_table() else {
        let text = value.string(problems)?;
        let Some((name, place)) = text.split_once('=') else {
            let message = format!("{text:?} does not name its socket");
            problems.add_help(value.span(), message, FORM);
            return None;
        };
        return socket(value, name, place, problems);
    };
    let name = table.required("name", problems);
    let at = table.required("at", problems);
    let backlog = table.take("backlog");
    let backlog = backlog.and_then(|value| value.integer(1..=65_535, problems));
    let access = [table.take("mode"), table.take("owner")];
    let [mode_value, owner_value] = &access;
    let mode = mode_value.as_ref().and_then(|value| mode(value, problems));
    let owner = owner_value
        .as_ref()
        .and_then(|value| owner(value, problems));
    let reuse_value = table.take("reuse_port");
    let reuse_port = reuse_value
        .as_ref()
        .and_then(|value| value.boolean(problems));
    let stdin = table.take("stdin");
    let stdin = stdin.and_then(|value| value.boolean(problems));
    table.finish(&[], problems);
    let (name, at) = (name?.string(problems)?, at?);
    let place = match at.as_integer() {
        Some(_) => at.integer(1..=u16::MAX, problems)?.to_string(),
        None => at.string(problems)?.to_owned(),
    };
    let mut listen = socket(&at, name, &place, problems)?;
    let of_file = matches!(listen.address, ListenAddress::Unix(_));
    for value in access.iter().flatten().filter(|_| !of_file) {
        let message = format!("`{}` is for a unix socket: a port has none", value.key());
        problems.add(value.key_span(), message);
    }
    if let (Some(true), true, Some(value)) = (reuse_port, of_file, &reuse_value) {
        let message = "`reuse_port` is for a port: a path belongs to one socket";
        problems.add(value.key_span(), message);
    }
    (listen.backlog, listen.mode, listen.owner) = (backlog, mode, owner);
    listen.reuse_port = reuse_port.unwrap_or(false);
    listen.stdin = stdin.unwrap_or(false);
    Some(listen)
}

/// A socket of this name at this place; `value` is where it is said.
fn socket(value: &Value<'_>, name: &str, place: &str, problems: &mut Problems) -> Option<Listen> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        let message = format!("{name:?} can't be the name of a socket");
        let help = "write letters, digits, '-', '_' and '.'";
        problems.add_help(value.span(), message, help);
        return None;
    }
    if name.starts_with(RESERVED) {
        problems.add(
            value.span(),
            format!("names of sockets that begin with {RESERVED:?} are init's own"),
        );
        return None;
    }
    Some(Listen {
        name: name.to_owned(),
        address: address(value, place, problems)?,
        backlog: None,
        mode: None,
        owner: None,
        reuse_port: false,
        stdin: false,
    })
}

/// A port, an address with a port (both with `/udp` behind them for UDP), or a
/// path.
pub(super) fn address(
    value: &Value<'_>,
    place: &str,
    problems: &mut Problems,
) -> Option<ListenAddress> {
    if place.starts_with('/') {
        if place.len() > MAX_SOCKET_PATH || place.contains('\0') {
            problems.add(
                value.span(),
                format!("socket's path is longer than {MAX_SOCKET_PATH} bytes"),
            );
            return None;
        }
        return Some(ListenAddress::Unix(place.to_owned()));
    }
    let (inner, udp) = match place.rsplit_once('/') {
        Some((inner, "udp")) => (inner, true),
        Some((inner, "tcp")) => (inner, false),
        Some(_) | None => (place, false),
    };
    let address = inner.parse::<SocketAddr>().ok().filter(|a| a.port() != 0);
    match (port(inner), address, udp) {
        (Some(port), _, false) => Some(ListenAddress::Port(port)),
        (Some(port), _, true) => Some(ListenAddress::UdpPort(port)),
        (None, Some(address), false) => Some(ListenAddress::Tcp(address)),
        (None, Some(address), true) => Some(ListenAddress::Udp(address)),
        (None, None, _) => {
            let message = format!("{place:?} is neither a port, an address with a port nor a path");
            problems.add_help(value.span(), message, FORM);
            None
        }
    }
}

/// As TOML.
pub(super) fn write_listen(listen: &Listen) -> String {
    let Listen {
        name,
        address,
        backlog,
        mode,
        owner,
        reuse_port,
        stdin,
    } = listen;
    let mut more = String::new();
    if let Some(backlog) = backlog {
        more.push_str(&format!(", backlog = {backlog}"));
    }
    if let Some(mode) = mode {
        more.push_str(&format!(", mode = \"{mode:04o}\""));
    }
    if let Some(owner) = owner {
        more.push_str(&format!(", owner = {}", quoted(owner)));
    }
    if *reuse_port {
        more.push_str(", reuse_port = true");
    }
    if *stdin {
        more.push_str(", stdin = true");
    }
    if more.is_empty() {
        return quoted(format!("{name}={address}"));
    }
    format!(
        "{{ name = {}, at = {}{more} }}",
        quoted(name),
        quoted(address)
    )
}

/// `80`, `"80"`, `"80/tcp"`, `"53/udp"`.
pub(super) fn expose(value: &Value<'_>, problems: &mut Problems) -> Option<Expose> {
    if value.as_integer().is_some() {
        let port = value.integer(1..=u16::MAX, problems)?;
        return Some(Expose {
            port,
            protocol: Protocol::Tcp,
        });
    }
    let Some(text) = value.as_str() else {
        value.wrong_type("a port or a string such as \"53/udp\"", problems);
        return None;
    };
    let (number, protocol) = match text.split_once('/') {
        None => (text, Some(Protocol::Tcp)),
        Some((number, "tcp")) => (number, Some(Protocol::Tcp)),
        Some((number, "udp")) => (number, Some(Protocol::Udp)),
        Some((number, _)) => (number, None),
    };
    let (Some(port), Some(protocol)) = (port(number), protocol) else {
        let message = format!("{text:?} is not a port");
        problems.add_help(value.span(), message, "write 80, or \"53/udp\"");
        return None;
    };
    Some(Expose { port, protocol })
}

/// A port, in digits and nothing else: `+80` is none.
pub(super) fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        text.parse().ok().filter(|port| *port != 0)
    } else {
        None
    }
}
