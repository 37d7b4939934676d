//! `log`: what becomes of what a service says.

use super::values::{absolute, quantity};
use super::write::{quoted, table};
use crate::decode::{Problems, Value};

/// `log` of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Logging {
    /// `format`; that of `[init]` where none.
    pub format: Option<LogFormat>,
    /// `file`: its lines go there, and not with those of the box.
    pub file: Option<LogFile>,
    /// `tee`: they go there as well.
    pub tee: bool,
    /// `when_full`.
    pub when_full: WhenFull,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LogFormat {
    /// `name | line`.
    #[default]
    Prefix,
    /// One JSON document a line: time, service, stream and text.
    Json,
    /// As they come.
    Passthrough,
}

impl LogFormat {
    /// Each with its word.
    const WORDS: [(&'static str, Self); 3] = [
        ("prefix", Self::Prefix),
        ("json", Self::Json),
        ("passthrough", Self::Passthrough),
    ];
}

/// A log file of a service's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogFile {
    /// Where, an absolute path.
    pub path: String,
    /// Begun anew beyond so many bytes; 10 MiB unless said.
    pub size: u64,
    /// So many old ones are kept, as `path.1` and so on; 5 unless said.
    pub count: u32,
}

impl LogFile {
    /// A file at this path, everything else as where nothing is said.
    #[must_use]
    pub fn at(path: String) -> Self {
        Self {
            path,
            size: 10 << 20,
            count: 5,
        }
    }
}

/// What happens when lines come faster than they can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenFull {
    /// Lines are dropped, counted and said: the service goes on.
    #[default]
    Drop,
    /// The service waits.
    Block,
}

impl WhenFull {
    /// Each with its word.
    const WORDS: [(&'static str, Self); 2] = [("drop", Self::Drop), ("block", Self::Block)];
}

/// `[init]`'s `log`: how the lines of the box are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BoxLog {
    /// The format of services that don't say one.
    pub format: LogFormat,
    /// The time stands before each line.
    pub timestamps: bool,
}

/// Reads `log = "json"` or `{ format, file, size, count, tee, when_full }` over
/// what holds already.
pub(super) fn read(value: &Value<'_>, log: &mut Logging, problems: &mut Problems) {
    if value.as_str().is_some() {
        log.format = value.word(&LogFormat::WORDS, problems);
        return;
    }
    let Some(mut table) = value.as_table() else {
        return value.wrong_type("a format or a table", problems);
    };
    let format = table.take("format");
    let format = format.and_then(|value| value.word(&LogFormat::WORDS, problems));
    let path = table.take("file");
    let path = path.and_then(|value| absolute(&value, problems));
    let of_file = [table.take("size"), table.take("count"), table.take("tee")];
    let [size_value, count_value, tee_value] = &of_file;
    let size = size_value.as_ref().and_then(|value| size(value, problems));
    let count = count_value
        .as_ref()
        .and_then(|value| value.integer(0..=1000, problems));
    let tee = tee_value.as_ref();
    let tee = tee.and_then(|value| value.boolean(problems));
    let when_full = table.take("when_full");
    let when_full = when_full.and_then(|value| value.word(&WhenFull::WORDS, problems));
    table.finish(&[], problems);
    log.format = format.or(log.format);
    log.when_full = when_full.unwrap_or(log.when_full);
    if let Some(path) = path {
        log.file = Some(LogFile::at(path));
    }
    match &mut log.file {
        Some(file) => {
            file.size = size.unwrap_or(file.size);
            file.count = count.unwrap_or(file.count);
            log.tee = tee.unwrap_or(log.tee);
        }
        None => {
            for value in of_file.iter().flatten() {
                let message = format!("`{}` says nothing without a `file`", value.key());
                problems.add(value.key_span(), message);
            }
        }
    }
}

/// The size of a file: no less than one long line.
fn size(value: &Value<'_>, problems: &mut Problems) -> Option<u64> {
    let size = quantity(value, problems)?;
    if size < 64 * 1024 {
        problems.add(value.span(), "`size` must be at least 64K");
        return None;
    }
    Some(size)
}

/// As TOML; only what is not in `usual`.
pub(super) fn write(log: &Logging, usual: &Logging) -> String {
    let format = log.format.map(|format| word(&LogFormat::WORDS, format));
    let mut entries = Vec::new();
    entries.extend(format.as_ref().map(|word| format!("format = {word}")));
    if let Some(LogFile { path, size, count }) = &log.file {
        let path = quoted(path);
        entries.push(format!("file = {path}, size = {size}, count = {count}"));
    }
    if log.tee != usual.tee {
        entries.push(format!("tee = {}", log.tee));
    }
    if log.when_full != usual.when_full {
        let word = word(&WhenFull::WORDS, log.when_full);
        entries.push(format!("when_full = {word}"));
    }
    match (format, entries.as_slice()) {
        (Some(word), [_]) => word,
        _ => table(entries.into_iter()),
    }
}

/// Reads `[init]`'s `log = "json"` or `{ format, timestamps }`.
pub(super) fn read_box(value: &Value<'_>, problems: &mut Problems) -> BoxLog {
    let mut log = BoxLog::default();
    if value.as_str().is_some() {
        log.format = value.word(&LogFormat::WORDS, problems).unwrap_or_default();
        return log;
    }
    let Some(mut table) = value.as_table() else {
        value.wrong_type("a format or a table", problems);
        return log;
    };
    let format = table.take("format");
    let format = format.and_then(|value| value.word(&LogFormat::WORDS, problems));
    log.format = format.unwrap_or_default();
    let timestamps = table.take("timestamps");
    log.timestamps = timestamps
        .and_then(|value| value.boolean(problems))
        .unwrap_or_default();
    table.finish(&[], problems);
    log
}

/// As TOML.
pub(super) fn write_box(log: BoxLog) -> String {
    let word = word(&LogFormat::WORDS, log.format);
    if log.timestamps {
        format!("{{ format = {word}, timestamps = true }}")
    } else {
        word
    }
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: T) -> String {
    super::policy::word_of(words, &value)
}
