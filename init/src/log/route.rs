//! Which lines go where, in which form, and what did not arrive.

use holdall_protocol::ServiceName;
use holdall_protocol::log::Stream;
use holdall_protocol::manifest::{BoxLog, Logging, WhenFull};
use holdall_supervise::ServiceId;

use super::Source;
use super::form::Form;
use super::lines::Batch;
use super::pipes::Gate;

/// Services that are named when lines were dropped; of the others there is a
/// sum.
const NAMED: usize = 8;

/// The way of some lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// With the lines of the box.
    pub(crate) to_stream: bool,
    /// As they go there.
    pub(crate) form: Form,
    /// The number of a file, and the form of the lines in it.
    pub(crate) file: Option<(u32, Form)>,
    gate: Gate,
}

impl Route {
    /// Whether a form has the time in it.
    pub(crate) fn wants_stamp(&self) -> bool {
        let in_file = self.file.map(|(_, form)| form);
        let forms = [Some(self.form), in_file];
        forms
            .into_iter()
            .flatten()
            .any(|form| matches!(form, Form::Json | Form::Prefixed { stamped: true }))
    }
}

/// How much came on one stream, ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

/// What is known of a service's lines.
#[derive(Debug, Clone, Copy, Default)]
struct Service {
    /// None before it starts: as the box has it.
    route: Option<Route>,
    /// Lines that did not arrive, ever.
    dropped: u64,
    /// Those that nobody has been told of.
    untold: u64,
    /// On its stdout, and on its stderr.
    written: [Written; 2],
}

/// The ways of all lines.
#[derive(Debug)]
pub(crate) struct Routes {
    /// Of `[init]`.
    pub(crate) settings: BoxLog,
    services: Vec<Service>,
    /// Lines that did not arrive and were told of nowhere: all of them, and
    /// whose they are is not known of the rest.
    untold: u64,
}

impl Routes {
    pub(crate) fn new(settings: BoxLog) -> Self {
        Self {
            settings,
            services: Vec::new(),
            untold: 0,
        }
    }

    /// A service starts; where its pipes wait.
    pub(crate) fn begin(&mut self, id: ServiceId, wanted: &Logging, file: Option<u32>) -> Gate {
        let stamped = self.settings.timestamps;
        let form = Form::of(wanted.format.unwrap_or(self.settings.format), stamped);
        // What is in a file of its own needs no name before it, unless that is
        // asked for.
        let in_file = wanted.format.map_or(Form::Passthrough, |_| form);
        let to_stream = file.is_none() || wanted.tee;
        let gate = match wanted.when_full {
            _ if !to_stream => Gate::Open,
            WhenFull::Drop => Gate::Drop,
            WhenFull::Block => Gate::Block,
        };
        let route = Route {
            to_stream,
            form,
            file: file.map(|file| (file, in_file)),
            gate,
        };
        if let Some(service) = self.service(id) {
            service.route = Some(route);
        }
        gate
    }

    /// Where the pipes of a service wait.
    pub(crate) fn gate(&self, id: ServiceId) -> Gate {
        let route = self.services.get(id.index());
        let route = route.and_then(|service| service.route);
        route.map_or(Gate::Drop, |route| route.gate)
    }

    /// The place of a service, which is made where there is none.
    fn service(&mut self, id: ServiceId) -> Option<&mut Service> {
        let index = id.index();
        if index >= self.services.len() {
            self.services
                .resize_with(index.checked_add(1)?, Service::default);
        }
        self.services.get_mut(index)
    }

    /// The form of init's own words.
    pub(crate) fn form_of_init(&self) -> Form {
        Form::of(self.settings.format, self.settings.timestamps).of_init()
    }

    /// The way of these lines.
    pub(crate) fn of(&self, source: Source) -> Route {
        let known = match source.stream {
            Stream::Init => None,
            Stream::Stdout | Stream::Stderr => source.service,
        };
        let known = known.and_then(|id| self.services.get(id.index())?.route);
        known.unwrap_or_else(|| Route {
            to_stream: true,
            form: self.form_of_init(),
            file: None,
            gate: Gate::Drop,
        })
    }

    /// The file that a service writes to.
    pub(crate) fn file(&self, id: ServiceId) -> Option<u32> {
        let (file, _) = self.services.get(id.index())?.route?.file?;
        Some(file)
    }

    /// Whether anybody writes to a file.
    pub(crate) fn uses(&self, number: u32) -> bool {
        let mut routes = self.services.iter().filter_map(|service| service.route);
        routes.any(|route| route.file.is_some_and(|(file, _)| file == number))
    }

    /// A service wrote so much. A piece of a line that goes on was counted as
    /// one, and is none.
    pub(crate) fn wrote(&mut self, source: Source, counted: u64, batch: Batch<'_>) {
        let Some(service) = source.service.and_then(|id| self.service(id)) else {
            return;
        };
        let [stdout, stderr] = &mut service.written;
        let written = match source.stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
            Stream::Init => return,
        };
        written.lines += counted.saturating_sub(u64::from(batch.partial));
        written.bytes += u64::try_from(batch.text.len()).unwrap_or(0);
    }

    /// How much a service wrote to its stdout, and to its stderr.
    pub(crate) fn written(&self, id: ServiceId) -> [Written; 2] {
        let service = self.services.get(id.index());
        service.map_or_else(Default::default, |service| service.written)
    }

    /// Lines did not arrive in a file, which tells of it.
    pub(crate) fn lose_in_file(&mut self, source: Source, lines: u64) {
        if let Some(service) = source.service.and_then(|id| self.service(id)) {
            service.dropped += lines;
        }
    }

    /// Lines did not arrive with those of the box.
    pub(crate) fn lose(&mut self, source: Source, lines: u64) {
        self.untold += lines;
        if source.stream == Stream::Init {
            return;
        }
        if let Some(service) = source.service.and_then(|id| self.service(id)) {
            service.dropped += lines;
            service.untold += lines;
        }
    }

    /// Lines did not arrive, and whose they were is not known.
    pub(crate) fn lose_more(&mut self, lines: u64) {
        self.untold += lines;
    }

    /// How many lines of a service did not arrive.
    pub(crate) fn dropped_of(&self, id: ServiceId) -> u64 {
        let service = self.services.get(id.index());
        service.map_or(0, |service| service.dropped)
    }

    /// What is to be said about lines that did not arrive, if there are any
    /// that nobody has been told of.
    pub(crate) fn dropped(&mut self, names: &[ServiceName], why: &str) -> Option<String> {
        let total = std::mem::take(&mut self.untold);
        if total == 0 {
            return None;
        }
        let counts = self.services.iter_mut().zip(names);
        let counts = counts.map(|(service, name)| (std::mem::take(&mut service.untold), name));
        let mut counts: Vec<_> = counts.filter(|(count, _)| *count > 0).collect();
        counts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let named = counts.iter().take(NAMED);
        let mut parts: Vec<String> = named
            .map(|(count, name)| format!("{name} {count}"))
            .collect();
        let others: u64 = counts.iter().skip(NAMED).map(|(count, _)| count).sum();
        if others > 0 {
            parts.push(format!("other services {others}"));
        }
        let lines = if total == 1 { "line" } else { "lines" };
        let whose = match parts.as_slice() {
            [] => String::new(),
            parts => format!(": {}", parts.join(", ")),
        };
        Some(format!("{total} {lines} of the log dropped, {why}{whose}"))
    }
}

#[cfg(test)]
mod tests {
    use holdall_protocol::manifest::{LogFile, LogFormat};

    use super::*;

    fn source(id: u32, stream: Stream) -> Source {
        Source {
            service: Some(ServiceId(id)),
            stream,
        }
    }

    fn in_a_file(tee: bool) -> Logging {
        Logging {
            file: Some(LogFile::at("/log".to_owned())),
            tee,
            ..Logging::default()
        }
    }

    #[test]
    fn lines_go_to_the_stream_or_to_a_file_or_to_both() {
        let mut routes = Routes::new(BoxLog::default());
        let prefixed = Form::Prefixed { stamped: false };
        let out = source(0, Stream::Stdout);
        assert_eq!(
            routes.begin(ServiceId(0), &Logging::default(), None),
            Gate::Drop
        );
        let route = routes.of(out);
        assert!(route.to_stream && route.file.is_none() && route.form == prefixed);

        assert_eq!(
            routes.begin(ServiceId(0), &in_a_file(false), Some(7)),
            Gate::Open
        );
        let route = routes.of(out);
        assert_eq!(
            (route.to_stream, route.file),
            (false, Some((7, Form::Passthrough)))
        );
        // What init says about it does not go there.
        let route = routes.of(source(0, Stream::Init));
        assert!(route.to_stream && route.file.is_none());

        assert_eq!(
            routes.begin(ServiceId(0), &in_a_file(true), Some(7)),
            Gate::Drop
        );
        let route = routes.of(out);
        assert_eq!((route.to_stream, route.form), (true, prefixed));
        assert_eq!(route.file, Some((7, Form::Passthrough)));
        assert!(routes.uses(7) && !routes.uses(8));

        let wanted = Logging {
            format: Some(LogFormat::Json),
            when_full: WhenFull::Block,
            ..in_a_file(true)
        };
        assert_eq!(routes.begin(ServiceId(0), &wanted, Some(8)), Gate::Block);
        let route = routes.of(out);
        assert_eq!(
            (route.form, route.file),
            (Form::Json, Some((8, Form::Json)))
        );
    }

    #[test]
    fn the_box_says_the_form_of_those_that_say_none() {
        let mut routes = Routes::new(BoxLog {
            format: LogFormat::Passthrough,
            timestamps: true,
        });
        routes.begin(ServiceId(1), &Logging::default(), None);
        assert_eq!(routes.of(source(1, Stream::Stderr)).form, Form::Passthrough);
        assert!(matches!(routes.form_of_init(), Form::Prefixed { .. }));
    }

    #[test]
    fn who_lost_lines_is_named_most_first_and_not_endlessly() {
        let names: Vec<ServiceName> = (0..12)
            .map(|number| format!("s{number}").parse().expect("a name"))
            .collect();
        let mut routes = Routes::new(BoxLog::default());
        assert_eq!(routes.dropped(&names, "why"), None);
        routes.lose_more(1);
        let one = "1 line of the log dropped, why";
        assert_eq!(routes.dropped(&names, "why").as_deref(), Some(one));
        for id in 0..12 {
            routes.lose(source(id, Stream::Stdout), u64::from(id) + 1);
        }
        assert_eq!(
            routes.dropped(&names, "why").as_deref(),
            Some(
                "78 lines of the log dropped, why: s11 12, s10 11, s9 10, s8 9, \
                 s7 8, s6 7, s5 6, s4 5, other services 10"
            )
        );
        assert_eq!(routes.dropped(&names, "why"), None);
        let dropped = (0..12).map(|id| routes.dropped_of(ServiceId(id)));
        assert!(dropped.eq(1..=12));
    }

    #[test]
    fn what_is_written_is_counted_by_stream_and_pieces_are_no_lines() {
        let mut routes = Routes::new(BoxLog::default());
        let two = Batch::whole(b"a\nbc\n");
        routes.wrote(source(1, Stream::Stdout), 2, two);
        routes.wrote(source(1, Stream::Stderr), 2, two);
        let piece = Batch {
            text: b"xyz",
            partial: true,
        };
        routes.wrote(source(1, Stream::Stderr), 1, piece);
        // What init says about it is not of it.
        routes.wrote(source(1, Stream::Init), 2, two);
        let [stdout, stderr] = routes.written(ServiceId(1));
        assert_eq!((stdout.lines, stdout.bytes), (2, 5));
        assert_eq!((stderr.lines, stderr.bytes), (2, 8));
        assert_eq!(routes.written(ServiceId(0)), [Written::default(); 2]);
        assert_eq!(routes.written(ServiceId(7)), [Written::default(); 2]);
    }

    #[test]
    fn what_a_file_lacks_is_counted_and_not_told_twice() {
        let mut routes = Routes::new(BoxLog::default());
        routes.begin(ServiceId(0), &in_a_file(false), Some(1));
        routes.lose_in_file(source(0, Stream::Stdout), 5);
        assert_eq!(routes.dropped_of(ServiceId(0)), 5);
        let names = ["a".parse().expect("a name")];
        assert_eq!(routes.dropped(&names, "why"), None);
    }
}
