//! Where a program's output goes.

use holdall_protocol::manifest::{self, LogFormat, Logging};

use crate::conf::{Log, Process};
use crate::sources::join;
use crate::value::LogFile;

/// The smallest file that init rotates.
const SMALLEST: u64 = 64 * 1024;

/// As good as no limit, where `maxbytes` is 0.
const LARGEST: u64 = 1 << 50;

/// The most old files that are kept.
const MOST: u32 = 1000;

/// The `log` of a process, and what of it could not be carried: a key and why.
pub(crate) fn logging(process: &Process, folder: &str) -> (Logging, Vec<(&'static str, String)>) {
    let mut notes = Vec::new();
    let mut logging = Logging::default();
    let (stdout, stderr) = (&process.stdout, &process.stderr);
    match (&stdout.file, &stderr.file) {
        (LogFile::Path(path), other) => {
            logging.file = Some(file(path, folder, "stdout", stdout, &mut notes));
            match other {
                LogFile::Path(second) if !process.redirect_stderr && second != path => {
                    notes.push((
                        "stderr_logfile",
                        format!("what goes to stderr is in {path} too"),
                    ));
                }
                LogFile::Own if !process.redirect_stderr => {
                    notes.push((
                        "stderr_logfile",
                        format!("what goes to stderr is in {path} too"),
                    ));
                }
                _ => {}
            }
        }
        (other, LogFile::Path(path)) if !process.redirect_stderr => {
            logging.file = Some(file(path, folder, "stderr", stderr, &mut notes));
            if *other == LogFile::Own {
                notes.push((
                    "stdout_logfile",
                    format!("what goes to stdout is in {path} too"),
                ));
            }
        }
        (LogFile::Own, _) => logging.format = Some(LogFormat::Passthrough),
        (_, LogFile::Own) if !process.redirect_stderr => {
            logging.format = Some(LogFormat::Passthrough);
        }
        _ => {}
    }
    let kept =
        "it is in the log of the box all the same: nothing that a service says is thrown away";
    for (key, log) in [("stdout_logfile", stdout), ("stderr_logfile", stderr)] {
        match &log.file {
            LogFile::None if logging.file.is_none() => notes.push((key, kept.to_owned())),
            LogFile::Syslog => {
                let why = "the log of the box goes wherever its engine puts it, syslog included";
                notes.push((key, why.to_owned()));
            }
            LogFile::None | LogFile::Auto | LogFile::Own | LogFile::Path(_) => {}
        }
    }
    (logging, notes)
}

fn file(
    path: &str,
    folder: &str,
    stream: &str,
    log: &Log,
    notes: &mut Vec<(&'static str, String)>,
) -> manifest::LogFile {
    let key = match stream {
        "stdout" => "stdout_logfile_maxbytes",
        _ => "stderr_logfile_maxbytes",
    };
    let size = match log.maxbytes {
        0 => LARGEST,
        small if small < SMALLEST => {
            notes.push((
                key,
                "64K is the smallest file that is begun anew".to_owned(),
            ));
            SMALLEST
        }
        size => size.min(LARGEST),
    };
    manifest::LogFile {
        path: join(folder, path),
        size,
        count: log.backups.min(MOST),
    }
}
