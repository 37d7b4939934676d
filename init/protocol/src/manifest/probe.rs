//! How a service is asked: the probes of `health` and `ready`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::ports::{MAX_SOCKET_PATH, port};
use super::values::{absolute, words};
use super::write::{key, list, quoted, table};
use crate::decode::{Problems, Table, Value};

/// How to ask a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A command, split into words: good when it exits 0. It runs with the
    /// service's user, directory and environment.
    Exec(Vec<String>),
    /// A connection that is accepted.
    Tcp(SocketAddr),
    /// A GET that is answered well.
    Http(HttpProbe),
    /// A file that is there.
    File(String),
}

/// A GET and the answers to it that are good.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpProbe {
    /// Where to connect.
    pub to: HttpTarget,
    /// The Host header.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// More headers.
    pub headers: BTreeMap<String, String>,
    /// The lowest and the highest good status; 200 to 399 unless said.
    pub status: (u16, u16),
}

/// Where an HTTP probe connects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HttpTarget {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket's path.
    Unix(String),
}

/// What is good unless said: an answer, or a way to one.
const GOOD: (u16, u16) = (200, 399);

/// The keys of a probe.
pub(super) const KINDS: [&str; 4] = ["exec", "http", "tcp", "file"];

/// Takes the probe out of a table that has one of [`KINDS`] and of `others`.
/// Gives what was found of either.
pub(super) fn take<'t>(
    table: &mut Table<'t>,
    others: &[&'static str],
    name: &str,
    help: &str,
    problems: &mut Problems,
) -> Option<Value<'t>> {
    let mut found = Vec::new();
    for kind in KINDS.iter().chain(others) {
        found.extend(table.take(kind));
    }
    match found.as_slice() {
        [] => {
            let message = format!("`{name}` does not say how to ask");
            problems.add_help(table.span(), message, help);
            None
        }
        [asked] => Some(asked.clone()),
        [first, second, ..] => {
            let (first, key) = (first.key(), second.key());
            let message = format!("`{name}` has both `{first}` and `{key}`");
            problems.add(second.key_span(), message);
            None
        }
    }
}

/// Reads what [`take`] has given, if it is a probe.
pub(super) fn read(asked: &Value<'_>, problems: &mut Problems) -> Option<Probe> {
    match asked.key() {
        "exec" => words(asked, problems).map(Probe::Exec),
        "http" => http(asked, problems).map(Probe::Http),
        "tcp" => tcp(asked, problems).map(Probe::Tcp),
        "file" => absolute(asked, problems).map(Probe::File),
        _ => None,
    }
}

/// As TOML: a key and its value.
pub(super) fn write(probe: &Probe) -> String {
    match probe {
        Probe::Exec(command) => format!("exec = {}", list(command)),
        Probe::Tcp(address) => format!("tcp = {}", quoted(address)),
        Probe::File(path) => format!("file = {}", quoted(path)),
        Probe::Http(http) => format!("http = {}", write_http(http)),
    }
}

fn write_http(probe: &HttpProbe) -> String {
    let HttpProbe {
        to,
        host,
        path,
        headers,
        status,
    } = probe;
    let url = quoted(format!("http://{host}{path}"));
    let mut entries = vec![format!("url = {url}")];
    if let HttpTarget::Unix(path) = to {
        entries.push(format!("unix = {}", quoted(path)));
    }
    if !headers.is_empty() {
        let header =
            |(name, value): (&String, &String)| format!("{} = {}", key(name), quoted(value));
        entries.push(format!("headers = {}", table(headers.iter().map(header))));
    }
    if *status != GOOD {
        entries.push(format!("status = \"{}-{}\"", status.0, status.1));
    }
    match entries.as_slice() {
        [_] => url,
        _ => table(entries.into_iter()),
    }
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

/// `":8000/healthz"`, or `{ url = ":8000/healthz", unix = "/run/app.sock",
/// headers = { … }, status = "200-299" }`.
fn http(value: &Value<'_>, problems: &mut Problems) -> Option<HttpProbe> {
    let Some(mut table) = value.as_table() else {
        return url(value, None, problems);
    };
    let asked = table.required("url", problems);
    let unix = table.take("unix");
    let unix = unix.and_then(|value| {
        let path = absolute(&value, problems)?;
        if path.len() > MAX_SOCKET_PATH {
            let message = format!("socket's path is longer than {MAX_SOCKET_PATH} bytes");
            problems.add(value.span(), message);
            return None;
        }
        Some(path)
    });
    let mut probe = asked.and_then(|asked| url(&asked, unix, problems));
    let headers = table
        .take("headers")
        .and_then(|value| value.table(problems));
    let mut read = BTreeMap::new();
    for entry in headers.map(Table::entries).unwrap_or_default() {
        if let Some(text) = header(&entry, problems) {
            read.insert(entry.key().to_owned(), text);
        }
    }
    let good = table
        .take("status")
        .and_then(|value| status(&value, problems));
    table.finish(&[], problems);
    if let Some(probe) = &mut probe {
        probe.headers = read;
        probe.status = good.unwrap_or(GOOD);
    }
    probe
}

/// One more header: what can't be smuggled into the request.
fn header(entry: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let name = entry.key();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte);
    let text = entry.string(problems)?;
    if name.is_empty() || !name.bytes().all(token) {
        problems.add(
            entry.key_span(),
            format!("{name:?} can't be the name of a header"),
        );
        return None;
    }
    if ["host", "connection", "content-length"].contains(&name.to_ascii_lowercase().as_str()) {
        problems.add(
            entry.key_span(),
            format!("header `{name}` is set by the probe itself"),
        );
        return None;
    }
    if text.chars().any(char::is_control) {
        problems.add(
            entry.span(),
            format!("header `{name}` has a control character"),
        );
        return None;
    }
    Some(text.to_owned())
}

/// `204`, `"200-299"`.
fn status(value: &Value<'_>, problems: &mut Problems) -> Option<(u16, u16)> {
    if value.as_integer().is_some() {
        let only = value.integer(100..=599, problems)?;
        return Some((only, only));
    }
    let text = value.string(problems)?;
    let code = |text: &str| port(text).filter(|code| (100..=599).contains(code));
    let range = match text.split_once('-') {
        Some((first, last)) => code(first).zip(code(last)),
        None => code(text).map(|only| (only, only)),
    };
    let range = range.filter(|(first, last)| first <= last);
    if range.is_none() {
        let message = format!("{text:?} is no range of status codes");
        problems.add_help(value.span(), message, "write 204, or \"200-299\"");
    }
    range
}

/// `":8000/healthz"`, `"127.0.0.1:8000/x"`, `"http://localhost/x"`.
fn url(value: &Value<'_>, unix: Option<String>, problems: &mut Problems) -> Option<HttpProbe> {
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
    // Over a unix socket the host is only a header.
    let authority = match (authority, &unix) {
        ("", Some(_)) => "localhost",
        (authority, _) => authority,
    };
    let target = Target::parse(authority);
    let Some((target, address)) = target.and_then(|t| t.address().map(|address| (t, address)))
    else {
        not_an_address(value, text, problems);
        return None;
    };
    Some(HttpProbe {
        to: unix.map_or(HttpTarget::Tcp(address), HttpTarget::Unix),
        host: target.host_header(),
        path: path.to_owned(),
        headers: BTreeMap::new(),
        status: GOOD,
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
