//! As much of HTTP/1.1 as a page to look at needs (RFC 9112): the head of one
//! GET or HEAD, strictly read and bounded. No body is taken.
//!
//! It uses nothing of this crate, so that the fuzzer can compile it by itself.

/// The longest first line, in bytes.
pub(crate) const MAX_LINE: usize = 8 * 1024;

/// The longest head, in bytes.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// The most fields of a head.
pub(crate) const MAX_FIELDS: usize = 64;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// HEAD: the answer is without its body.
    pub(crate) head_only: bool,
    /// Without the query.
    pub(crate) path: String,
    /// `?verbose` is in the query.
    pub(crate) verbose: bool,
}

/// Why nothing is answered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no HTTP, or not as the standard has it.
    Malformed,
    /// Another method than GET and HEAD.
    Method,
    /// It announces a body.
    Body,
    /// The first line is longer than [`MAX_LINE`].
    LineTooLong,
    /// The head is longer than [`MAX_HEAD`], or has too many fields.
    HeadTooLong,
    /// Another version than 1.0 and 1.1.
    Version,
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Method => 405,
            Self::Body => 413,
            Self::LineTooLong => 414,
            Self::HeadTooLong => 431,
            Self::Version => 505,
        }
    }
}

/// Takes what has come so far for a request; none until the head is whole.
pub(crate) fn read(bytes: &[u8]) -> Option<Result<Request, Refusal>> {
    // One empty line before a request is overlooked (RFC 9112, 2.2).
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let seen = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else {
        let line = seen.iter().position(|byte| *byte == b'\n');
        let too_long = if seen
            .iter()
            .enumerate()
            .any(|(at, byte)| is_stray(seen, at, *byte))
        {
            Refusal::Malformed
        } else if line.is_none_or(|end| end > MAX_LINE) && seen.len() > MAX_LINE {
            Refusal::LineTooLong
        } else if bytes.len() >= MAX_HEAD {
            Refusal::HeadTooLong
        } else {
            return None;
        };
        return Some(Err(too_long));
    };
    Some(head(seen.get(..end).unwrap_or(seen)))
}

/// A line may only end as the standard says, and nothing else may look so.
fn is_stray(bytes: &[u8], at: usize, byte: u8) -> bool {
    let before = at.checked_sub(1).and_then(|at| bytes.get(at));
    match byte {
        0 => true,
        b'\n' => before != Some(&b'\r'),
        b'\r' => bytes.get(at + 1).is_some_and(|next| *next != b'\n'),
        _ => false,
    }
}

/// A whole head, without the empty line at its end.
fn head(bytes: &[u8]) -> Result<Request, Refusal> {
    let stray = |(at, byte): (usize, &u8)| is_stray(bytes, at, *byte);
    if bytes.iter().enumerate().any(stray) {
        return Err(Refusal::Malformed);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::Malformed)?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    if first.len() > MAX_LINE {
        return Err(Refusal::LineTooLong);
    }
    let (request, minor) = request_line(first)?;
    let (mut hosts, mut count) = (0, 0);
    for line in lines {
        count += 1;
        if count > MAX_FIELDS {
            return Err(Refusal::HeadTooLong);
        }
        let (name, value) = line.split_once(':').ok_or(Refusal::Malformed)?;
        let value = value.trim_matches([' ', '\t']);
        let printable = |c: char| c == '\t' || !c.is_control();
        if !is_token(name) || !value.chars().all(printable) {
            return Err(Refusal::Malformed);
        }
        if name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Refusal::Body);
        } else if name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            if !digits {
                return Err(Refusal::Malformed);
            }
            if value.bytes().any(|byte| byte != b'0') {
                return Err(Refusal::Body);
            }
        }
    }
    // RFC 9112, 3.2: one in every request of 1.1, and never two.
    if hosts > 1 || (hosts == 0 && minor == 1) {
        return Err(Refusal::Malformed);
    }
    Ok(request)
}

/// `GET /path?query HTTP/1.1`: the request, and the minor version.
fn request_line(line: &str) -> Result<(Request, u8), Refusal> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        other => {
            let digits = other.strip_prefix("HTTP/").unwrap_or_default().as_bytes();
            let is_version = matches!(digits, [major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit());
            let refusal = if is_version {
                Refusal::Version
            } else {
                Refusal::Malformed
            };
            return Err(refusal);
        }
    };
    if !is_token(method) {
        return Err(Refusal::Malformed);
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Refusal::Method),
    };
    // A proxy's form has the scheme and the host before the path.
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::Malformed);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_verbose = |part: &str| part == "verbose" || part.starts_with("verbose=");
    let request = Request {
        head_only,
        path: path.to_owned(),
        verbose: query.split('&').any(is_verbose),
    };
    Ok((request, minor))
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<String, u16> {
        let read = read(text.as_bytes()).expect("a whole head");
        read.map(|request| request.path).map_err(Refusal::status)
    }

    #[test]
    fn what_clients_send_is_understood() {
        let curl =
            "GET /metrics HTTP/1.1\r\nHost: a:9100\r\nUser-Agent: curl\r\nAccept: */*\r\n\r\n";
        assert_eq!(path(curl), Ok("/metrics".to_owned()));
        assert_eq!(path("GET / HTTP/1.0\r\n\r\n"), Ok("/".to_owned()));
        assert_eq!(path("\r\nGET / HTTP/1.0\r\n\r\nmore"), Ok("/".to_owned()));
        let proxied = "GET http://a/livez?verbose HTTP/1.1\r\nhost:a\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(path(proxied), Ok("/livez".to_owned()));
        let verbose = |query: &str| {
            let text = format!("HEAD /livez{query} HTTP/1.1\r\nHost: a\r\n\r\n");
            let request = read(text.as_bytes()).expect("whole").expect("a request");
            assert!(request.head_only);
            request.verbose
        };
        assert!(verbose("?verbose") && verbose("?a=b&verbose=1"));
        assert!(!verbose("") && !verbose("?verbosely"));
    }

    #[test]
    fn nothing_is_answered_before_the_head_is_whole() {
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), None, "{cut}");
        }
        assert!(read(whole).is_some());
    }

    #[test]
    fn what_is_not_as_the_standard_has_it_is_refused() {
        for (text, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
            ("GET / HTTP/1.1\nHost: a\n\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),
            ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /ä HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
                400,
            ),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET / HTTX\r\nHost: a\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
                413,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                413,
            ),
        ] {
            assert_eq!(path(text), Err(status), "{text:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_whole() {
        let refused = |text: &str| read(text.as_bytes()).map(|read| read.map_err(Refusal::status));
        let line = format!("GET /{}", "a".repeat(MAX_LINE));
        assert_eq!(refused(&line), Some(Err(414)));
        let fields = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "b".repeat(MAX_HEAD));
        assert_eq!(refused(&fields), Some(Err(431)));
        let many = "X: y\r\n".repeat(MAX_FIELDS + 1);
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n");
        assert_eq!(refused(&many), Some(Err(431)));
        assert_eq!(refused(&line[..MAX_LINE]), None);
    }
}
