//! A converted configuration as a holdall.toml, with a line for everything
//! that could not be carried.

use std::fmt::Write as _;

use holdall_protocol::ServiceName;
use holdall_protocol::manifest::InitSettings;

use crate::{Converted, Listener, Note};

/// What is true of every configuration.
const ALWAYS: &[&str] = &[
    "Programs are not told SUPERVISOR_ENABLED, SUPERVISOR_PROCESS_NAME and SUPERVISOR_GROUP_NAME;",
    "each has its name in HOLDALL_SERVICE. `essential = false` and `keep_running` are",
    "supervisord's way: nothing that fails ends the box. Take them out of those that should.",
];

/// The file, as `holdall import` prints it. `from` is the name of what was
/// converted.
#[must_use]
pub fn to_toml(converted: &Converted, from: &str) -> String {
    let mut out = format!("# Made from {from} by `holdall import`.\n#\n");
    for line in ALWAYS {
        let _infallible = writeln!(out, "# {line}");
    }
    let stop = converted.manifest.init.stop_timeout;
    if stop > InitSettings::default().stop_timeout {
        let seconds = stop.0.div_ceil(1000) + 1;
        let _infallible = writeln!(
            out,
            "# Every stopwaitsecs is kept, and docker waits 10 s unless it is told: docker stop -t {seconds}."
        );
    }
    let general = converted.notes.iter().filter(|note| note.service.is_none());
    notes(&mut out, general);
    for Listener {
        section, instead, ..
    } in &converted.listeners
    {
        let _infallible = writeln!(
            out,
            "#\n# [{section}] is refused: init has no event listeners. In its place:"
        );
        for text in instead {
            let _infallible = writeln!(out, "#   {}", one_line(text));
        }
    }
    out.push('\n');
    let toml = converted.manifest.to_toml();
    for line in toml.lines() {
        if let Some(service) = header(line) {
            let own = |note: &&Note| note.service.as_ref() == Some(&service);
            let name = converted.names.get(&service);
            if let Some(name) = name.filter(|name| *name != service.as_str()) {
                let _infallible = writeln!(out, "# {} of supervisorctl", one_line(name));
            }
            notes(&mut out, converted.notes.iter().filter(own));
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

fn notes<'n>(out: &mut String, notes: impl Iterator<Item = &'n Note>) {
    let mut group: Option<(&str, Vec<&str>)> = None;
    let mut flush = |group: Option<(&str, Vec<&str>)>| {
        if let Some((why, whats)) = group {
            let whats = whats.join(", ");
            let _infallible = writeln!(out, "# {}: {}", one_line(&whats), one_line(why));
        }
    };
    // Neighbours with one reason are one line.
    for note in notes {
        match &mut group {
            Some((why, whats)) if *why == note.why => {
                let key = note
                    .what
                    .split_once("] ")
                    .map_or(note.what.as_str(), |(_, key)| key);
                let same = whats.first().is_some_and(|first| {
                    first.split_once("] ").map(|(section, _)| section)
                        == note.what.split_once("] ").map(|(section, _)| section)
                });
                whats.push(if same { key } else { &note.what });
            }
            _ => {
                let next = Some((note.why.as_str(), vec![note.what.as_str()]));
                flush(std::mem::replace(&mut group, next));
            }
        }
    }
    flush(group);
}

/// The service whose table begins with this line.
fn header(line: &str) -> Option<ServiceName> {
    let name = line.strip_prefix("[service.")?.strip_suffix(']')?;
    name.trim_matches('"').parse().ok()
}

/// A comment must stay one.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}
