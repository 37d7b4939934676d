//! What stands before each line for people: `name | `, aligned.

use holdall_protocol::ServiceName;
use holdall_protocol::log::Stream;
use holdall_supervise::ServiceId;

/// The name before init's own words.
const INIT: &str = "init";

/// Made once, as services write millions of lines.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// Init's, then one for each service.
    all: Vec<u8>,
    /// Of each.
    length: usize,
}

impl Prefixes {
    pub(crate) fn of(names: &[ServiceName]) -> Self {
        let width = width(names);
        let mut all = prefix(width, INIT);
        let length = all.len();
        all.reserve_exact(length * names.len());
        for name in names {
            // A name is ASCII, and no longer than the width.
            all.extend(prefix(width, name.as_str()));
        }
        Self { all, length }
    }

    /// What stands before a line of this service, or of init.
    pub(crate) fn before(&self, service: Option<ServiceId>, stream: Stream) -> &[u8] {
        let service = match stream {
            Stream::Init => None,
            Stream::Stdout | Stream::Stderr => service,
        };
        let at = |index: usize| {
            let start = self.length.checked_mul(index)?;
            self.all.get(start..start.checked_add(self.length)?)
        };
        let own = service.and_then(|id| at(id.index().checked_add(1)?));
        own.or_else(|| at(0)).unwrap_or(&[])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_aligned() {
        let name = |name: &str| -> ServiceName { name.parse().expect("a name") };
        let of = |service: Option<&str>, stream| {
            let service = service.map(name);
            String::from_utf8(prefix_of(5, service.as_ref(), stream)).expect("text")
        };
        assert_eq!(of(Some("web"), Stream::Stdout), "web   | ");
        assert_eq!(of(Some("redis"), Stream::Stderr), "redis | ");
        assert_eq!(of(Some("web"), Stream::Init), "init  | ");
        assert_eq!(of(None, Stream::Stdout), "-     | ");
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
}
