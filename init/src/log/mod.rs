//! The log: lines of the services and init's own words, into a ring, into files
//! and on to a reader.

mod episode;
mod file;
mod files;
pub(crate) mod form;
pub(crate) mod lines;
pub(crate) mod pipes;
pub(crate) mod prefix;
pub(crate) mod ring;
mod route;
pub(crate) mod sink;
#[cfg(test)]
mod tests;

use holdall_protocol::control::ServiceStatus;
use holdall_protocol::log::{LogRecord, Stream};
use holdall_protocol::manifest::{BoxLog, Logging};
use holdall_protocol::{Moment, ServiceName};
use holdall_supervise::{ServiceId, Timestamp};

use crate::notices::Watches;
use episode::News;
use file::Plan;
use files::Files;
use form::{Form, Head};
use lines::Batch;
use pipes::Gate;
use prefix::Prefixes;
use ring::{Line, Origin, Ring};
use route::Routes;
use sink::{Room, Sink};

/// Where lines come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    /// Whose they are; init's own words may be about one.
    pub(crate) service: Option<ServiceId>,
    pub(crate) stream: Stream,
}

/// Where the log goes, and who is at the other end.
pub(crate) enum Outlet {
    /// Descriptor 1, for whoever started init.
    Stdout(Sink),
    /// The runtime, which wants records.
    Runtime(Sink),
    /// Nowhere: a foreground command has the terminal.
    Nowhere,
}

/// The log of the whole box.
pub(crate) struct Log {
    names: Vec<ServiceName>,
    prefixes: Prefixes,
    ring: Ring,
    sink: Option<Sink>,
    /// Lines that make services ready.
    pub(crate) watches: Watches,
    for_runtime: bool,
    routes: Routes,
    files: Files,
    /// A piece of a line of this source is the last that the reader has got.
    mid_line: Option<Source>,
    /// Read at the start of each turn of the loop.
    now: Timestamp,
    wall: u64,
    /// The wall clock in words, made when it is wanted.
    stamp: Option<String>,
}

impl Log {
    pub(crate) fn new(names: Vec<ServiceName>, outlet: Outlet, settings: BoxLog) -> Self {
        let (sink, for_runtime) = match outlet {
            Outlet::Stdout(sink) => (Some(sink), false),
            Outlet::Runtime(sink) => (Some(sink), true),
            Outlet::Nowhere => (None, false),
        };
        Self {
            prefixes: Prefixes::of(&names),
            ring: Ring::new(names.len()),
            sink,
            watches: Watches::default(),
            for_runtime,
            routes: Routes::new(settings),
            files: Files::default(),
            mid_line: None,
            now: Timestamp::default(),
            wall: crate::clock::wall_micros(),
            stamp: None,
            names,
        }
    }

    /// Names the services anew, as there are more of them now; `settings` hold
    /// for those that start from now on.
    pub(crate) fn name(&mut self, names: Vec<ServiceName>, settings: BoxLog) {
        self.prefixes = Prefixes::of(&names);
        self.ring.serve(names.len());
        self.routes.settings = settings;
        self.names = names;
    }

    /// The time that the lines of this turn get.
    pub(crate) fn set_time(&mut self, now: Timestamp) {
        self.now = now;
        self.wall = crate::clock::wall_micros();
        self.stamp = None;
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(crate) fn sink(&mut self) -> Option<&mut Sink> {
        self.sink.as_mut()
    }

    /// Whether people see it where they would see stderr.
    pub(crate) fn is_on_stderr(&self) -> bool {
        let for_people = matches!(self.routes.form_of_init(), Form::Prefixed { .. });
        self.sink.is_some() && !self.for_runtime && for_people && !sink::stderr_is_apart()
    }

    /// A service starts, and its lines go where it wants them; where its pipes
    /// wait when nobody takes them. Its files are readable by `group`.
    pub(crate) fn begin(&mut self, id: ServiceId, wanted: &Logging, group: Option<u32>) -> Gate {
        let file = wanted.file.clone().map(|wanted| {
            let plan = Plan { wanted, group };
            self.files.take(self.now, plan)
        });
        let before = self.routes.file(id);
        let gate = self.routes.begin(id, wanted, file);
        if let Some(before) = before.filter(|before| !self.routes.uses(*before)) {
            self.files.close(before);
        }
        gate
    }

    /// Where the pipes of a service wait.
    pub(crate) fn gate(&self, id: ServiceId) -> Gate {
        self.routes.gate(id)
    }

    /// Opens the log files anew; how many there are.
    pub(crate) fn reopen_files(&mut self) -> usize {
        self.files.reopen()
    }

    /// Whether the pipes behind a gate are to be left alone.
    pub(crate) fn is_closed(&self, gate: Gate) -> bool {
        let Some(sink) = &self.sink else { return false };
        match gate {
            Gate::Open => false,
            Gate::Drop => sink.holds_back(),
            Gate::Block => sink.is_full(),
        }
    }

    /// Init's words about the whole box.
    pub(crate) fn say(&mut self, text: &str) {
        self.own_words(None, text);
    }

    /// Init's words about a service.
    pub(crate) fn about(&mut self, service: ServiceId, text: &str) {
        self.own_words(Some(service), text);
    }

    fn own_words(&mut self, service: Option<ServiceId>, text: &str) {
        let stream = Stream::Init;
        let line = format!("{}\n", text.trim_end_matches('\n'));
        self.lines(Source { service, stream }, Batch::whole(line.as_bytes()));
    }

    /// **Every line passes here**, once: those of the services, just read from
    /// their pipes, and init's own. What is to be done about lines beside
    /// keeping and passing them on belongs here.
    pub(crate) fn lines(&mut self, source: Source, batch: Batch<'_>) {
        let Source { service, stream } = source;
        let origin = Origin {
            time: self.wall,
            service,
            stream,
            partial: batch.partial,
        };
        self.watches.lines(service, stream, batch.text);
        let before = self.ring.end();
        self.ring.push(origin, batch);
        // The ring has counted them: nobody looks at the lines again for it.
        let counted = self.ring.end() - before;
        self.routes.wrote(source, counted, batch);
        let route = self.routes.of(source);
        let stamp = match route.wants_stamp() {
            true => self
                .stamp
                .get_or_insert_with(|| Moment(self.wall).to_string()),
            false => "",
        };
        let head = Head {
            time: self.wall,
            stamp,
            prefix: self.prefixes.before(service, stream),
            service: service.and_then(|id| self.names.get(id.index())),
            stream,
        };
        if let Some((file, form)) = route.file {
            let files = &mut self.files;
            let lost = files.write(file, self.now, form, &head, source, batch);
            self.routes.lose_in_file(source, lost);
        }
        if let Some(sink) = self.sink.as_mut().filter(|_| route.to_stream) {
            let form = match self.for_runtime {
                true => Form::Record,
                false => route.form,
            };
            let room = match stream {
                Stream::Init => Room::Own,
                Stream::Stdout | Stream::Stderr => Room::Ordinary,
            };
            let ends = self.mid_line.is_some_and(|other| other != source);
            self.mid_line = (form == Form::Passthrough && batch.partial).then_some(source);
            let (mut rest, mut begins) = (batch.text, ends);
            let taken = sink.take(self.now, room, |out, pause| {
                if std::mem::take(&mut begins) {
                    out.push(b'\n');
                }
                let partial = batch.partial;
                let done = form::write(
                    out,
                    pause,
                    form,
                    &head,
                    Batch {
                        text: rest,
                        partial,
                    },
                );
                rest = rest.get(done..).unwrap_or(&[]);
                rest.is_empty()
            });
            let lost = if !taken {
                let partial = batch.partial;
                Batch {
                    text: rest,
                    partial,
                }
                .count()
            } else if sink.episode.fails() {
                // Whether it still does is seen at once, and whose lines are
                // lost if so.
                sink.flush(self.now);
                sink.take_lost()
            } else {
                0
            };
            self.routes.lose(source, lost);
        }
    }

    /// Memory has run short: lets go of what can be done without, and says so.
    pub(crate) fn relieve(&mut self) {
        if self.ring.halve() {
            self.say("out of memory: keeps half as many lines of the log from now on");
        }
    }

    /// Writes what the reader takes, and says what it has missed.
    pub(crate) fn flush(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.flush(self.now);
            sink.check_stuck(self.now);
        }
        self.tell();
    }

    /// The last words before the exit.
    pub(crate) fn finish(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.finish(self.now);
        }
        if self.tell()
            && let Some(sink) = &mut self.sink
        {
            sink.finish(self.now);
        }
    }

    /// Says what could not be written, once there is room; whether there was
    /// anything to say.
    fn tell(&mut self) -> bool {
        let mut words = self.files.news();
        if let Some(sink) = &mut self.sink {
            self.routes.lose_more(sink.take_lost());
            let mut why = "as nobody took them";
            for news in sink.episode.news() {
                match news {
                    News::Fails(reason) => {
                        let text = format!("cannot write the log: {reason}");
                        sink::write_stderr(&format!("holdall-init: {text}"));
                        words.push(text);
                    }
                    News::Works(_) => why = "as it could not be written",
                }
            }
            if sink.has_room() {
                words.extend(self.routes.dropped(&self.names, why));
            }
        }
        for text in &words {
            self.say(text);
        }
        !words.is_empty()
    }

    /// Puts what only the log knows of a service into its status.
    pub(crate) fn complete(&self, id: ServiceId, status: &mut ServiceStatus) {
        status.log_dropped = self.routes.dropped_of(id);
        let [stdout, stderr] = self.routes.written(id);
        let counts = &mut status.counts;
        (counts.stdout_lines, counts.stdout_bytes) = (stdout.lines, stdout.bytes);
        (counts.stderr_lines, counts.stderr_bytes) = (stderr.lines, stderr.bytes);
    }

    /// A line of the ring as it travels.
    pub(crate) fn record(&self, line: &Line<'_>) -> LogRecord {
        let Origin {
            time,
            service,
            stream,
            partial,
        } = line.origin;
        LogRecord {
            time,
            service: service.and_then(|id| self.names.get(id.index())).cloned(),
            stream,
            text: String::from_utf8_lossy(line.text).into_owned(),
            partial,
        }
    }

    /// The last `count` lines that a service wrote.
    pub(crate) fn last_words(&self, service: ServiceId, count: usize) -> Vec<String> {
        let wanted = |o: &Origin| o.service == Some(service) && o.stream != Stream::Init;
        let lines = self.ring.lines(self.ring.tail(count, wanted), wanted);
        let text = |line: Line<'_>| String::from_utf8_lossy(line.text).into_owned();
        lines.map(text).collect()
    }
}
