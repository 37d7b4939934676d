//! A supervisord.conf in place of a holdall.toml.

use std::fs;
use std::io::{self, Write, stdout};
use std::path::Path;

use holdall_protocol::diagnostic::Problem;
use holdall_supervisord::{ConfError, Converted, Files, Listener, Surroundings, read};
use serde::Serialize;

use crate::config::{self, ConfigError, Loaded, text_of};
use crate::environment::Environment;

/// The files around init.
struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &str) -> io::Result<String> {
        text_of(Path::new(path))
    }

    fn names(&mut self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }
}

/// Reads a configuration and what it includes.
fn convert(path: &Path, env: &Environment) -> Result<Converted, ConfError> {
    let folder = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let host = nix::unistd::gethostname().unwrap_or_default();
    let around = Surroundings {
        env: env.texts(),
        host: host.to_string_lossy().into_owned(),
        folder: folder.to_string_lossy().into_owned(),
        as_it_is: true,
    };
    read(&path.to_string_lossy(), &mut Disk, &around)
}

/// Why an event listener is not run, and what stands in for it.
fn refusal(listener: &Listener) -> (String, String) {
    let instead = listener.instead.join("; ");
    (
        format!(
            "[{}] is refused: init has no event listeners",
            listener.section
        ),
        format!("in its place: {instead}"),
    )
}

/// Event listeners as they are printed.
fn refusals(listeners: &[Listener]) -> String {
    let said = listeners.iter().map(|listener| {
        let (message, help) = refusal(listener);
        format!("{}: {message}\n  = help: {help}\n", listener.at)
    });
    said.collect()
}

/// Reads it as it is: what could not be carried is told in one line.
pub(crate) fn load(path: &Path, env: &Environment) -> Result<Loaded, ConfigError> {
    let Converted {
        manifest,
        notes,
        listeners,
        ..
    } = convert(path, env)?;
    if !listeners.is_empty() {
        return Err(ConfigError::Invalid(refusals(&listeners)));
    }
    let path = path.display();
    let keys: Vec<&str> = notes.iter().map(|note| note.what.as_str()).collect();
    let remark = (!keys.is_empty()).then(|| {
        let keys = keys.join(", ");
        format!("{path}: without effect here (`/init check --supervisord` says why): {keys}")
    });
    Ok(Loaded {
        manifest,
        remarks: remark.into_iter().collect(),
    })
}

/// What `check --format json` prints.
#[derive(Serialize)]
struct Checked<'c> {
    file: &'c Path,
    /// How many there are, of a file that init would run.
    services: Option<usize>,
    problems: Vec<Located>,
    notes: Vec<Remark>,
}

/// What is wrong, and in which file.
#[derive(Serialize)]
struct Located {
    file: String,
    #[serde(flatten)]
    problem: Problem,
}

/// A key that has no effect, or not all of it.
#[derive(Serialize)]
struct Remark {
    at: String,
    key: String,
    why: String,
}

/// `check --supervisord`: every key that is not carried, and why; the exit code
/// says whether init would run it.
pub(crate) fn check(path: &Path, json: bool, env: &Environment) -> u8 {
    let converted = match convert(path, env) {
        Ok(converted) => converted,
        Err(ConfError::Wrong { problems, .. }) if json => {
            let located = |(file, problem)| Located { file, problem };
            return print_json(&Checked {
                file: path,
                services: None,
                problems: problems.into_iter().map(located).collect(),
                notes: Vec::new(),
            });
        }
        Err(error) => {
            config::report(&error.into());
            return crate::FAILURE;
        }
    };
    let Converted {
        manifest,
        notes,
        listeners,
        ..
    } = converted;
    let runs = listeners.is_empty();
    if json {
        let remark = |note: holdall_supervisord::Note| Remark {
            at: note.at,
            key: note.what,
            why: note.why,
        };
        return print_json(&Checked {
            file: path,
            services: runs.then_some(manifest.services.len()),
            problems: listeners.iter().map(located).collect(),
            notes: notes.into_iter().map(remark).collect(),
        });
    }
    let mut text = String::new();
    for note in &notes {
        text.push_str(&format!("{}: {}: {}\n", note.at, note.what, note.why));
    }
    if runs {
        let count =
            |number, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
        let services = count(manifest.services.len(), "service");
        let keys = match notes.len() {
            0 => "every key is carried".to_owned(),
            number => format!("{} without effect, or not all of it", count(number, "key")),
        };
        text.push_str(&format!("{}: {services}, {keys}\n", path.display()));
    }
    // A closed stdout changes nothing about the file.
    let _ = stdout().write_all(text.as_bytes());
    if !runs {
        config::report(&ConfigError::Invalid(refusals(&listeners)));
    }
    u8::from(!runs)
}

/// An event listener as a problem of its file.
fn located(listener: &Listener) -> Located {
    let (file, line) = listener.at.rsplit_once(':').unwrap_or((&listener.at, "1"));
    let (message, help) = refusal(listener);
    Located {
        file: file.to_owned(),
        problem: Problem {
            line: line.parse().unwrap_or(1),
            column: 1,
            message,
            help: Some(help),
        },
    }
}

/// Prints it: the exit code.
fn print_json(checked: &Checked<'_>) -> u8 {
    let json = serde_json::to_string(checked).unwrap_or_default();
    let _ = writeln!(stdout(), "{json}");
    u8::from(!checked.problems.is_empty())
}
