//! One record of a box's log as text.

use holdall_protocol::log::{LogRecord, Stream};

use crate::output::{self, Format};

/// Prints records with their service in front, aligned to the longest name
/// seen so far.
#[derive(Debug)]
pub(crate) struct Printer {
    timestamps: bool,
    format: Format,
    width: usize,
}

impl Printer {
    pub(crate) fn new(timestamps: bool, format: Format) -> Self {
        Self {
            timestamps,
            format,
            width: "init".len(),
        }
    }

    /// `app  | listening on :8000`; `app  | init: ready after 120ms` for
    /// init's words about a service; bare text for the foreground command.
    pub(crate) fn line(&mut self, record: &LogRecord) -> String {
        if self.format == Format::Json {
            // A record is plain data: it always has a JSON form.
            let mut line = serde_json::to_string(record).unwrap_or_default();
            line.push('\n');
            return line;
        }
        let time = if self.timestamps {
            output::time(record.time) + " "
        } else {
            String::new()
        };
        let (who, about) = match (&record.service, record.stream) {
            (Some(service), Stream::Init) => (service.as_str(), "init: "),
            (Some(service), Stream::Stdout | Stream::Stderr) => (service.as_str(), ""),
            (None, Stream::Init) => ("init", ""),
            (None, Stream::Stdout | Stream::Stderr) => return format!("{time}{}\n", record.text),
        };
        self.width = self.width.max(who.len());
        format!(
            "{time}{who:width$} | {about}{}\n",
            record.text,
            width = self.width
        )
    }
}
