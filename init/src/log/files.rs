//! The log files of all services: which are open, and how writing them goes.

use std::collections::BTreeMap;

use holdall_protocol::Millis;
use holdall_supervise::Timestamp;

use super::Source;
use super::episode::{Episode, News};
use super::file::{OpenFile, Plan};
use super::form::{self, Form, Head};
use super::lines::Batch;

/// A file that can't be opened is tried again no more often than this: each try
/// walks its path.
const RETRY_AFTER: Millis = Millis(1000);

/// Written at one go, about, where lines have another form than they came in.
const CHUNK: usize = 64 * 1024;

/// One of them. Services that name the same path share it.
struct LogFile {
    plan: Plan,
    /// None where it can't be.
    open: Option<OpenFile>,
    retry_at: Timestamp,
    episode: Episode,
    /// It is known that it can't be begun anew.
    keeps_growing: bool,
    /// What was written last has no end of line: it goes on with more of this.
    mid_line: Option<Option<Source>>,
    /// To be told.
    words: Vec<String>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Files {
    files: BTreeMap<u32, LogFile>,
    next: u32,
    /// Lines on their way.
    scratch: Vec<u8>,
    has_news: bool,
}

impl Files {
    /// The number of a file, which is opened if nobody has it yet.
    pub(crate) fn take(&mut self, now: Timestamp, plan: Plan) -> u32 {
        let same = |file: &LogFile| file.plan.wanted.path == plan.wanted.path;
        let known = self.files.iter_mut().find(|(_, file)| same(file));
        let (number, file) = match known {
            Some((number, file)) => {
                file.plan = plan;
                (*number, file)
            }
            None => {
                self.next += 1;
                let file = LogFile {
                    plan,
                    open: None,
                    retry_at: now,
                    episode: Episode::default(),
                    keeps_growing: false,
                    mid_line: None,
                    words: Vec::new(),
                };
                (self.next, self.files.entry(self.next).or_insert(file))
            }
        };
        file.open(now);
        self.has_news = true;
        number
    }

    /// Closes one that nobody writes to any more.
    pub(crate) fn close(&mut self, number: u32) {
        self.files.remove(&number);
    }

    /// Writes lines; how many of them are lost.
    pub(crate) fn write(
        &mut self,
        number: u32,
        now: Timestamp,
        form: Form,
        head: &Head<'_>,
        source: Source,
        batch: Batch<'_>,
    ) -> u64 {
        let Some(file) = self.files.get_mut(&number) else {
            return 0;
        };
        file.open(now);
        let mut lost = 0;
        if form == Form::Passthrough {
            lost += file.write(source, batch.text);
            if batch.partial && file.mid_line.is_none() {
                file.mid_line = Some(Some(source));
            }
        } else {
            let mut rest = batch.text;
            loop {
                self.scratch.clear();
                let piece = Batch {
                    text: rest,
                    partial: batch.partial,
                };
                let done = form::write(&mut self.scratch, CHUNK, form, head, piece);
                lost += file.write(source, &self.scratch);
                rest = rest.get(done..).unwrap_or(&[]);
                if rest.is_empty() {
                    break;
                }
                if file.episode.fails() {
                    lost += file.episode.fail(rest, String::new);
                    break;
                }
            }
            self.scratch.shrink_to(2 * CHUNK);
        }
        self.has_news |= file.has_news();
        lost
    }

    /// Opens all of them anew, as somebody has renamed them: how many there
    /// are.
    pub(crate) fn reopen(&mut self) -> usize {
        for file in self.files.values_mut() {
            match OpenFile::open(&file.plan) {
                Ok(open) => {
                    file.open = Some(open);
                    (file.keeps_growing, file.mid_line) = (false, None);
                }
                // The old one is better than none.
                Err(error) => file.words.push(error.to_string()),
            }
        }
        self.has_news = true;
        self.files.len()
    }

    /// What is to be said about them.
    pub(crate) fn news(&mut self) -> Vec<String> {
        if !std::mem::take(&mut self.has_news) {
            return Vec::new();
        }
        self.files.values_mut().flat_map(LogFile::news).collect()
    }
}

impl LogFile {
    /// Opens it if it isn't open, and it is time for another try.
    fn open(&mut self, now: Timestamp) {
        if self.open.is_some() || now < self.retry_at {
            return;
        }
        match OpenFile::open(&self.plan) {
            Ok(open) => {
                self.open = Some(open);
                self.mid_line = None;
                self.episode.work();
            }
            Err(error) => {
                self.retry_at = now + RETRY_AFTER;
                self.episode.fail(&[], || error.to_string());
            }
        }
    }

    /// How many lines are lost.
    fn write(&mut self, source: Source, bytes: &[u8]) -> u64 {
        let Some(open) = &mut self.open else {
            return self.episode.fail(bytes, String::new);
        };
        let mut told = None;
        let begins = match self.mid_line {
            Some(of) if of != Some(source) => open.write(&self.plan, b"\n", |_| {}),
            Some(_) | None => Ok(()),
        };
        if let Err((_, error)) = begins {
            return self.episode.fail(bytes, || error.to_string());
        }
        let written = open.write(&self.plan, bytes, |error| told = Some(error.to_string()));
        if let Some(told) = told.filter(|_| !self.keeps_growing) {
            self.keeps_growing = true;
            self.words.push(format!("{told}, and it goes on growing"));
        }
        match written {
            Ok(()) => {
                self.mid_line = None;
                self.episode.work();
                0
            }
            Err((rest, error)) => {
                let sent = bytes.len() - rest.len();
                if sent > 0 {
                    let last = bytes.get(sent - 1);
                    self.mid_line = last.is_some_and(|last| *last != b'\n').then_some(None);
                }
                self.episode.fail(rest, || error.to_string())
            }
        }
    }

    fn has_news(&self) -> bool {
        self.episode.has_news() || !self.words.is_empty()
    }

    fn news(&mut self) -> Vec<String> {
        let path = &self.plan.wanted.path;
        let mut words = std::mem::take(&mut self.words);
        words.extend(self.episode.news().into_iter().map(|news| match news {
            News::Fails(reason) => reason,
            News::Works(0) => format!("{path} is written again"),
            News::Works(1) => format!("{path} is written again; 1 line is not in it"),
            News::Works(lost) => format!("{path} is written again; {lost} lines are not in it"),
        }));
        words
    }
}
