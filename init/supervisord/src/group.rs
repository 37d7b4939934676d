//! Groups of processes, in the order of their start, and the sockets of
//! fcgi-programs.

use crate::Surroundings;
use crate::conf::{Process, Values, named, own_name, processes};
use crate::expand::Variables;
use crate::ini::{Ini, Place};
use crate::sources::Sources;
use crate::value;

/// The socket of an fcgi-program.
#[derive(Debug, Clone)]
pub(crate) struct Socket {
    pub(crate) url: String,
    pub(crate) backlog: Option<u32>,
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<String>,
    pub(crate) place: Place,
}

/// Processes that stop together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) priority: i64,
    pub(crate) processes: Vec<Process>,
    /// Of an fcgi-program of its own.
    pub(crate) socket: Option<Socket>,
}

/// Reads the socket of an fcgi-program.
pub(crate) fn socket(values: &mut Values<'_>) -> Option<Socket> {
    let name = own_name(values.section).trim().into();
    values.variables.insert("program_name".to_owned(), name);
    let Some(url) = values.text("socket").filter(|url| !url.is_empty()) else {
        let message = format!("[{}] has no `socket`", values.section.name);
        values.wrong("socket", message, None);
        return None;
    };
    let backlog = |text: &str| {
        let number = value::integer(text).filter(|n| (1..=65_535).contains(n))?;
        u32::try_from(number).ok().map(Some)
    };
    let backlog = values.read("socket_backlog", backlog, None);
    let mode = values.read("socket_mode", |text| value::octal(text).map(Some), None);
    let owner = values.text("socket_owner");
    if !url.starts_with("unix://") && (mode.is_some() || owner.is_some()) {
        let message = "`socket_owner` and `socket_mode` are for unix:// sockets".to_owned();
        values.wrong("socket", message, None);
    }
    let place = values.entry("socket").map(|entry| entry.place.clone());
    Some(Socket {
        url,
        backlog,
        mode,
        owner,
        place: place.unwrap_or_default(),
    })
}

/// Reads all groups, sorted as supervisord sorts them: by priority, then by
/// name; and so within each.
pub(crate) fn groups(
    ini: &Ini,
    sources: &mut Sources,
    variables: &Variables,
    around: &Surroundings,
) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    for section in ini.sections().filter(|s| s.name.starts_with("group:")) {
        let mut own = Values::of(ini, section, variables, sources);
        let Some(name) = named(&mut own, "programs", own_name(section)) else {
            continue;
        };
        let programs = own.text("programs").unwrap_or_default();
        let priority = own.read("priority", value::integer, 999);
        let mut processes_of = Vec::new();
        for program in value::list(&programs) {
            let of =
                ["program", "fcgi-program"].map(|kind| ini.section(&format!("{kind}:{program}")));
            let ([Some(found), None] | [None, Some(found)]) = of else {
                let why = if of.iter().all(Option::is_none) {
                    "there is none"
                } else {
                    "there are two, a program and an fcgi-program"
                };
                let message = format!("`programs` names {program:?}, and {why}");
                Values::of(ini, section, variables, sources).wrong("programs", message, None);
                continue;
            };
            taken.push(&found.name);
            processes_of.extend(processes(
                &mut Values::of(ini, found, variables, sources),
                name,
                around,
            ));
        }
        groups.push(group(name, priority, processes_of, None));
    }
    for section in ini.sections().filter(|s| !taken.contains(&s.name.as_str())) {
        let fcgi = section.name.starts_with("fcgi-program:");
        if !fcgi && !section.name.starts_with("program:") {
            continue;
        }
        let mut own = Values::of(ini, section, variables, sources);
        let Some(name) = named(&mut own, "process_name", own_name(section)) else {
            continue;
        };
        let priority = own.read("priority", value::integer, 999);
        let socket = if fcgi { socket(&mut own) } else { None };
        let processes = processes(
            &mut Values::of(ini, section, variables, sources),
            name,
            around,
        );
        groups.push(group(name, priority, processes, socket));
    }
    groups.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
    groups
}

fn group(name: &str, priority: i64, mut processes: Vec<Process>, socket: Option<Socket>) -> Group {
    processes.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
    Group {
        name: name.to_owned(),
        priority,
        processes,
        socket,
    }
}
