//! `[image]`: what the image is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use holdall_image::Reference;
use holdall_protocol::decode::{Problems, Table, Value};

use crate::lock::is_package_name;

/// A value and its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    /// What.
    pub(crate) value: T,
    /// Where.
    pub(crate) span: Range<usize>,
}

/// `[image]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// `from`.
    pub(crate) from: At<Base>,
    /// `packages`, in the order of the file.
    pub(crate) packages: Vec<At<String>>,
    /// `copy`, in order; then what services' `templates` name of the context.
    pub(crate) copy: Vec<Copy>,
    /// `run`, in order.
    pub(crate) run: Vec<At<String>>,
    /// `env`: of the image, its services and its build steps.
    pub(crate) env: BTreeMap<String, String>,
    /// `labels`.
    pub(crate) labels: BTreeMap<String, String>,
}

/// `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing.
    Scratch,
    /// An image of the store.
    Reference(Reference),
    /// `oci:DIR[:TAG]`, an OCI layout.
    Layout {
        /// The folder.
        dir: PathBuf,
        /// Which of its images; the only one where none is said.
        tag: Option<String>,
    },
    /// `docker-archive:FILE`, as `docker save` writes it.
    Archive(PathBuf),
    /// `bootstrap:debian/SUITE`.
    Bootstrap {
        /// The release.
        suite: String,
    },
}

/// One entry of `copy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    /// A path of the context, without `..`; empty for all of it.
    pub(crate) from: At<PathBuf>,
    /// An absolute path in the image; below it if it ends with a slash and
    /// `from` is a file.
    pub(crate) to: At<String>,
    /// `user[:group]` of the image; root where none.
    pub(crate) owner: Option<At<String>>,
    /// Permissions of files; 0755 where the owner may execute, else 0644,
    /// where none. Folders are 0755.
    pub(crate) mode: Option<u32>,
}

impl Image {
    /// Reads the table, reporting whatever is wrong with it.
    pub(crate) fn read(mut table: Table<'_>, problems: &mut Problems) -> Option<Self> {
        let from = table
            .required("from", problems)
            .and_then(|value| base(&value, problems));
        let packages = table
            .take("packages")
            .map(|value| packages(&value, problems));
        let copy = table.take("copy").map(|value| copies(&value, problems));
        let run = table.take("run").map(|value| commands(&value, problems));
        let env = table.take("env").map(|value| pairs(&value, problems));
        let labels = table.take("labels").map(|value| pairs(&value, problems));
        table.finish(&[], problems);
        let packages = packages.unwrap_or_default();
        let from = from?;
        if from.value == Base::Scratch
            && let Some(first) = packages.first()
        {
            problems.add_help(
                first.span.clone(),
                "`packages` need a base with apt, and `from` is scratch",
                "write `from = \"bootstrap:debian/bookworm\"`",
            );
        }
        Some(Self {
            from,
            packages,
            copy: copy.unwrap_or_default(),
            run: run.unwrap_or_default(),
            env: env.unwrap_or_default(),
            labels: labels.unwrap_or_default(),
        })
    }

    /// The names of `packages`.
    pub(crate) fn package_names(&self) -> Vec<String> {
        self.packages
            .iter()
            .map(|package| package.value.clone())
            .collect()
    }
}

fn base(value: &Value<'_>, problems: &mut Problems) -> Option<At<Base>> {
    let text = value.string(problems)?;
    let span = value.span();
    match parse_base(text) {
        Ok(value) => Some(At { value, span }),
        Err((message, help)) => {
            problems.add_help(span, message, help);
            None
        }
    }
}

const KINDS: &str = "write `scratch`, an image of `holdall images`, `oci:DIR[:TAG]`, \
                     `docker-archive:FILE` or `bootstrap:debian/SUITE`";

fn parse_base(text: &str) -> Result<Base, (String, &'static str)> {
    if text == "scratch" {
        return Ok(Base::Scratch);
    }
    if let Some(rest) = text.strip_prefix("bootstrap:") {
        let help = "write `bootstrap:debian/bookworm`";
        let Some(suite) = rest.strip_prefix("debian/") else {
            return Err((
                format!("can't bootstrap {rest:?}: only Debian is known"),
                help,
            ));
        };
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !suite.starts_with(|c: char| c.is_ascii_lowercase()) || !suite.chars().all(letter) {
            return Err((format!("{suite:?} is no release of Debian"), help));
        }
        return Ok(Base::Bootstrap {
            suite: suite.to_owned(),
        });
    }
    if let Some(rest) = text.strip_prefix("oci:") {
        let (dir, tag) = match rest.rsplit_once(':') {
            Some((dir, tag)) if !tag.contains('/') => (dir, Some(tag)),
            Some(_) | None => (rest, None),
        };
        if dir.is_empty() || tag.is_some_and(str::is_empty) {
            return Err((
                format!("{text:?} names no folder"),
                "write `oci:DIR` or `oci:DIR:TAG`",
            ));
        }
        return Ok(Base::Layout {
            dir: dir.into(),
            tag: tag.map(str::to_owned),
        });
    }
    if let Some(file) = text.strip_prefix("docker-archive:") {
        if file.is_empty() {
            return Err((
                format!("{text:?} names no file"),
                "write `docker-archive:FILE`",
            ));
        }
        return Ok(Base::Archive(file.into()));
    }
    if text.starts_with("docker:") {
        return Err(("bases from a registry are not built yet".to_owned(), KINDS));
    }
    match text.parse::<Reference>() {
        Ok(reference) => Ok(Base::Reference(reference)),
        Err(error) => Err((error.to_string(), KINDS)),
    }
}

fn packages(value: &Value<'_>, problems: &mut Problems) -> Vec<At<String>> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for element in value.array(problems).unwrap_or_default() {
        let Some(name) = element.string(problems) else {
            continue;
        };
        if !is_package_name(name) {
            problems.add(element.span(), format!("{name:?} is no name of a package"));
        } else if seen.insert(name) {
            names.push(At {
                value: name.to_owned(),
                span: element.span(),
            });
        } else {
            problems.add(
                element.span(),
                format!("package {name:?} stands there twice"),
            );
        }
    }
    names
}

fn commands(value: &Value<'_>, problems: &mut Problems) -> Vec<At<String>> {
    let mut commands = Vec::new();
    for element in value.array(problems).unwrap_or_default() {
        let Some(command) = element.string(problems) else {
            continue;
        };
        if command.trim().is_empty() {
            problems.add(element.span(), "a command of `run` is empty");
        } else {
            commands.push(At {
                value: command.to_owned(),
                span: element.span(),
            });
        }
    }
    commands
}

fn pairs(value: &Value<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for entry in value
        .table(problems)
        .map(Table::entries)
        .unwrap_or_default()
    {
        let name = entry.key();
        if name.is_empty() || name.contains(['=', '\0']) {
            problems.add(entry.key_span(), format!("{name:?} can't be a name here"));
        } else if let Some(text) = entry.string(problems) {
            pairs.insert(name.to_owned(), text.to_owned());
        }
    }
    pairs
}

fn copies(value: &Value<'_>, problems: &mut Problems) -> Vec<Copy> {
    let elements = value.array(problems).unwrap_or_default();
    let tables = elements.into_iter().filter_map(|element| {
        let table = element.table(problems)?;
        copy(table, problems)
    });
    tables.collect()
}

fn copy(mut table: Table<'_>, problems: &mut Problems) -> Option<Copy> {
    let from = table
        .required("from", problems)
        .and_then(|value| source(&value, problems));
    let to = table
        .required("to", problems)
        .and_then(|value| target(&value, problems));
    let owner = table.take("owner").and_then(|value| {
        let owner = value.string(problems)?.to_owned();
        if owner.is_empty() {
            problems.add(value.span(), "`owner` is empty");
        }
        Some(At {
            value: owner,
            span: value.span(),
        })
    });
    let mode = table
        .take("mode")
        .and_then(|value| permissions(&value, problems));
    table.finish(&["exclude", "link", "parents"], problems);
    Some(Copy {
        from: from?,
        to: to?,
        owner,
        mode,
    })
}

fn source(value: &Value<'_>, problems: &mut Problems) -> Option<At<PathBuf>> {
    let text = value.string(problems)?;
    let span = value.span();
    let help = "a build reads only files below the folder it is given";
    if text.is_empty() || text.starts_with('/') {
        problems.add_help(
            span,
            format!("`from` must be a path of the context, not {text:?}"),
            help,
        );
        return None;
    }
    let mut path = PathBuf::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                problems.add_help(
                    span,
                    format!("`from` may not leave the context: {text:?}"),
                    help,
                );
                return None;
            }
            name => path.push(name),
        }
    }
    Some(At { value: path, span })
}

fn target(value: &Value<'_>, problems: &mut Problems) -> Option<At<String>> {
    let text = value.string(problems)?;
    let span = value.span();
    if !text.starts_with('/') {
        let help = format!("write \"/{}\"", text.trim_start_matches("./"));
        problems.add_help(
            span,
            format!("`to` must be an absolute path, not {text:?}"),
            help,
        );
        return None;
    }
    if text.split('/').any(|part| part == "..") {
        problems.add(span, format!("`to` may not have `..` in it: {text:?}"));
        return None;
    }
    Some(At {
        value: text.to_owned(),
        span,
    })
}

/// An octal number, as a string as in `chmod`, or as TOML's own `0o644`. A
/// decimal 644 is refused: it would be 01204.
fn permissions(value: &Value<'_>, problems: &mut Problems) -> Option<u32> {
    let number = match (value.as_str(), value.as_integer()) {
        (Some(text), _) => u32::from_str_radix(text, 8).ok(),
        (None, Some((number, 8))) => u32::try_from(number).ok(),
        (None, _) => None,
    };
    let number = number.filter(|mode| *mode <= 0o7777);
    if number.is_none() {
        problems.add(value.span(), "`mode` must be octal, like \"0644\"");
    }
    number
}
