//! `listen` and `expose`.

use std::net::SocketAddr;

use super::{Expose, Listen, ListenAddress, Protocol};
use crate::decode::{Problems, Value};

/// The longest path of a unix socket: `sun_path` with its NUL.
const MAX_SOCKET_PATH: usize = 107;

/// The longest name of a socket, as of a service.
const MAX_NAME: usize = 63;

/// Names that begin so are init's own, in LISTEN_FDNAMES.
const RESERVED: &str = "holdall-";

/// `"http=8000"`, `"http=127.0.0.1:8000"`, `"api=/run/api.sock"`.
pub(super) fn listen(value: &Value<'_>, problems: &mut Problems) -> Option<Listen> {
    let form = "write \"http=8000\", \"http=127.0.0.1:8000\" or \"api=/run/api.sock\"";
    if value.as_integer().is_some() {
        problems.add_help(value.span(), "`listen` must name its sockets", form);
        return None;
    }
    let text = value.string(problems)?;
    let Some((name, place)) = text.split_once('=') else {
        problems.add_help(
            value.span(),
            format!("{text:?} does not name its socket"),
            form,
        );
        return None;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        let message = format!("{name:?} can't be the name of a socket");
        problems.add_help(
            value.span(),
            message,
            "write letters, digits, '-', '_' and '.'",
        );
        return None;
    }
    if name.starts_with(RESERVED) {
        problems.add(
            value.span(),
            format!("names of sockets that begin with {RESERVED:?} are init's own"),
        );
        return None;
    }
    let address = if place.starts_with('/') {
        if place.len() > MAX_SOCKET_PATH {
            problems.add(
                value.span(),
                format!("socket's path is longer than {MAX_SOCKET_PATH} bytes"),
            );
            return None;
        }
        ListenAddress::Unix(place.to_owned())
    } else if let Some(port) = port(place) {
        ListenAddress::Port(port)
    } else if let Some(address) = place.parse::<SocketAddr>().ok().filter(|a| a.port() != 0) {
        ListenAddress::Tcp(address)
    } else {
        let message = format!("{place:?} is neither a port, an address with a port nor a path");
        problems.add_help(value.span(), message, form);
        return None;
    };
    Some(Listen {
        name: name.to_owned(),
        address,
    })
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
