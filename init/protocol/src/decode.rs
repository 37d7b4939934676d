//! A typed walk over a TOML file that keeps the place of every value, notices
//! every key that nobody asked for, and collects all errors instead of
//! stopping at the first.
//!
//! ```
//! use holdall_protocol::decode::{self, Problems};
//!
//! let document = decode::parse("[image]\nfrm = 'scratch'").unwrap();
//! let mut problems = Problems::default();
//! let mut root = document.root();
//! let image = root.take("image").and_then(|value| value.table(&mut problems));
//! if let Some(mut image) = image {
//!     let from = image.required("from", &mut problems);
//!     let _from = from.and_then(|value| value.string(&mut problems));
//!     image.finish(&["platform"], &mut problems);
//! }
//! root.finish(&[], &mut problems);
//! let messages: Vec<_> = problems.sorted().into_iter().map(|p| p.message).collect();
//! assert_eq!(messages, ["missing key `from`", "unknown key `frm`"]);
//! ```

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use crate::diagnostic::Diagnostic;

mod problems;
mod value;

pub use problems::Problems;
pub use value::Value;

/// The longest text that is read, in bytes. Ten thousand services fit; what is
/// beyond it is a mistake or an attack on memory.
pub const MAX_TEXT: usize = 4 * 1024 * 1024;

/// The longest text, in bytes, of which more than the first syntax error is
/// looked for: the parser keeps them all, and a megabyte of `=` is a million.
const MAX_RECOVERED: usize = 64 * 1024;

/// The most syntax errors that are reported: after the first few, most follow
/// from those before.
const MAX_SYNTAX: usize = 10;

/// A TOML file whose syntax is right.
#[derive(Debug)]
pub struct Document<'t> {
    root: Spanned<DeTable<'t>>,
}

/// Reads a text as TOML.
///
/// # Errors
/// What is wrong with its syntax, the first few errors in file order.
pub fn parse(text: &str) -> Result<Document<'_>, Vec<Diagnostic>> {
    let mut problems = Problems::default();
    if text.len() > MAX_TEXT {
        let limit = MAX_TEXT / 1024 / 1024;
        problems.add(0..0, format!("file is longer than {limit} MiB"));
    } else if let Some(at) = text.find('\0') {
        problems.add(at..at + 1, "file has a NUL byte");
    }
    if !problems.is_empty() {
        return Err(problems.sorted());
    }
    let errors = match DeTable::parse(text) {
        Ok(root) => return Ok(Document { root }),
        Err(_) if text.len() <= MAX_RECOVERED => DeTable::parse_recoverable(text).1,
        Err(first) => vec![first],
    };
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        problems.add(span, lowered(error.message()));
    }
    let mut sorted = problems.sorted();
    sorted.truncate(MAX_SYNTAX);
    Err(sorted)
}

/// The parser's words in our grammar: a lower-case first letter.
fn lowered(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

impl Document<'_> {
    /// The file's own table.
    #[must_use]
    pub fn root(&self) -> Table<'_> {
        Table::new(self.root.get_ref(), self.root.span())
    }
}

/// A table that is being read: [`take`](Self::take) what is known, then
/// [`finish`](Self::finish).
#[derive(Debug)]
pub struct Table<'t> {
    span: Range<usize>,
    entries: Vec<(Value<'t>, bool)>,
    known: Vec<&'static str>,
    elsewhere: &'static [(&'static str, &'static str)],
}

impl<'t> Table<'t> {
    fn new(table: &'t DeTable<'t>, span: Range<usize>) -> Self {
        let entry = |(key, value): (&'t Spanned<_>, &'t Spanned<_>)| {
            (
                Value {
                    key: AsRef::<str>::as_ref(key.get_ref()),
                    key_span: key.span(),
                    raw: value,
                },
                false,
            )
        };
        let mut entries: Vec<_> = table.iter().map(entry).collect();
        entries.sort_by_key(|(value, _)| value.key_span.start);
        Self {
            span,
            entries,
            known: Vec::new(),
            elsewhere: &[],
        }
    }

    /// Where the table stands: its header, or its braces.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of a key, which is known from now on.
    pub fn take(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.known.push(key);
        let (value, taken) = self
            .entries
            .iter_mut()
            .find(|(value, _)| value.key == key)?;
        *taken = true;
        Some(value.clone())
    }

    /// The value of a key that must be there.
    pub fn required(&mut self, key: &'static str, problems: &mut Problems) -> Option<Value<'t>> {
        let value = self.take(key);
        if value.is_none() {
            problems.add(self.span(), format!("missing key `{key}`"));
        }
        value
    }

    /// Names that other tools have for keys of this table, with ours: people
    /// bring them along.
    pub fn elsewhere(&mut self, names: &'static [(&'static str, &'static str)]) {
        self.elsewhere = names;
    }

    /// Every entry in the order of the file, to look at.
    pub fn values(&self) -> impl Iterator<Item = &Value<'t>> {
        self.entries.iter().map(|(value, _)| value)
    }

    /// Every entry in the order of the file, for a table whose keys are the
    /// user's own.
    #[must_use]
    pub fn entries(self) -> Vec<Value<'t>> {
        self.entries.into_iter().map(|(value, _)| value).collect()
    }

    /// Reports each key that was not taken: by name if it is one of
    /// `not_built` (part of the design, not of this release), and else as
    /// unknown, with a did-you-mean.
    pub fn finish(self, not_built: &[&'static str], problems: &mut Problems) {
        for (value, _) in self.entries.iter().filter(|(_, taken)| !taken) {
            let Value { key, key_span, .. } = value;
            let span = key_span.clone();
            if not_built.contains(key) {
                problems.add_help(
                    span,
                    format!("key `{key}` is not built yet"),
                    "leave it out: this release does not know what to do with it",
                );
                continue;
            }
            let message = format!("unknown key `{key}`");
            match self.elsewhere.iter().find(|(theirs, _)| theirs == key) {
                Some((_, ours)) => problems.add_help(span, message, format!("here it is `{ours}`")),
                None => problems.add_unknown(span, message, key, self.known.iter().copied()),
            }
        }
    }
}
