//! As much of HTTP/1.1 as a health probe needs: one GET, and the first line of
//! the answer.

use holdall_protocol::manifest::HttpProbe;

/// The longest first line that is waited for. Servers answer with far less.
const MAX_LINE: usize = 512;

/// What is sent unless the manifest says otherwise.
const HEADERS: [(&str, &str); 2] = [("User-Agent", "holdall-init"), ("Accept", "*/*")];

/// The request of a probe.
pub(crate) fn request(probe: &HttpProbe) -> Vec<u8> {
    let HttpProbe {
        host,
        path,
        headers,
        ..
    } = probe;
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
    let said = |name: &str| headers.keys().any(|said| said.eq_ignore_ascii_case(name));
    let usual = HEADERS.into_iter().filter(|(name, _)| !said(name));
    let own = headers.iter();
    let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in usual.chain(own) {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("Connection: close\r\n\r\n");
    text.into_bytes()
}

/// What has come so far, taken as an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The first line is not whole yet.
    Partial,
    /// A status that is good.
    Healthy,
    /// Another status, or no HTTP at all: one line for people.
    Unhealthy(String),
}

/// Reads the first line of an answer; `good` is the lowest and the highest good
/// status.
pub(crate) fn answer(bytes: &[u8], good: (u16, u16)) -> Answer {
    let Some(end) = bytes.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        if bytes.len() < MAX_LINE {
            return Answer::Partial;
        }
        return Answer::Unhealthy("the answer is not HTTP".to_owned());
    };
    let line = String::from_utf8_lossy(bytes.get(..end).unwrap_or(&[]));
    let line = line.trim_end();
    let mut words = line.splitn(2, ' ');
    let is_http = words
        .next()
        .is_some_and(|version| version.starts_with("HTTP/1."));
    let rest = words.next().unwrap_or("");
    let status = rest.get(..3).and_then(|digits| digits.parse::<u16>().ok());
    match status.filter(|_| is_http) {
        Some(status) if (good.0..=good.1).contains(&status) => Answer::Healthy,
        Some(_) => Answer::Unhealthy(format!("answered {rest}")),
        None => Answer::Unhealthy("the answer is not HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_protocol::manifest::HttpTarget;

    const USUAL: (u16, u16) = (200, 399);

    #[test]
    fn only_the_status_line_decides() {
        let answer = |bytes| answer(bytes, USUAL);
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\nX: y"), Answer::Healthy);
        assert_eq!(answer(b"HTTP/1.0 302\r\n"), Answer::Healthy);
        let unhealthy = |text: &str| Answer::Unhealthy(text.to_owned());
        let error = b"HTTP/1.1 503 Service Unavailable\r\n";
        assert_eq!(answer(error), unhealthy("answered 503 Service Unavailable"));
        assert_eq!(
            answer(b"SSH-2.0-x\r\n"),
            unhealthy("the answer is not HTTP")
        );
        assert_eq!(
            answer(b"HTTP/1.1 2\r\n"),
            unhealthy("the answer is not HTTP")
        );
        assert_eq!(answer(b"HTTP/1.1 20"), Answer::Partial);
        assert_eq!(answer(b""), Answer::Partial);
    }

    #[test]
    fn the_range_says_which_status_is_good() {
        let found = answer(b"HTTP/1.1 302 Found\r\n", (200, 299));
        assert_eq!(found, Answer::Unhealthy("answered 302 Found".to_owned()));
        assert_eq!(answer(b"HTTP/1.1 418 x\r\n", (418, 418)), Answer::Healthy);
    }

    #[test]
    fn headers_are_sent_and_stand_in_for_the_usual_ones() {
        let headers = [("X-Probe", "1"), ("accept", "text/plain")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let probe = HttpProbe {
            to: HttpTarget::Unix("/run/app.sock".to_owned()),
            host: "app".to_owned(),
            path: "/healthz?full".to_owned(),
            headers: headers.into_iter().collect(),
            status: USUAL,
        };
        let sent = String::from_utf8(request(&probe)).expect("text");
        assert_eq!(
            sent,
            "GET /healthz?full HTTP/1.1\r\nHost: app\r\nUser-Agent: holdall-init\r\n\
             X-Probe: 1\r\naccept: text/plain\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn an_answer_without_an_end_is_not_waited_for() {
        assert!(matches!(answer(&[b'x'; 4096], USUAL), Answer::Unhealthy(_)));
    }
}
