//! The files of a configuration, and what is wrong in them.

use std::io;

use holdall_protocol::Diagnostic;
use holdall_protocol::diagnostic::{self, Problem};

use crate::expand::Variables;
use crate::glob;
use crate::ini::{Ini, Place};

/// Where files come from. This crate reads none itself.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// It can't be read.
    fn read(&mut self, path: &str) -> io::Result<String>;

    /// The names in a folder; none where it can't be read.
    fn names(&mut self, folder: &str) -> Vec<String>;
}

/// Why a configuration can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// The file itself.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is wrong.
    #[error("{text}")]
    Wrong {
        /// Every mistake, with its place and its line.
        text: String,
        /// The same for programs, each with the path of its file.
        problems: Vec<(String, Problem)>,
    },
}

impl ConfError {
    /// What is wrong in one file.
    pub(crate) fn wrong(path: &str, text: &str, mistakes: Vec<Diagnostic>) -> Self {
        let rendered = diagnostic::render(path, text, &mistakes);
        let problems = diagnostic::problems(text, mistakes).into_iter();
        Self::Wrong {
            text: rendered,
            problems: problems.map(|one| (path.to_owned(), one)).collect(),
        }
    }
}

/// One file that was read.
#[derive(Debug)]
struct Source {
    path: String,
    text: String,
}

/// Every file that was read, and what is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: Vec<Source>,
    mistakes: Vec<(usize, Diagnostic)>,
}

/// More files than anybody has, and few enough to be read at a start.
const MAX_FILES: usize = 1000;

impl Sources {
    /// Says that something is wrong.
    pub(crate) fn wrong(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let message = message.into();
        let span = place.span.clone();
        self.mistakes.push((
            place.file,
            Diagnostic {
                message,
                span,
                help,
            },
        ));
    }

    /// `path:line` of a place.
    pub(crate) fn line_of(&self, place: &Place) -> String {
        let Some(file) = self.files.get(place.file) else {
            return String::new();
        };
        let before = file.text.get(..place.span.start).unwrap_or(&file.text);
        format!("{}:{}", file.path, before.matches('\n').count() + 1)
    }

    /// Nothing is wrong, or else everything that is.
    pub(crate) fn verdict(&mut self) -> Result<(), ConfError> {
        if self.mistakes.is_empty() {
            return Ok(());
        }
        let (mut all, mut problems) = (String::new(), Vec::new());
        for (number, Source { path, text: source }) in self.files.iter().enumerate() {
            let mut own: Vec<Diagnostic> = self
                .mistakes
                .iter()
                .filter(|(file, _)| *file == number)
                .map(|(_, mistake)| mistake.clone())
                .collect();
            own.sort_by_key(|mistake| mistake.span.start);
            own.dedup();
            if let ConfError::Wrong {
                text,
                problems: more,
            } = ConfError::wrong(path, source, own)
            {
                all.push_str(&text);
                problems.extend(more);
            }
        }
        Err(ConfError::Wrong {
            text: all,
            problems,
        })
    }

    /// Reads the file and what it includes. Gives the patterns that fit no file.
    pub(crate) fn read(
        &mut self,
        path: &str,
        files: &mut dyn Files,
        variables: &Variables,
        ini: &mut Ini,
    ) -> Result<Vec<(Place, String)>, ConfError> {
        let text = files.read(path).map_err(|source| ConfError::Read {
            path: path.to_owned(),
            source,
        })?;
        self.take(ini, path, text);
        let Some(include) = ini.section("include") else {
            return Ok(Vec::new());
        };
        let folder = folder(path).to_owned();
        let Some(entry) = ini.entry(include, "files").cloned() else {
            let place = include.place.clone();
            self.wrong(&place, "[include] has no `files`", None);
            return Ok(Vec::new());
        };
        ini.fill_here(&folder);
        let patterns = entry.value.replace("%(here)s", &folder);
        let patterns = match crate::expand::expand(&patterns, variables) {
            Ok(patterns) => patterns,
            Err(error) => {
                self.wrong(&entry.place, error.to_string(), None);
                return Ok(Vec::new());
            }
        };
        let mut in_vain = Vec::new();
        for pattern in patterns.split_whitespace() {
            let found = glob::files(&join(&folder, pattern), files);
            if found.is_empty() {
                in_vain.push((entry.place.clone(), pattern.to_owned()));
            }
            for path in found {
                if self.files.len() >= MAX_FILES {
                    let message = format!("more than {MAX_FILES} files are included");
                    self.wrong(&entry.place, message, None);
                    return Ok(in_vain);
                }
                // What can't be read is passed over, as supervisord does.
                match files.read(&path) {
                    Ok(text) => {
                        self.take(ini, &path, text);
                        ini.fill_here(crate::sources::folder(&path));
                    }
                    Err(_) => in_vain.push((entry.place.clone(), path)),
                }
            }
        }
        Ok(in_vain)
    }

    fn take(&mut self, ini: &mut Ini, path: &str, text: String) {
        let number = self.files.len();
        for misfit in ini.read(number, &text) {
            self.wrong(&misfit.place, misfit.message, None);
        }
        let path = path.to_owned();
        self.files.push(Source { path, text });
    }
}

/// The folder of a file.
pub(crate) fn folder(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => ".",
    }
}

/// A path as seen from a folder.
pub(crate) fn join(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    format!("{}/{path}", folder.trim_end_matches('/'))
}
