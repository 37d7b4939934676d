//! The sections of a configuration as supervisord understands them: programs
//! with every value checked and filled in, in the order of their start.

use holdall_protocol::Signal;
use holdall_protocol::manifest::ExitCodes;

use crate::expand::{Variable, Variables, expand};
use crate::ini::{Entry, Ini, Place, Section};
use crate::sources::Sources;
use crate::value::{self, AutoRestart, Kind, LogFile};
use crate::{Surroundings, keys, words};

/// What engines give to process 1.
const USUAL_MASK: u32 = 0o022;

/// More processes of one section than init has instances of a service.
const MAX_PROCESSES: i64 = 1000;

/// What `[supervisord]` gives to the programs.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// It goes into the background, and only then changes folder and mask.
    pub(crate) background: bool,
    pub(crate) directory: Option<String>,
    pub(crate) umask: u32,
    pub(crate) user: Option<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// One process that is to run.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its section's header, without the brackets.
    pub(crate) section: String,
    pub(crate) place: Place,
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) priority: i64,
    pub(crate) command: Vec<String>,
    pub(crate) directory: Option<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) user: Option<String>,
    pub(crate) umask: Option<u32>,
    pub(crate) autostart: bool,
    pub(crate) startsecs: u64,
    pub(crate) startretries: u32,
    pub(crate) autorestart: AutoRestart,
    pub(crate) exitcodes: ExitCodes,
    pub(crate) stopsignal: Signal,
    pub(crate) stopwaitsecs: u64,
    pub(crate) stopasgroup: bool,
    pub(crate) redirect_stderr: bool,
    pub(crate) stdout: Log,
    pub(crate) stderr: Log,
}

/// Where one stream goes.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) file: LogFile,
    pub(crate) maxbytes: u64,
    pub(crate) backups: u32,
}

/// A reader of one section's values.
pub(crate) struct Values<'c> {
    pub(crate) ini: &'c Ini,
    pub(crate) section: &'c Section,
    pub(crate) variables: Variables,
    pub(crate) sources: &'c mut Sources,
}

impl<'c> Values<'c> {
    /// The values of a section, which sees these variables.
    pub(crate) fn of(
        ini: &'c Ini,
        section: &'c Section,
        variables: &Variables,
        sources: &'c mut Sources,
    ) -> Self {
        let variables = variables.clone();
        Self {
            ini,
            section,
            variables,
            sources,
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&'c Entry> {
        self.ini.entry(self.section, key)
    }

    /// A value, filled in.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        let entry = self.entry(key)?;
        self.fill(&entry.value, &entry.place)
    }

    fn fill(&mut self, text: &str, place: &Place) -> Option<String> {
        match expand(text, &self.variables) {
            Ok(text) => Some(text),
            Err(error) => {
                self.sources.wrong(place, error.to_string(), None);
                None
            }
        }
    }

    /// A value of a kind of its own.
    pub(crate) fn read<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Option<T>,
        usual: T,
    ) -> T {
        let Some(text) = self.text(key) else {
            return usual;
        };
        match read(&text) {
            Some(value) => value,
            None => {
                let kind = keys::find(&self.section.name, key).map_or(Kind::Text, |key| key.kind);
                self.complain(key, kind, &text);
                usual
            }
        }
    }

    fn complain(&mut self, key: &str, kind: Kind, text: &str) {
        let wanted = kind.complaint(text).unwrap_or("another value");
        self.wrong(
            key,
            format!("`{key}` can't be {text:?}"),
            Some(format!("write {wanted}")),
        );
    }

    /// Says what is wrong with a key, or with its section where it is not there.
    pub(crate) fn wrong(&mut self, key: &str, message: String, help: Option<String>) {
        let entry = self.entry(key).map(|entry| &entry.place);
        let place = entry.unwrap_or(&self.section.place);
        self.sources.wrong(place, message, help);
    }

    /// Everything that is not read elsewhere is of the kind that it must be.
    pub(crate) fn check_the_rest(&mut self) {
        for entry in &self.section.entries {
            let Some(key) = keys::find(&self.section.name, &entry.key) else {
                continue;
            };
            if !matches!(key.fate, keys::Fate::Dropped(_)) || key.kind == Kind::Text {
                continue;
            }
            if let Some(text) = self.fill(&entry.value, &entry.place)
                && key.kind.complaint(&text).is_some()
            {
                self.complain(key.name, key.kind, &text);
            }
        }
    }
}

/// Reads `[supervisord]`, whose environment joins the variables.
pub(crate) fn common(values: &mut Values<'_>, around: &Surroundings) -> Common {
    let background = !values.read("nodaemon", value::boolean, false);
    let directory = values.text("directory");
    let umask = values.read("umask", value::octal, USUAL_MASK);
    let mut common = Common {
        background,
        directory: directory.filter(|_| background),
        umask: if background { umask } else { USUAL_MASK },
        user: values.text("user"),
        environment: Vec::new(),
    };
    let host = Variable::Text(around.host.clone());
    values.variables.insert("host_node_name".to_owned(), host);
    if let Some(text) = values.text("environment") {
        common.environment = pairs(values, &text);
    }
    values.check_the_rest();
    common
}

fn pairs(values: &mut Values<'_>, text: &str) -> Vec<(String, String)> {
    match words::pairs(text) {
        Ok(pairs) => pairs,
        Err(error) => {
            let help = "write environment = KEY=\"value\",KEY2=\"value\"".to_owned();
            values.wrong("environment", format!("`environment`: {error}"), Some(help));
            Vec::new()
        }
    }
}

/// Its name and its group's, or what stands in their way.
pub(crate) fn named<'n>(values: &mut Values<'_>, key: &str, name: &'n str) -> Option<&'n str> {
    match value::name(name) {
        Ok(name) => Some(name),
        Err(letter) => {
            let message = format!("{name:?} can't be a name: it has {letter:?} in it");
            values.wrong(key, message, None);
            None
        }
    }
}

/// The part of a section's header behind its colon.
pub(crate) fn own_name(section: &Section) -> &str {
    section.name.split_once(':').map_or("", |(_, name)| name)
}

/// Reads the processes of a section, in the order of their numbers.
pub(crate) fn processes(
    values: &mut Values<'_>,
    group: &str,
    around: &Surroundings,
) -> Vec<Process> {
    let Some(program) = named(values, "process_name", own_name(values.section)) else {
        return Vec::new();
    };
    for (name, text) in [
        ("program_name", program),
        ("host_node_name", &around.host),
        ("group_name", group),
    ] {
        values.variables.insert(name.to_owned(), text.into());
    }
    values.check_the_rest();
    let count = values.read("numprocs", value::integer, 1);
    let first = values.read("numprocs_start", value::integer, 0);
    if count > MAX_PROCESSES {
        let message = format!("`numprocs` can't be {count}");
        let help = format!("{MAX_PROCESSES} are the most");
        values.wrong("numprocs", message, Some(help));
        return Vec::new();
    }
    let name = values
        .entry("process_name")
        .map(|entry| entry.value.clone());
    let name = name.unwrap_or_else(|| "%(program_name)s".to_owned());
    if count > 1 && !name.contains("%(process_num)") {
        let help = "write process_name = %(program_name)s_%(process_num)02d".to_owned();
        let message = "with `numprocs` above 1, `process_name` must have %(process_num) in it";
        values.wrong("numprocs", message.to_owned(), Some(help));
        return Vec::new();
    }
    if values.entry("command").is_none() {
        let message = format!("[{}] has no `command`", values.section.name);
        values.wrong("command", message, None);
        return Vec::new();
    }
    let section = values.variables.clone();
    let numbers = first..first.saturating_add(count);
    let processes = numbers.filter_map(|number| {
        let process = process(values, group, &name, (number, count));
        values.variables.clone_from(&section);
        process
    });
    processes.collect()
}

fn process(
    values: &mut Values<'_>,
    group: &str,
    name: &str,
    (number, count): (i64, i64),
) -> Option<Process> {
    let seconds = |text: &str| value::integer(text).map(|n| u64::try_from(n).unwrap_or(0));
    let small =
        |text: &str| value::integer(text).map(|n| u32::try_from(n.max(0)).unwrap_or(u32::MAX));
    let stopasgroup = values.read("stopasgroup", value::boolean, false);
    let killasgroup = values.read("killasgroup", value::boolean, stopasgroup);
    if stopasgroup && !killasgroup {
        let message = "`stopasgroup` can't be true where `killasgroup` is false";
        values.wrong("killasgroup", message.to_owned(), None);
    }
    let priority = values.read("priority", value::integer, 999);
    let autostart = values.read("autostart", value::boolean, true);
    let startsecs = values.read("startsecs", seconds, 1);
    let startretries = values.read("startretries", small, 3);
    let autorestart = values.read("autorestart", value::auto_restart, AutoRestart::Unexpected);
    let exitcodes = values.read("exitcodes", value::exit_codes, ExitCodes::default());
    let stopsignal = values.read("stopsignal", value::signal, Signal::TERM);
    let stopwaitsecs = values.read("stopwaitsecs", seconds, 10);
    let redirect_stderr = values.read("redirect_stderr", value::boolean, false);
    let umask = values.read("umask", |text| value::octal(text).map(Some), None);
    let user = values.text("user");
    for (name, number) in [("process_num", number), ("numprocs", count)] {
        values
            .variables
            .insert(name.to_owned(), Variable::Number(number));
    }
    let environment = match values.text("environment") {
        Some(text) => pairs(values, &text),
        None => Vec::new(),
    };
    for (name, text) in &environment {
        let name = format!("ENV_{name}");
        values.variables.insert(name, Variable::Text(text.clone()));
    }
    let directory = values.text("directory");
    let [stdout, stderr] = ["stdout", "stderr"].map(|stream| log(values, stream));
    let command = values.text("command")?;
    let command = match words::split(&command) {
        Ok(command) if !command.is_empty() => command,
        Ok(_) => {
            values.wrong("command", "`command` is empty".to_owned(), None);
            return None;
        }
        Err(error) => {
            values.wrong("command", format!("`command`: {error}"), None);
            return None;
        }
    };
    let place = values
        .entry("process_name")
        .map(|entry| entry.place.clone());
    let place = place.unwrap_or_else(|| values.section.place.clone());
    let name = values.fill(name, &place)?;
    let name = named(values, "process_name", &name)?.to_owned();
    Some(Process {
        section: values.section.name.clone(),
        place: values.section.place.clone(),
        group: group.to_owned(),
        name,
        priority,
        command,
        directory,
        environment,
        user,
        umask,
        autostart,
        startsecs,
        startretries,
        autorestart,
        exitcodes,
        stopsignal,
        stopwaitsecs,
        stopasgroup,
        redirect_stderr,
        stdout,
        stderr,
    })
}

fn log(values: &mut Values<'_>, stream: &str) -> Log {
    let key = format!("{stream}_logfile");
    // Filled in once more, as supervisord does.
    let place = values.entry(&key).map(|entry| entry.place.clone());
    let text = values.text(&key);
    let text = text
        .zip(place)
        .and_then(|(text, place)| values.fill(&text, &place));
    let small =
        |text: &str| value::integer(text).map(|n| u32::try_from(n.max(0)).unwrap_or(u32::MAX));
    Log {
        file: text.map_or(LogFile::Auto, |text| value::log_file(&text)),
        maxbytes: values.read(&format!("{key}_maxbytes"), value::bytes, 50 << 20),
        backups: values.read(&format!("{key}_backups"), small, 10),
    }
}
