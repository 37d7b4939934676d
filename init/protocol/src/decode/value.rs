//! One value, and what it may be read as.

use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::{Problems, Table};
use crate::Millis;

/// One value of a file, and the key that names it (for an element, the key of
/// its array).
#[derive(Debug, Clone)]
pub struct Value<'t> {
    pub(super) key: &'t str,
    pub(super) key_span: Range<usize>,
    pub(super) raw: &'t Spanned<DeValue<'t>>,
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
            DeValue::Integer(number) if expected == "a string" => Some(number.to_string()),
            DeValue::Float(number) if expected == "a string" => Some(number.to_string()),
            DeValue::Boolean(truth) if expected == "a string" => Some(truth.to_string()),
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

    /// The digits if it is a decimal number, with or without a fraction.
    #[must_use]
    pub fn as_decimal(&self) -> Option<&str> {
        match self.raw.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            DeValue::Float(number) => Some(number.as_str()),
            DeValue::Integer(_)
            | DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        }
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

    /// A span of time.
    pub fn duration(&self, problems: &mut Problems) -> Option<Millis> {
        if let DeValue::Integer(number) = self.raw.get_ref() {
            let message = format!("`{}` must be a duration with its unit", self.key);
            problems.add_help(self.span(), message, format!("write \"{number}s\""));
            return None;
        }
        self.parsed(problems)
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
