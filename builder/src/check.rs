//! Services against the files of the image: what init would find out at the
//! start is found out before the image has a name.
//!
//! It reports what is certainly wrong. What can't be known here (a command
//! that a volume brings, a library that a program finds by itself) is not.

mod elf;
mod program;

use std::fmt;
use std::path::Path;

use holdall_image::Tree;
use holdall_image::tree::TreeError;
use holdall_protocol::account;
use holdall_protocol::diagnostic::{self, Diagnostic};
use holdall_protocol::manifest::{Manifest, Probe, Service};

use crate::toml::{Places, Source};

/// One thing that is wrong: its place, the line, a caret, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong and where in the file.
    pub diagnostic: Diagnostic,
    rendered: String,
}

impl Finding {
    pub(crate) fn new(source: &Source, found: &Diagnostic) -> Self {
        let path = source.path.display().to_string();
        let rendered = diagnostic::render(&path, &source.text, std::slice::from_ref(found));
        Self { diagnostic: found.clone(), rendered: rendered.trim_end().to_owned() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

/// Everything that is wrong with the services of an image with these files and
/// this PATH, in the order of the file.
pub(crate) fn services(
    manifest: &Manifest,
    places: &Places,
    tree: &Tree,
    path: &str,
) -> Result<Vec<Diagnostic>, TreeError> {
    let limit = account::MAX_FILE as u64;
    let passwd = tree.read(Path::new("/etc/passwd"), limit)?;
    let group = tree.read(Path::new("/etc/group"), limit)?;
    let accounts = Accounts {
        passwd: passwd.unwrap_or_default(),
        group: group.unwrap_or_default(),
    };
    let mut found = Vec::new();
    for service in &manifest.services {
        let name = service.name.as_str();
        let mut add = |key: &str, problem: Problem| {
            let span = places.of(name, key);
            found.push(Diagnostic { message: problem.message, span, help: problem.help });
        };
        accounts.check(service, &mut add);
        let path = service.env.get("PATH").map_or(path, String::as_str);
        let missing = program::check(tree, path, &service.dir, &service.command)?;
        missing.into_iter().for_each(|problem| add("command", problem));
        if let Some(Probe::Exec(words)) = service.health.as_ref().map(|health| &health.probe) {
            let missing = program::check(tree, path, &service.dir, words)?;
            missing.into_iter().for_each(|problem| add("health", problem));
        }
        for volume in &service.volumes {
            if let Some(problem) = volume_problem(tree, volume)? {
                add("volumes", problem);
            }
        }
        if !matches!(tree.lookup(Path::new(&service.dir))?, Some(entry) if entry.metadata.kind == holdall_image::root::Kind::Directory)
            && service.dir != "/"
            && !manifest.services.iter().any(|s| s.volumes.iter().any(|v| Path::new(&service.dir).starts_with(v)))
        {
            add("dir", Problem::new(format!("the image has no folder {}", service.dir)));
        }
    }
    found.sort_by_key(|diagnostic| diagnostic.span.start);
    Ok(found)
}

/// What is wrong, without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    message: String,
    help: Option<String>,
}

impl Problem {
    fn new(message: String) -> Self {
        Self { message, help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

struct Accounts {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

impl Accounts {
    fn check(&self, service: &Service, add: &mut dyn FnMut(&str, Problem)) {
        let refuse = |error: account::AccountError| {
            Problem::new(error.to_string()).help("add it in a command of `run`: \"useradd -r NAME\"")
        };
        if let Some(user) = &service.user
            && let Err(error) = account::find_user(&self.passwd, &self.group, user)
        {
            add("user", refuse(error));
        }
        if let Some(group) = &service.group
            && let Err(error) = account::find_group(&self.group, group)
        {
            add("group", refuse(error));
        }
    }
}

/// A volume is mounted on a folder, and never over what the box itself needs.
fn volume_problem(tree: &Tree, volume: &str) -> Result<Option<Problem>, TreeError> {
    let path = Path::new(volume);
    let own = ["/", "/proc", "/sys", "/dev", "/etc", "/run", "/init"];
    if own.iter().any(|own| Path::new(own) == path) {
        return Ok(Some(Problem::new(format!("{volume} can't be a volume: the box itself is in it"))));
    }
    let there = tree.lookup(path)?;
    let file = there.is_some_and(|entry| entry.metadata.kind != holdall_image::root::Kind::Directory);
    Ok(file.then(|| Problem::new(format!("{volume} can't be a volume: it is a file in the image"))))
}
