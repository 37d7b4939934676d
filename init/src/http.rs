//! As much of HTTP/1.1 as a health probe needs: one GET, and the first line of
//! the answer.

/// The longest first line that is waited for. Servers answer with far less.
const MAX_LINE: usize = 512;

/// The request for `path`.
pub(crate) fn request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: holdall-init\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// What has come so far, taken as an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The first line is not whole yet.
    Partial,
    /// A status from 200 to 399.
    Healthy,
    /// Another status, or no HTTP at all: one line for people.
    Unhealthy(String),
}

/// Reads the first line of an answer.
pub(crate) fn answer(bytes: &[u8]) -> Answer {
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
        Some(200..=399) => Answer::Healthy,
        Some(_) => Answer::Unhealthy(format!("answered {rest}")),
        None => Answer::Unhealthy("the answer is not HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_status_line_decides() {
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
    fn an_answer_without_an_end_is_not_waited_for() {
        assert!(matches!(answer(&[b'x'; 4096]), Answer::Unhealthy(_)));
    }
}
