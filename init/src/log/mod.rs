//! The log: lines of the services and init's own words, into a ring and on to
//! a reader.

pub(crate) mod lines;
pub(crate) mod pipes;
pub(crate) mod ring;
pub(crate) mod sink;

use holdall_protocol::ServiceName;
use holdall_protocol::log::{LogRecord, Stream};
use holdall_supervise::{ServiceId, Timestamp};

use ring::{Origin, Ring};
use sink::{Room, Sink};

/// The form of a line on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `name | text`, for people.
    Prefixed,
    /// [`LogRecord`] as JSON, for the runtime.
    Json,
}

/// The log of the whole box.
pub(crate) struct Log {
    names: Vec<ServiceName>,
    width: usize,
    ring: Ring,
    /// None where a foreground command has the terminal: the ring only.
    sink: Option<Sink>,
    form: Form,
    /// Read at the start of each turn of the loop.
    now: Timestamp,
    wall: u64,
}

impl Log {
    pub(crate) fn new(names: Vec<ServiceName>, sink: Option<Sink>, form: Form) -> Self {
        let width = width(&names);
        let (ring, now) = (Ring::default(), Timestamp::default());
        Self {
            names,
            width,
            ring,
            sink,
            form,
            now,
            wall: crate::clock::wall_micros(),
        }
    }

    /// Names the services anew: there are more of them now.
    pub(crate) fn name(&mut self, names: Vec<ServiceName>) {
        self.width = width(&names);
        self.names = names;
    }

    /// The time that the lines of this turn get.
    pub(crate) fn set_time(&mut self, now: Timestamp) {
        self.now = now;
        self.wall = crate::clock::wall_micros();
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(crate) fn sink(&mut self) -> Option<&mut Sink> {
        self.sink.as_mut()
    }

    /// Whether people see it where they would see stderr.
    pub(crate) fn is_on_stderr(&self) -> bool {
        self.sink.is_some() && self.form == Form::Prefixed && !sink::stderr_is_apart()
    }

    /// The services are to wait for the log's reader.
    pub(crate) fn holds_back(&self) -> bool {
        self.sink.as_ref().is_some_and(Sink::holds_back)
    }

    /// Init's words about the whole box.
    pub(crate) fn say(&mut self, text: &str) {
        self.line(Room::Own, None, Stream::Init, false, text.as_bytes());
    }

    /// Init's words about a service.
    pub(crate) fn about(&mut self, service: ServiceId, text: &str) {
        self.line(
            Room::Own,
            Some(service),
            Stream::Init,
            false,
            text.as_bytes(),
        );
    }

    /// A line of a service, or of init.
    pub(crate) fn line(
        &mut self,
        room: Room,
        service: Option<ServiceId>,
        stream: Stream,
        partial: bool,
        text: &[u8],
    ) {
        let origin = Origin {
            time: self.wall,
            service,
            stream,
            partial,
        };
        self.ring.push(origin, text);
        let name = service.and_then(|id| name(&self.names, id));
        let (form, width) = (self.form, self.width);
        if let Some(sink) = &mut self.sink {
            sink.line(self.now, room, |out| match form {
                Form::Prefixed => prefixed(out, width, name, stream, partial, text),
                Form::Json => json(out, &origin, name, text),
            });
        }
    }

    /// Writes what the reader takes, and says what it has missed.
    pub(crate) fn flush(&mut self) {
        let now = self.now;
        let Some(sink) = &mut self.sink else { return };
        sink.flush(now);
        sink.check_stuck(now);
        if let Some(dropped) = sink.take_dropped() {
            self.say_dropped(dropped);
        }
    }

    /// The last words before the exit.
    pub(crate) fn finish(&mut self) {
        let now = self.now;
        let Some(sink) = &mut self.sink else { return };
        sink.finish(now);
        if let Some(dropped) = sink.take_dropped() {
            self.say_dropped(dropped);
            self.flush();
        }
    }

    fn say_dropped(&mut self, dropped: u64) {
        let lines = if dropped == 1 { "line" } else { "lines" };
        self.say(&format!(
            "{dropped} {lines} of the log dropped: nobody took them"
        ));
    }

    /// Line `number` of the ring as it travels.
    pub(crate) fn record(&self, number: u64) -> Option<LogRecord> {
        let (origin, text) = self.ring.get(number)?;
        Some(LogRecord {
            time: origin.time,
            service: origin.service.and_then(|id| name(&self.names, id)).cloned(),
            stream: origin.stream,
            text: String::from_utf8_lossy(&text).into_owned(),
            partial: origin.partial,
        })
    }

    /// The last `count` lines that a service wrote.
    pub(crate) fn last_words(&self, service: ServiceId, count: usize) -> Vec<String> {
        let wanted = |o: &Origin| o.service == Some(service) && o.stream != Stream::Init;
        let start = self.ring.tail(count, wanted);
        let lines =
            (start..self.ring.end()).filter(|n| self.ring.origin(*n).is_some_and(|o| wanted(&o)));
        let text = |n| {
            self.ring
                .get(n)
                .map(|(_, text)| String::from_utf8_lossy(&text).into_owned())
        };
        lines.filter_map(text).collect()
    }
}

/// As wide as the longest name, so that lines stand below each other.
fn width(names: &[ServiceName]) -> usize {
    let longest = names.iter().map(|name| name.as_str().len()).max();
    longest.unwrap_or(0).max(INIT.len())
}

fn name(names: &[ServiceName], service: ServiceId) -> Option<&ServiceName> {
    names.get(usize::try_from(service.0).ok()?)
}

/// The name before init's own words.
const INIT: &str = "init";

/// One line for people: `name | text`, aligned. A piece of a line that goes on
/// ends in ` …`.
pub(crate) fn prefixed(
    out: &mut Vec<u8>,
    width: usize,
    service: Option<&ServiceName>,
    stream: Stream,
    partial: bool,
    text: &[u8],
) {
    let (name, about) = match (stream, service) {
        (Stream::Init, about) => (INIT, about),
        (Stream::Stdout | Stream::Stderr, service) => (service.map_or("-", |s| s.as_str()), None),
    };
    out.extend_from_slice(name.as_bytes());
    out.resize(out.len() + width.saturating_sub(name.len()), b' ');
    out.extend_from_slice(b" | ");
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

/// One line for programs: a [`LogRecord`], without building one.
fn json(out: &mut Vec<u8>, origin: &Origin, service: Option<&ServiceName>, text: &[u8]) {
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
    use super::*;

    fn text(service: Option<&str>, stream: Stream, partial: bool, text: &str) -> String {
        let service = service.map(|s| s.parse().expect("a name"));
        let mut out = Vec::new();
        prefixed(
            &mut out,
            5,
            service.as_ref(),
            stream,
            partial,
            text.as_bytes(),
        );
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
