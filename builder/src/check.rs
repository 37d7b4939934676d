//! Services against the files of the image: what init would find out at the
//! start is found out before the image has a name.
//!
//! It reports what is certainly wrong. What can't be known here (a command
//! that a volume brings, a library that a program finds by itself) is not.

pub(crate) mod elf;
mod program;
mod templates;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use holdall_image::Tree;
use holdall_image::root::Kind;
use holdall_image::tree::TreeError;
use holdall_protocol::account;
use holdall_protocol::diagnostic::{self, Diagnostic};
use holdall_protocol::manifest::{Dialect, Manifest, Probe, Reload, Service};

use crate::config;
use crate::toml::Source;

/// One thing that is wrong: its place, the line, a caret, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong and where in the file.
    pub diagnostic: Diagnostic,
    rendered: String,
}

impl Finding {
    /// Found in a file with this path and text.
    fn new(path: &str, text: &str, found: &Diagnostic) -> Self {
        let rendered = diagnostic::render(path, text, std::slice::from_ref(found));
        Self {
            diagnostic: found.clone(),
            rendered: rendered.trim_end().to_owned(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

/// Everything that is wrong with the services of an image with these files and
/// variables, in the order of the file; then what is wrong in templates.
pub(crate) fn services(
    source: &Source,
    tree: &Tree,
    variables: &[(String, String)],
) -> Result<Vec<Finding>, TreeError> {
    let Source {
        manifest, places, ..
    } = source;
    let path = variables.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(config::PATH, |(_, value)| value);
    let accounts = Accounts::read(tree)?;
    let mut found = Vec::new();
    for service in &manifest.services {
        let name = service.name.as_str();
        let mut add = |key: &str, problem: Problem| found.push(problem.at(places.of(name, key)));
        accounts.check(service, &mut add);
        let path = service.env.get("PATH").map_or(path, String::as_str);
        for (key, words) in commands(service) {
            if is_in_volume(manifest, &service.dir, words) {
                continue;
            }
            if let Some(problem) = program::check(tree, path, &service.dir, words)? {
                add(key, problem);
            }
        }
        for volume in &service.volumes {
            if let Some(problem) = volume_problem(tree, volume)? {
                add("volumes", problem);
            }
        }
        if let Some(problem) = dir_problem(tree, manifest, &service.dir)? {
            add("dir", problem);
        }
    }
    let mut add = |service: &str, problem: Problem| {
        found.push(problem.at(places.of(service, "templates")));
    };
    let in_templates = templates::check(manifest, tree, variables, &mut add)?;
    found.sort_by_key(|diagnostic| diagnostic.span.start);
    let file = source.path.display().to_string();
    let found = found
        .iter()
        .map(|found| Finding::new(&file, &source.text, found));
    Ok(found.chain(in_templates).collect())
}

/// Everything that init runs for a service, with the key that says so.
fn commands(service: &Service) -> Vec<(&'static str, &Vec<String>)> {
    let mut commands = vec![("command", &service.command)];
    if let Some(Probe::Exec(words)) = service.health.as_ref().map(|health| &health.probe) {
        commands.push(("health", words));
    }
    if let Some(Dialect::Asked(Probe::Exec(words))) = service.ready.as_ref().map(|ready| &ready.by)
    {
        commands.push(("ready", words));
    }
    commands.extend(service.stop.command.iter().map(|words| ("stop", words)));
    if let Some(Reload::Command(words)) = &service.reload {
        commands.push(("reload", words));
    }
    commands
}

/// What is wrong, without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    message: String,
    help: Option<String>,
}

impl Problem {
    fn new(message: String) -> Self {
        Self {
            message,
            help: None,
        }
    }

    fn at(self, span: Range<usize>) -> Diagnostic {
        Diagnostic {
            message: self.message,
            span,
            help: self.help,
        }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

/// The users and groups of an image.
pub(crate) struct Accounts {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

impl Accounts {
    /// Reads them: none where the image has no such files.
    pub(crate) fn read(tree: &Tree) -> Result<Self, TreeError> {
        let read = |path: &str| {
            let limit = account::MAX_FILE as u64;
            match tree.lookup(Path::new(path))? {
                Some(entry)
                    if entry.metadata.kind == Kind::File && entry.metadata.size <= limit =>
                {
                    Ok(tree.read(&entry.path, limit)?.unwrap_or_default())
                }
                Some(_) | None => Ok(Vec::new()),
            }
        };
        Ok(Self {
            passwd: read("/etc/passwd")?,
            group: read("/etc/group")?,
        })
    }

    /// The account of `user[:group]`, names or numbers.
    pub(crate) fn find(&self, spec: &str) -> Result<account::Account, account::AccountError> {
        account::find_user(&self.passwd, &self.group, spec)
    }

    fn check(&self, service: &Service, add: &mut dyn FnMut(&str, Problem)) {
        let refuse = |error: account::AccountError| {
            Problem::new(error.to_string())
                .help("add it in a command of `run`: \"useradd -r NAME\"")
        };
        if let Some(user) = &service.user
            && let Err(error) = self.find(user)
        {
            add("user", refuse(error));
        }
        if let Some(group) = &service.group
            && let Err(error) = account::find_group(&self.group, group)
        {
            add("group", refuse(error));
        }
        for group in &service.groups {
            if let Err(error) = account::find_group(&self.group, group) {
                add("groups", refuse(error));
            }
        }
    }
}

/// Whether a command lies in a volume: what is there is known only when it
/// runs.
fn is_in_volume(manifest: &Manifest, dir: &str, words: &[String]) -> bool {
    let Some(name) = words.first().filter(|name| name.contains('/')) else {
        return false;
    };
    let asked = Path::new(dir).join(name);
    let mut volumes = manifest
        .services
        .iter()
        .flat_map(|service| &service.volumes);
    volumes.any(|volume| asked.starts_with(volume))
}

/// A working directory must be there, unless a volume brings it.
fn dir_problem(tree: &Tree, manifest: &Manifest, dir: &str) -> Result<Option<Problem>, TreeError> {
    let dir = Path::new(dir);
    let mut volumes = manifest
        .services
        .iter()
        .flat_map(|service| &service.volumes);
    if dir == Path::new("/") || volumes.any(|volume| dir.starts_with(volume)) {
        return Ok(None);
    }
    let there = tree
        .lookup(dir)?
        .is_some_and(|entry| entry.metadata.kind == Kind::Directory);
    let missing = || Problem::new(format!("the image has no folder {}", dir.display()));
    Ok((!there).then(missing))
}

/// A volume is mounted on a folder, and never over what the box itself needs.
fn volume_problem(tree: &Tree, volume: &str) -> Result<Option<Problem>, TreeError> {
    let path = Path::new(volume);
    let own = ["/", "/proc", "/sys", "/dev", "/etc", "/run", "/init"];
    if own.iter().any(|own| Path::new(own) == path) {
        return Ok(Some(Problem::new(format!(
            "{volume} can't be a volume: the box itself is in it"
        ))));
    }
    let there = tree.lookup(path)?;
    let file = there.is_some_and(|entry| entry.metadata.kind != Kind::Directory);
    Ok(file.then(|| {
        Problem::new(format!(
            "{volume} can't be a volume: it is a file in the image"
        ))
    }))
}
