//! The log: lines of the services and init's own words, into a ring and on to
//! a reader.

pub(crate) mod form;
pub(crate) mod lines;
pub(crate) mod pipes;
pub(crate) mod ring;
pub(crate) mod sink;

use holdall_protocol::ServiceName;
use holdall_protocol::log::{LogRecord, Stream};
use holdall_supervise::{ServiceId, Timestamp};

use form::{Form, Prefixes, about, json, prefixed};
use ring::{Origin, Ring};
use sink::{Room, Sink};

/// The log of the whole box.
pub(crate) struct Log {
    names: Vec<ServiceName>,
    prefixes: Prefixes,
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
        let prefixes = Prefixes::of(&names);
        let (ring, now) = (Ring::default(), Timestamp::default());
        Self {
            names,
            prefixes,
            ring,
            sink,
            form,
            now,
            wall: crate::clock::wall_micros(),
        }
    }

    /// Names the services anew: there are more of them now.
    pub(crate) fn name(&mut self, names: Vec<ServiceName>) {
        self.prefixes = Prefixes::of(&names);
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
        let Some(sink) = &mut self.sink else { return };
        let name = service.and_then(|id| name(&self.names, id));
        let prefix = self.prefixes.before(service, stream);
        let form = self.form;
        sink.line(self.now, room, |out| match form {
            Form::Prefixed => prefixed(out, prefix, about(name, stream), partial, text),
            Form::Json => json(out, &origin, name, text),
        });
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

fn name(names: &[ServiceName], service: ServiceId) -> Option<&ServiceName> {
    names.get(usize::try_from(service.0).ok()?)
}
