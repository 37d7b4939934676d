//! The form of a line on its way out.

use holdall_protocol::ServiceName;
use holdall_protocol::log::Stream;
use holdall_supervise::ServiceId;

use super::ring::Origin;

/// The form of every line of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `name | text`, for people.
    Prefixed,
    /// [`LogRecord`](holdall_protocol::log::LogRecord) as JSON, for the
    /// runtime.
    Json,
}

/// The name before init's own words.
const INIT: &str = "init";

/// What stands before each line for people: `name | `, aligned. Made once, as
/// services write millions of lines.
#[derive(Debug)]
pub(crate) struct Prefixes {
    init: Vec<u8>,
    /// One for each service.
    services: Vec<Vec<u8>>,
}

impl Prefixes {
    pub(crate) fn of(names: &[ServiceName]) -> Self {
        let width = width(names);
        let services = names.iter().map(|name| prefix(width, name.as_str()));
        Self {
            init: prefix(width, INIT),
            services: services.collect(),
        }
    }

    /// What stands before a line of this service, or of init.
    pub(crate) fn before(&self, service: Option<ServiceId>, stream: Stream) -> &[u8] {
        let number = match stream {
            Stream::Init => None,
            Stream::Stdout | Stream::Stderr => service,
        };
        let number = number.and_then(|id| usize::try_from(id.0).ok());
        let own = number.and_then(|number| self.services.get(number));
        own.unwrap_or(&self.init)
    }
}

/// The width of the names before the lines of these services.
pub(crate) fn width(names: &[ServiceName]) -> usize {
    let lengths = names.iter().map(|name| name.as_str().len());
    lengths.fold(INIT.len(), usize::max)
}

/// `name | `, aligned.
fn prefix(width: usize, name: &str) -> Vec<u8> {
    format!("{name:width$} | ").into_bytes()
}

/// What stands before one line that came from elsewhere.
pub(crate) fn prefix_of(width: usize, service: Option<&ServiceName>, stream: Stream) -> Vec<u8> {
    match stream {
        Stream::Init => prefix(width, INIT),
        Stream::Stdout | Stream::Stderr => prefix(width, service.map_or("-", |s| s.as_str())),
    }
}

/// The service that init's own words are about, which is said in the text.
pub(crate) fn about(service: Option<&ServiceName>, stream: Stream) -> Option<&ServiceName> {
    service.filter(|_| stream == Stream::Init)
}

/// One line for people. A piece of a line that goes on ends in ` …`.
pub(crate) fn prefixed(
    out: &mut Vec<u8>,
    prefix: &[u8],
    about: Option<&ServiceName>,
    partial: bool,
    text: &[u8],
) {
    out.reserve(prefix.len() + text.len() + 1);
    out.extend_from_slice(prefix);
    if let Some(about) = about {
        out.extend_from_slice(about.as_str().as_bytes());
        out.extend_from_slice(b": ");
    }
    out.extend_from_slice(text);
    if partial {
        out.extend_from_slice(" …".as_bytes());
    }
    out.push(b'\n');
}

/// One line for programs: a [`LogRecord`](holdall_protocol::log::LogRecord), without building one.
pub(crate) fn json(out: &mut Vec<u8>, origin: &Origin, service: Option<&ServiceName>, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(format!("{{\"time\":{}", origin.time).as_bytes());
    if let Some(service) = service {
        // A service's name needs no escapes.
        out.extend_from_slice(format!(",\"service\":\"{service}\"").as_bytes());
    }
    let stream = match origin.stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Init => "init",
    };
    out.extend_from_slice(format!(",\"stream\":\"{stream}\",\"text\":").as_bytes());
    if serde_json::to_writer(&mut *out, &String::from_utf8_lossy(text)).is_err() {
        // A Vec takes everything; without that, no half line.
        out.truncate(start);
        return;
    }
    if origin.partial {
        out.extend_from_slice(b",\"partial\":true");
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use holdall_protocol::log::LogRecord;

    use super::*;

    fn text(service: Option<&str>, stream: Stream, partial: bool, text: &str) -> String {
        let service = service.map(|s| s.parse().expect("a name"));
        let mut out = Vec::new();
        let prefix = prefix_of(5, service.as_ref(), stream);
        let about = about(service.as_ref(), stream);
        prefixed(&mut out, &prefix, about, partial, text.as_bytes());
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn prefixes_are_aligned_and_say_whose_words_it_is() {
        assert_eq!(
            text(Some("web"), Stream::Stdout, false, "hi"),
            "web   | hi\n"
        );
        assert_eq!(
            text(Some("redis"), Stream::Stderr, false, "hi"),
            "redis | hi\n"
        );
        assert_eq!(
            text(None, Stream::Init, false, "stopping"),
            "init  | stopping\n"
        );
        assert_eq!(
            text(Some("web"), Stream::Init, false, "ready"),
            "init  | web: ready\n"
        );
        assert_eq!(
            text(Some("web"), Stream::Stdout, true, "lo"),
            "web   | lo …\n"
        );
    }

    #[test]
    fn prefixes_made_before_are_those_of_a_single_line() {
        let names = ["web", "redis"].map(|name| name.parse().expect("a name"));
        let made = Prefixes::of(&names);
        for (number, name) in (0..).zip(&names) {
            for stream in [Stream::Stdout, Stream::Stderr, Stream::Init] {
                let single = prefix_of(width(&names), Some(name), stream);
                assert_eq!(made.before(Some(ServiceId(number)), stream), single);
            }
        }
        let single = prefix_of(width(&names), None, Stream::Init);
        assert_eq!(made.before(None, Stream::Init), single);
    }

    #[test]
    fn a_line_of_json_reads_back_as_the_record_it_is() {
        let web: ServiceName = "web".parse().expect("a name");
        for (service, stream, partial, text) in [
            (
                Some(&web),
                Stream::Stdout,
                true,
                "a \"quoted\" \u{1b}[1m line\t",
            ),
            (None, Stream::Init, false, ""),
        ] {
            let origin = Origin {
                time: 7,
                service: None,
                stream,
                partial,
            };
            let mut out = Vec::new();
            json(&mut out, &origin, service, text.as_bytes());
            let record = LogRecord {
                time: 7,
                service: service.cloned(),
                stream,
                text: text.to_owned(),
                partial,
            };
            assert_eq!(serde_json::from_slice::<LogRecord>(&out).ok(), Some(record));
        }
    }
}
