//! Where words about failures go: standard error for people, and runc's log
//! format in the file that docker, podman and containerd read it from.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::arguments::{Arguments, UsageError};
use crate::clock::WallTime;

/// Exit code of a command line that makes no sense.
const USAGE: u8 = 2;

static JOURNAL: OnceLock<Journal> = OnceLock::new();

struct Journal {
    file: Option<File>,
    json: bool,
}

/// Opens the log that the options name.
pub(super) fn begin(arguments: &Arguments) {
    let mut failed = None;
    let file = arguments.path("log").and_then(|path| {
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        opened.map_err(|error| failed = Some((path, error))).ok()
    });
    let json = arguments
        .value("log-format")
        .is_some_and(|format| format == "json");
    let journal = JOURNAL.get_or_init(|| Journal { file, json });
    let level = if arguments.has("debug") {
        LevelFilter::Debug
    } else {
        LevelFilter::Warn
    };
    if log::set_logger(journal).is_ok() {
        log::set_max_level(level);
    }
    if let Some((path, error)) = failed {
        log::warn!("cannot open the log {}: {error}", path.display());
    }
}

/// A command line that makes no sense, before there is a log.
pub(super) fn usage(error: &UsageError) -> ExitCode {
    to_stderr(&format!("{error}\nhelp: holdall-runtime --help"));
    ExitCode::from(USAGE)
}

fn to_stderr(text: &str) {
    let line = format!("holdall-runtime: {text}\n");
    // Nobody is left to be told if this fails.
    drop(std::io::stderr().write_all(line.as_bytes()));
}

impl Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        if let Some(mut file) = self.file.as_ref() {
            let line = format_line(
                record.level(),
                &text,
                &WallTime::now().to_string(),
                self.json,
            );
            drop(file.write_all(line.as_bytes()));
        }
        // With a log of its own, standard error is for what ends the verb.
        if self.file.is_none() || record.level() == Level::Error {
            to_stderr(&text);
        }
    }

    fn flush(&self) {}
}

/// As logrus writes it.
fn format_line(level: Level, text: &str, time: &str, json: bool) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    };
    if json {
        let object = serde_json::json!({ "level": level, "msg": text, "time": time });
        format!("{object}\n")
    } else {
        format!("time=\"{time}\" level={level} msg={text:?}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_runc_s() {
        assert_eq!(
            format_line(Level::Error, "a \"b\"", "T", false),
            "time=\"T\" level=error msg=\"a \\\"b\\\"\"\n"
        );
        assert_eq!(
            format_line(Level::Warn, "a", "T", true),
            "{\"level\":\"warning\",\"msg\":\"a\",\"time\":\"T\"}\n"
        );
    }
}
