//! The form of lines on their way out.

use std::io::Write as _;

use holdall_protocol::ServiceName;
use holdall_protocol::log::Stream;
use holdall_protocol::manifest::LogFormat;

use super::lines::Batch;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `name | text`, for people; the time before it where it is `stamped`.
    Prefixed { stamped: bool },
    /// One JSON document a line, for whatever gathers logs.
    Json,
    /// [`LogRecord`](holdall_protocol::log::LogRecord)s, for the runtime.
    Record,
    /// As they came.
    Passthrough,
}

impl Form {
    /// As the file of services names it.
    pub(crate) fn of(format: LogFormat, stamped: bool) -> Self {
        match format {
            LogFormat::Prefix => Self::Prefixed { stamped },
            LogFormat::Json => Self::Json,
            LogFormat::Passthrough => Self::Passthrough,
        }
    }

    /// Init's own words: a form that has no place for whose words it is would
    /// mix them up with the services'.
    pub(crate) fn of_init(self) -> Self {
        match self {
            Self::Passthrough => Self::Prefixed { stamped: false },
            own => own,
        }
    }
}

/// What is said of lines beside their text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'h> {
    /// Microseconds since 1970.
    pub(crate) time: u64,
    /// The same, as RFC 3339 has it.
    pub(crate) stamp: &'h str,
    /// `name | `.
    pub(crate) prefix: &'h [u8],
    /// Whose they are, or, of init's words, whom they are about.
    pub(crate) service: Option<&'h ServiceName>,
    pub(crate) stream: Stream,
}

/// Writes lines of a batch behind what `out` has, until that has `limit` bytes
/// or nothing is left: how many bytes of the batch are done. It is at least a
/// line.
pub(crate) fn write(
    out: &mut Vec<u8>,
    limit: usize,
    form: Form,
    head: &Head<'_>,
    batch: Batch<'_>,
) -> usize {
    let each: fn(&mut Vec<u8>, Form, &Head<'_>, &[u8], bool) = match form {
        Form::Passthrough => return pass(out, limit, batch.text),
        Form::Prefixed { stamped: false } if !batch.partial && head.stream != Stream::Init => {
            return prefix_each(out, limit, head.prefix, batch.text);
        }
        Form::Prefixed { .. } => |out, form, head, text, partial| {
            if form == (Form::Prefixed { stamped: true }) {
                out.extend_from_slice(head.stamp.as_bytes());
                out.push(b' ');
            }
            prefixed(
                out,
                head.prefix,
                about(head.service, head.stream),
                partial,
                text,
            );
        },
        Form::Json | Form::Record => json,
    };
    if batch.partial {
        each(out, form, head, batch.text, true);
        return batch.text.len();
    }
    let mut done = 0;
    while let Some(rest) = batch.text.get(done..).filter(|rest| !rest.is_empty()) {
        if done > 0 && out.len() >= limit {
            break;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (text, _) = rest.split_at(end);
        each(out, form, head, text, false);
        done = (done + end + 1).min(batch.text.len());
    }
    done
}

/// As they came, as much as there is room for.
fn pass(out: &mut Vec<u8>, limit: usize, text: &[u8]) -> usize {
    let room = limit.saturating_sub(out.len());
    let fits = match text.get(..room) {
        Some(fits) if room < text.len() => {
            let lines = memchr::memrchr(b'\n', fits);
            let first = || memchr::memchr(b'\n', text);
            let end = lines.or_else(first).map_or(text.len(), |end| end + 1);
            text.get(..end).unwrap_or(text)
        }
        _ => text,
    };
    out.extend_from_slice(fits);
    fits.len()
}

/// The loop that millions of lines pass: a search and two copies each.
fn prefix_each(out: &mut Vec<u8>, limit: usize, prefix: &[u8], text: &[u8]) -> usize {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text) {
        if start > 0 && out.len() >= limit {
            return start;
        }
        let line = text.get(start..=end).unwrap_or(&[]);
        out.extend_from_slice(prefix);
        out.extend_from_slice(line);
        start = end + 1;
    }
    text.len()
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

/// The service that init's own words are about, which is said in the text.
pub(crate) fn about(service: Option<&ServiceName>, stream: Stream) -> Option<&ServiceName> {
    service.filter(|_| stream == Stream::Init)
}

/// One line for programs: a [`LogRecord`](holdall_protocol::log::LogRecord),
/// without building one, or the same with a time for people.
fn json(out: &mut Vec<u8>, form: Form, head: &Head<'_>, text: &[u8], partial: bool) {
    let start = out.len();
    // A Vec takes everything.
    let _ = match form {
        Form::Json => write!(out, "{{\"time\":\"{}\"", head.stamp),
        _ => write!(out, "{{\"time\":{}", head.time),
    };
    if let Some(service) = head.service {
        // A service's name needs no escapes.
        let _ = write!(out, ",\"service\":\"{service}\"");
    }
    let stream = match head.stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Init => "init",
    };
    let _ = write!(out, ",\"stream\":\"{stream}\",\"text\":");
    if serde_json::to_writer(&mut *out, &String::from_utf8_lossy(text)).is_err() {
        // No half line.
        out.truncate(start);
        return;
    }
    if partial {
        out.extend_from_slice(b",\"partial\":true");
    }
    out.extend_from_slice(b"}\n");
}
