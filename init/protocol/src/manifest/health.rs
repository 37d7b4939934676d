//! `health`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::ports::port;
use super::values::{positive, words};
use super::{Health, Probe};
use crate::Millis;
use crate::decode::{Problems, Value};

/// Reads `health = { exec | http | tcp = …, interval, timeout, retries,
/// start_period }`.
pub(super) fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Health> {
    let mut table = value.table(problems)?;
    let mut found = Vec::new();
    for kind in ["exec", "http", "tcp"] {
        found.extend(table.take(kind));
    }
    let probe = match found.as_slice() {
        [] => {
            let message = "`health` does not say how to ask";
            let help = "add exec = \"command\", http = \":8000/healthz\" or tcp = 6379";
            problems.add_help(value.key_span(), message, help);
            None
        }
        [asked] => match asked.key() {
            "exec" => words(asked, problems).map(Probe::Exec),
            "http" => http(asked, problems),
            _ => tcp(asked, problems).map(Probe::Tcp),
        },
        [first, second, ..] => {
            let (first, key) = (first.key(), second.key());
            problems.add(
                second.key_span(),
                format!("`health` has both `{first}` and `{key}`"),
            );
            None
        }
    };
    let interval = table
        .take("interval")
        .and_then(|value| positive(&value, problems));
    let timeout = table
        .take("timeout")
        .and_then(|value| positive(&value, problems));
    let retries = table
        .take("retries")
        .and_then(|value| value.integer(1..=1000, problems));
    let start_period = table
        .take("start_period")
        .and_then(|value| value.duration(problems));
    table.finish(&[], problems);
    Some(Health {
        probe: probe?,
        interval: interval.unwrap_or(Millis::from_secs(10)),
        timeout: timeout.unwrap_or(Millis::from_secs(3)),
        retries: retries.unwrap_or(3),
        start_period: start_period.unwrap_or(Millis::ZERO),
    })
}

/// `6379`, `"6379"`, `":6379"`, `"127.0.0.1:6379"`, `"localhost:6379"`.
fn tcp(value: &Value<'_>, problems: &mut Problems) -> Option<SocketAddr> {
    if value.as_integer().is_some() {
        let port = value.integer(1..=u16::MAX, problems)?;
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let Some(text) = value.as_str() else {
        value.wrong_type("a port or a string such as \"127.0.0.1:6379\"", problems);
        return None;
    };
    let target = port(text).map(|port| Target {
        host: "",
        port: Some(port),
    });
    let target = target
        .or_else(|| Target::parse(text))
        .filter(|target| target.port.is_some());
    let address = target.and_then(|target| target.address());
    if address.is_none() {
        not_an_address(value, text, problems);
    }
    address
}

/// `":8000/healthz"`, `"127.0.0.1:8000/x"`, `"http://localhost/x"`.
fn http(value: &Value<'_>, problems: &mut Problems) -> Option<Probe> {
    let text = value.string(problems)?;
    if text.starts_with("https://") {
        problems.add_help(
            value.span(),
            "probes over https are not built yet",
            "ask over http, or by exec with a client of the image",
        );
        return None;
    }
    let rest = text.strip_prefix("http://").unwrap_or(text);
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    if path
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || c == '#')
    {
        problems.add(
            value.span(),
            format!("path {path:?} of `http` has a blank or a '#' in it"),
        );
        return None;
    }
    let target = Target::parse(authority);
    let Some((target, address)) = target.and_then(|t| t.address().map(|address| (t, address)))
    else {
        not_an_address(value, text, problems);
        return None;
    };
    Some(Probe::Http {
        address,
        host: target.host_header(),
        path: path.to_owned(),
    })
}

fn not_an_address(value: &Value<'_>, text: &str, problems: &mut Problems) {
    problems.add_help(
        value.span(),
        format!(
            "`{}` can't ask {text:?}: it is no address with a port",
            value.key()
        ),
        "write a port, an IP address with a port, or localhost: names are not looked up",
    );
}

/// Where a probe goes, as written.
#[derive(Debug, Clone, Copy)]
struct Target<'t> {
    /// Empty, `localhost` or an IP literal (IPv6 in brackets).
    host: &'t str,
    port: Option<u16>,
}

impl<'t> Target<'t> {
    /// `HOST`, `HOST:PORT` or `:PORT`.
    fn parse(text: &'t str) -> Option<Self> {
        let colon = text
            .rfind(':')
            .filter(|at| !text.get(*at..).unwrap_or("").contains(']'));
        match colon {
            Some(at) => {
                let (host, tail) = text.split_at(at);
                Some(Self {
                    host,
                    port: Some(port(tail.strip_prefix(':')?)?),
                })
            }
            None if text.is_empty() => None,
            None => Some(Self {
                host: text,
                port: None,
            }),
        }
    }

    fn address(self) -> Option<SocketAddr> {
        let ip = match self.host {
            "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => match host
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                Some(inner) => IpAddr::V6(inner.parse().ok()?),
                None => IpAddr::V4(host.parse().ok()?),
            },
        };
        Some(SocketAddr::new(ip, self.port.unwrap_or(80)))
    }

    /// As RFC 9110 wants it: without the port where that is 80.
    fn host_header(self) -> String {
        let host = if self.host.is_empty() {
            "localhost"
        } else {
            self.host
        };
        match self.port {
            None | Some(80) => host.to_owned(),
            Some(port) => format!("{host}:{port}"),
        }
    }
}
