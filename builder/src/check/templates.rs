//! Templates against the files and variables of the image: that they are
//! there, that each place can be filled in, and by what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use holdall_image::Tree;
use holdall_image::root::Kind;
use holdall_image::tree::TreeError;
use holdall_protocol::diagnostic::Diagnostic;
use holdall_protocol::manifest::{EnvFile, Manifest, Service};
use holdall_protocol::template::{self, Otherwise};

use super::{Finding, Problem};
use crate::toml::{FOLDER, under_each_profile};

/// The largest template that init reads, in bytes.
const MAX_TEMPLATE: u64 = 1024 * 1024;

/// The largest file of variables that init reads, in bytes.
const MAX_ENV_FILE: u64 = 1024 * 1024;

/// What init sets for every service: HOME, and its name. Every engine sets
/// HOSTNAME.
const ALWAYS: [&str; 4] = ["PATH", "HOME", "HOSTNAME", "HOLDALL_SERVICE"];

/// The variables of one service under any profile.
#[derive(Debug, Default)]
struct Variables {
    known: BTreeSet<String>,
    /// It reads a file that is not in the image: any may be set.
    any: bool,
}

/// What is wrong with the templates of all services. What is wrong in a
/// template's own text comes back with its place there, the rest goes to `add`
/// with the service.
pub(super) fn check(
    manifest: &Manifest,
    tree: &Tree,
    of_image: &[(String, String)],
    add: &mut dyn FnMut(&str, Problem),
) -> Result<Vec<Finding>, TreeError> {
    let variants = under_each_profile(manifest);
    let services = || variants.iter().flat_map(|manifest| &manifest.services);
    let mut variables: BTreeMap<&str, Variables> = BTreeMap::new();
    for service in services().filter(|service| !service.templates.is_empty()) {
        let of = variables.entry(service.name.service()).or_default();
        of.add(service, tree)?;
    }
    let names = of_image.iter().map(|(name, _)| name.as_str());
    let of_image: BTreeSet<&str> = names.chain(ALWAYS).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for service in services() {
        let name = service.name.service();
        for template in &service.templates {
            if !seen.insert((name, &template.from)) {
                continue;
            }
            let path = Path::new(FOLDER).join(&template.from);
            if services().any(|service| service.volumes.iter().any(|v| path.starts_with(v))) {
                continue;
            }
            let text = match read(tree, &path)? {
                Ok(text) => text,
                Err(problem) => {
                    add(name, problem);
                    continue;
                }
            };
            let of = variables.get(name);
            let known = |name: &str| {
                let own = of.is_some_and(|of| of.any || of.known.contains(name));
                own || of_image.contains(name)
            };
            let wrong = places(&text, &known);
            let text = String::from_utf8_lossy(&text);
            found.extend(
                wrong
                    .iter()
                    .map(|wrong| Finding::new(&template.from, &text, wrong)),
            );
        }
    }
    Ok(found)
}

impl Variables {
    fn add(&mut self, service: &Service, tree: &Tree) -> Result<(), TreeError> {
        self.known.extend(service.env.keys().cloned());
        if service.user.is_some() {
            self.known.extend(["USER", "LOGNAME"].map(str::to_owned));
        }
        if service.name.number().is_some() {
            self.known.insert("HOLDALL_INSTANCE".to_owned());
        }
        for EnvFile { path, .. } in &service.env_files {
            match file(tree, Path::new(path), MAX_ENV_FILE)? {
                Some(text) => self.known.extend(assigned(&text)),
                None => self.any = true,
            }
        }
        Ok(())
    }
}

/// The names that a file of `NAME=value` lines sets.
fn assigned(text: &[u8]) -> Vec<String> {
    let lines = text.split(|byte| *byte == b'\n');
    let name = |line: &[u8]| {
        let line = line.trim_ascii_start();
        let equals = line.iter().position(|byte| *byte == b'=')?;
        let name = line.get(..equals)?;
        (!line.starts_with(b"#")).then(|| String::from_utf8_lossy(name).into_owned())
    };
    lines.filter_map(name).collect()
}

fn read(tree: &Tree, path: &Path) -> Result<Result<Vec<u8>, Problem>, TreeError> {
    if let Some(text) = file(tree, path, MAX_TEMPLATE)? {
        return Ok(Ok(text));
    }
    let shown = path.display();
    let problem = match tree.lookup(path)? {
        None => Problem::new(format!("the image has no template {shown}"))
            .help("copy it there, or give a path of the context, without a slash in front"),
        Some(entry) if entry.metadata.kind == Kind::File => Problem::new(format!(
            "template {shown} is larger than 1 MiB, which init does not read"
        )),
        Some(_) => Problem::new(format!("template {shown} is not a file")),
    };
    Ok(Err(problem))
}

/// A file of at most so many bytes, if it is one.
fn file(tree: &Tree, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TreeError> {
    match tree.lookup(path)? {
        Some(entry) if entry.metadata.kind == Kind::File && entry.metadata.size <= limit => {
            tree.read(&entry.path, limit)
        }
        Some(_) | None => Ok(None),
    }
}

/// What is wrong with the places of a text.
fn places(text: &[u8], known: &dyn Fn(&str) -> bool) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    for place in template::places(text) {
        let (span, message, help) = match place {
            Err((span, malformed)) => (span, malformed.to_string(), None),
            Ok(place) if place.otherwise == Otherwise::Nothing && !known(place.name) => {
                let name = place.name;
                let help = format!(
                    "set it in `env`, or write ${{{name}:-default}}, or ${{{name}:?message}} \
                     where it is given at the start"
                );
                let message = format!("nothing sets the variable {name}");
                (place.span, message, Some(help))
            }
            Ok(_) => continue,
        };
        wrong.push(Diagnostic {
            message,
            span,
            help,
        });
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_nothing_sets_is_an_error_with_its_place() {
        let text = "listen ${PORT};\n  root ${ROOT} ${LEVEL:-info} ${KEY:?give it}; ${x y}\n";
        let wrong = places(text.as_bytes(), &|name| name == "PORT");
        let shown: Vec<String> = wrong
            .iter()
            .map(|wrong| Finding::new("nginx.tpl", text, wrong).to_string())
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        nginx.tpl:2:8: nothing sets the variable ROOT
          |
        2 |   root ${ROOT} ${LEVEL:-info} ${KEY:?give it}; ${x y}
          |        ^^^^^^^
          = help: set it in `env`, or write ${ROOT:-default}, or ${ROOT:?message} where it is given at the start
        nginx.tpl:2:48: `${x y}` is neither ${VAR} nor ${VAR:-default} nor ${VAR:?message}
          |
        2 |   root ${ROOT} ${LEVEL:-info} ${KEY:?give it}; ${x y}
          |                                                ^^^^^^
        ");
    }

    #[test]
    fn the_names_of_a_file_of_variables_are_those_before_the_equals_signs() {
        let names = assigned(b"# A=1\n\nB=2\n  C=3=4\nnothing\n");
        assert_eq!(names, ["B", "C"]);
    }
}
