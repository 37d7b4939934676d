//! supervisord.conf as a manifest of holdall's init: read as supervisord 4.2
//! and 4.3 read it, and converted with a note for every key that could not be
//! carried.
//!
//! **Invariant:** this crate opens no file. What it reads comes through
//! [`Files`].
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use holdall_protocol::{Manifest, Reader, ServiceName};

mod conf;
mod convert;
mod expand;
mod glob;
mod group;
mod import;
mod ini;
pub mod keys;
mod listener;
mod log;
mod names;
#[cfg(test)]
mod oracle;
mod sources;
mod value;
mod words;

pub use import::to_toml;
pub use sources::{ConfError, Files};

use conf::Values;
use expand::{Variable, Variables};
use ini::Ini;
use sources::Sources;

/// What a configuration sees of where it is read.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The environment, for `%(ENV_x)s`.
    pub env: BTreeMap<String, String>,
    /// `%(host_node_name)s`.
    pub host: String,
    /// Where relative paths start from.
    pub folder: String,
    /// It is to run as it is, so that programs are told what supervisord tells
    /// them (SUPERVISOR_ENABLED and the like). A file that is converted says
    /// nothing of supervisord any more.
    pub as_it_is: bool,
}

/// A configuration, converted.
#[derive(Debug)]
pub struct Converted {
    /// The services, in the order of their start.
    pub manifest: Manifest,
    /// `group:process` of each service, as supervisorctl names it.
    pub names: BTreeMap<ServiceName, String>,
    /// What could not be carried, and why.
    pub notes: Vec<Note>,
    /// Sections of event listeners, which are refused.
    pub listeners: Vec<Listener>,
}

/// Something that could not be carried as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The first service of its section; none where it is about the whole.
    pub service: Option<ServiceName>,
    /// `file:line`.
    pub at: String,
    /// `[section] key`, or only the section.
    pub what: String,
    /// Why, and what to do.
    pub why: String,
}

/// An event listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `file:line`.
    pub at: String,
    /// Its section's header, without the brackets.
    pub section: String,
    /// What stands in for it.
    pub instead: Vec<String>,
}

/// Reads a configuration and converts it.
///
/// # Errors
/// It can't be read, or it is wrong.
pub fn read(
    path: &str,
    files: &mut dyn Files,
    around: &Surroundings,
) -> Result<Converted, ConfError> {
    let path = sources::join(&around.folder, path);
    let mut ini = Ini::default();
    let mut sources = Sources::default();
    let mut variables: Variables = around
        .env
        .iter()
        .map(|(name, value)| (format!("ENV_{name}"), Variable::Text(value.clone())))
        .collect();
    let here = sources::folder(&path).to_owned();
    variables.insert("here".to_owned(), Variable::Text(here));
    let mut of_includes = variables.clone();
    let host = Variable::Text(around.host.clone());
    of_includes.insert("host_node_name".to_owned(), host);
    let in_vain = sources.read(&path, files, &of_includes, &mut ini)?;
    let Some(section) = ini.section("supervisord") else {
        let place = ini::Place::default();
        let help = "write a line [supervisord] at its beginning";
        sources.wrong(&place, "there is no [supervisord]", Some(help.to_owned()));
        sources.verdict()?;
        return Err(ConfError::wrong(&path, "", Vec::new()));
    };
    let mut values = Values::of(&ini, section, &variables, &mut sources);
    let common = conf::common(&mut values, around);
    for (name, value) in &common.environment {
        let name = format!("ENV_{name}");
        variables.insert(name, Variable::Text(value.clone()));
    }
    let groups = group::groups(&ini, &mut sources, &variables, around);
    let mut converter = convert::Converter::new(&common, around, &mut sources);
    converter.patterns_in_vain(&in_vain);
    converter.groups(&groups);
    converter.sections(&ini, &variables);
    let converted = converter.finish();
    sources.verdict()?;
    check(&path, &converted.manifest)?;
    Ok(converted)
}

/// What came out is held to the same rules as any holdall.toml.
fn check(path: &str, manifest: &Manifest) -> Result<(), ConfError> {
    let text = manifest.to_toml();
    let wrong = |mistakes: Vec<_>| {
        let name = format!("{path}, converted");
        ConfError::wrong(&name, &text, mistakes)
    };
    Manifest::from_toml(&text, Reader::Design)
        .map(drop)
        .map_err(wrong)
}
