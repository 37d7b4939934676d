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

use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::suggest;

/// The longest text that is read, in bytes. Ten thousand services fit; what is
/// beyond it is a mistake or an attack on memory.
pub const MAX_TEXT: usize = 4 * 1024 * 1024;

/// The most syntax errors that are reported: after the first few, most follow
/// from those before.
const MAX_SYNTAX: usize = 10;

/// The most unknown words of a file that are compared with all known ones:
/// 10,000 words with 10,000 would take minutes.
const MAX_SUGGESTIONS: usize = 20;

/// The errors found so far.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Diagnostic>,
    suggestions: usize,
}

impl Problems {
    /// Adds one.
    pub fn add(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.push(span, message.into(), None);
    }

    /// Adds one that says what to do about it.
    pub fn add_help(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(span, message.into(), Some(help.into()));
    }

    /// Adds one about a word that is none of `known`: with a did-you-mean, or
    /// else with all of them if they are few.
    pub fn add_unknown<'k>(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        word: &str,
        known: impl IntoIterator<Item = &'k str> + Clone,
    ) {
        self.suggestions += 1;
        let mut help = None;
        if self.suggestions <= MAX_SUGGESTIONS {
            help =
                suggest::closest(word, known.clone()).map(|near| format!("did you mean `{near}`?"));
        }
        if help.is_none() {
            let few: Vec<String> = known
                .into_iter()
                .take(6)
                .map(|k| format!("`{k}`"))
                .collect();
            help = match few.as_slice() {
                [] | [_, _, _, _, _, _, ..] => None,
                [only] => Some(format!("there is only {only}")),
                [init @ .., last] => Some(format!("there are {} and {last}", init.join(", "))),
            };
        }
        self.push(span, message.into(), help);
    }

    fn push(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        let help = help.map(shortened);
        self.found.push(Diagnostic {
            message: shortened(message),
            span,
            help,
        });
    }

    /// Whether none was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them in the order of the file.
    #[must_use]
    pub fn sorted(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|diagnostic| diagnostic.span.start);
        self.found
    }
}

/// The most characters of a message: words of the file stand in it, and they
/// may be long.
const MAX_MESSAGE: usize = 300;

fn shortened(mut message: String) -> String {
    if let Some((cut, _)) = message.char_indices().nth(MAX_MESSAGE) {
        message.truncate(cut);
        message.push('…');
    }
    message
}

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
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(Document { root });
    }
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

    /// Every entry in the order of the file, for a table whose keys are the
    /// user's own.
    #[must_use]
    pub fn entries(self) -> Vec<Value<'t>> {
        self.entries.into_iter().map(|(value, _)| value).collect()
    }

    /// Whether a key was asked for.
    #[must_use]
    pub fn knows(&self, key: &str) -> bool {
        self.known.contains(&key)
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
            } else {
                let known = self.known.iter().copied();
                problems.add_unknown(span, format!("unknown key `{key}`"), key, known);
            }
        }
    }
}

/// One value of a file, and the key that names it (for an element, the key of
/// its array).
#[derive(Debug, Clone)]
pub struct Value<'t> {
    key: &'t str,
    key_span: Range<usize>,
    raw: &'t Spanned<DeValue<'t>>,
}

impl<'t> Value<'t> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &'t str {
        self.key
    }

    /// Where the key stands.
    #[must_use]
    pub fn key_span(&self) -> Range<usize> {
        self.key_span.clone()
    }

    /// Where the value stands.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.raw.span()
    }

    /// What it is, for a message: `a string`, `an array`.
    #[must_use]
    pub fn found(&self) -> &'static str {
        match self.raw.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    /// Reports that the value is not what was `expected` (`a string`).
    pub fn wrong_type(&self, expected: &str, problems: &mut Problems) {
        let Self { key, .. } = self;
        let message = format!("`{key}` must be {expected}, not {}", self.found());
        let quoted = match self.raw.get_ref() {
            DeValue::Integer(number) if expected.contains("string") => Some(number.to_string()),
            DeValue::Float(number) if expected.contains("string") => Some(number.to_string()),
            DeValue::Boolean(truth) if expected.contains("string") => Some(truth.to_string()),
            _ => None,
        };
        match quoted {
            Some(text) => problems.add_help(self.span(), message, format!("write \"{text}\"")),
            None => problems.add(self.span(), message),
        }
    }

    /// The value if it is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&'t str> {
        self.raw.get_ref().as_str()
    }

    /// The value if it is an integer that fits, and the base it is written in
    /// (2, 8, 10 or 16).
    #[must_use]
    pub fn as_integer(&self) -> Option<(i64, u32)> {
        let number = self.raw.get_ref().as_integer()?;
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
        Some((value, number.radix()))
    }

    /// The elements if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<Vec<Self>> {
        let elements: &DeArray<'t> = self.raw.get_ref().as_array()?;
        let element = |raw: &'t Spanned<DeValue<'t>>| Self {
            key: self.key,
            key_span: raw.span(),
            raw,
        };
        Some(elements.iter().map(element).collect())
    }

    /// The table if it is one.
    #[must_use]
    pub fn as_table(&self) -> Option<Table<'t>> {
        // The span of a table made of headers is that of the last of them;
        // the key names it in every form.
        let table = self.raw.get_ref().as_table()?;
        Some(Table::new(table, self.key_span()))
    }

    /// A string, without NUL.
    pub fn string(&self, problems: &mut Problems) -> Option<&'t str> {
        let Some(text) = self.as_str() else {
            self.wrong_type("a string", problems);
            return None;
        };
        if text.contains('\0') {
            problems.add(self.span(), format!("`{}` has a NUL byte", self.key));
            return None;
        }
        Some(text)
    }

    /// A string that means something: its own parser says what is wrong with
    /// it.
    pub fn parsed<T>(&self, problems: &mut Problems) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.string(problems)?;
        text.parse()
            .map_err(|error: T::Err| problems.add(self.span(), error.to_string()))
            .ok()
    }

    /// One word of a few.
    pub fn word<T: Copy>(&self, words: &[(&'static str, T)], problems: &mut Problems) -> Option<T> {
        let text = self.string(problems)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known = words.iter().map(|(word, _)| *word);
            let message = format!("`{}` can't be {text:?}", self.key);
            problems.add_unknown(self.span(), message, text, known);
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// True or false.
    pub fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        let truth = self.raw.get_ref().as_bool();
        if truth.is_none() {
            self.wrong_type("true or false", problems);
        }
        truth
    }

    /// An integer within bounds.
    pub fn integer<T>(
        &self,
        range: std::ops::RangeInclusive<T>,
        problems: &mut Problems,
    ) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        if self.raw.get_ref().as_integer().is_none() {
            self.wrong_type("an integer", problems);
            return None;
        }
        let number = self
            .as_integer()
            .and_then(|(value, _)| T::try_from(value).ok());
        let number = number.filter(|value| range.contains(value));
        if number.is_none() {
            let message = format!(
                "`{}` must be {} to {}",
                self.key,
                range.start(),
                range.end()
            );
            problems.add(self.span(), message);
        }
        number
    }

    /// An array's elements.
    pub fn array(&self, problems: &mut Problems) -> Option<Vec<Self>> {
        let elements = self.as_array();
        if elements.is_none() {
            self.wrong_type("an array", problems);
        }
        elements
    }

    /// An array of strings, those that are none left out and reported.
    pub fn strings(&self, problems: &mut Problems) -> Option<Vec<&'t str>> {
        let elements = self.array(problems)?;
        Some(
            elements
                .iter()
                .filter_map(|element| element.string(problems))
                .collect(),
        )
    }

    /// A table.
    pub fn table(&self, problems: &mut Problems) -> Option<Table<'t>> {
        let table = self.as_table();
        if table.is_none() {
            self.wrong_type("a table", problems);
        }
        table
    }
}
