//! Answers, as they go over the wire. Each is the last of its connection.

use std::rc::Rc;

use holdall_protocol::Moment;
use holdall_protocol::moment::Civil;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// The text format 0.0.4 of Prometheus.
    Metrics,
    Html,
}

impl Kind {
    fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }
}

/// What is answered, but for the time.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) status: u16,
    pub(crate) kind: Kind,
    /// Shared by all who are sent the same.
    pub(crate) body: Rc<[u8]>,
}

impl Content {
    pub(crate) fn new(status: u16, kind: Kind, body: impl Into<Vec<u8>>) -> Self {
        let body: Vec<u8> = body.into();
        let body = Rc::from(body);
        Self { status, kind, body }
    }

    /// A line of text.
    pub(crate) fn line(status: u16, text: &str) -> Self {
        Self::new(status, Kind::Text, format!("{text}\n"))
    }

    /// The status and the fields, up to the body.
    pub(crate) fn head(&self, now: Moment) -> Vec<u8> {
        let Self { status, kind, body } = self;
        let allow = match status {
            405 => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let policy = match kind {
            Kind::Html => super::page::POLICY,
            Kind::Text | Kind::Metrics => "default-src 'none'; frame-ancestors 'none'",
        };
        format!(
            "HTTP/1.1 {status} {}\r\n\
             Date: {}\r\n\
             Content-Type: {}\r\n\
             Content-Length: {}\r\n\
             Cache-Control: no-store\r\n\
             Content-Security-Policy: {policy}\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Referrer-Policy: no-referrer\r\n\
             {allow}Connection: close\r\n\r\n",
            reason(*status),
            date(now),
            kind.content_type(),
            body.len(),
        )
        .into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// As the field `Date` wants it (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37
/// GMT`.
fn date(moment: Moment) -> String {
    let Civil {
        year,
        month,
        day,
        weekday,
        hour,
        minute,
        second,
        ..
    } = moment.civil();
    let name = |names: &[&'static str], at: u64| {
        let at = usize::try_from(at).unwrap_or(0);
        names.get(at).copied().unwrap_or_default()
    };
    let (weekday, month) = (name(&DAYS, weekday), name(&MONTHS, month.saturating_sub(1)));
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_follows_and_that_it_is_the_last() {
        let head = Content::line(405, "no").head(Moment(784_111_777_000_000));
        let head = String::from_utf8(head).expect("text");
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert!(head.ends_with("\r\nConnection: close\r\n\r\n"));
        for field in [
            "Date: Sun, 06 Nov 1994 08:49:37 GMT",
            "Content-Length: 3",
            "Allow: GET, HEAD",
        ] {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{head}");
        }
    }
}
