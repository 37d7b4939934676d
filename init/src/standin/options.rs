//! Options as getopt(3) reads them, up to the first operand.

use std::collections::VecDeque;
use std::ffi::OsString;

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A letter, with its value where it has one.
    Option(char, String),
    /// A letter that is none.
    Unknown(String),
    /// A letter without the value that it needs.
    NoValue(char),
}

/// Reads options one by one.
pub(super) struct Options {
    rest: VecDeque<OsString>,
    /// Letters behind one dash that are not read yet.
    bundle: String,
    letters: &'static str,
    long: &'static [(&'static str, char)],
}

impl Options {
    /// `letters` as getopt has them, `:` behind those with a value.
    pub(super) fn new(
        arguments: impl Iterator<Item = OsString>,
        letters: &'static str,
        long: &'static [(&'static str, char)],
    ) -> Self {
        Self {
            rest: arguments.collect(),
            bundle: String::new(),
            letters,
            long,
        }
    }

    /// What is no option: the program and its arguments.
    pub(super) fn operands(self) -> Vec<OsString> {
        self.rest.into()
    }

    fn takes_value(&self, letter: char) -> Option<bool> {
        let at = self.letters.find(letter).filter(|_| letter != ':')?;
        let after = self.letters.get(at + letter.len_utf8()..)?;
        Some(after.starts_with(':'))
    }

    fn letter(&mut self) -> Found {
        let letter = self.bundle.remove(0);
        match self.takes_value(letter) {
            None => Found::Unknown(letter.to_string()),
            Some(false) => Found::Option(letter, String::new()),
            Some(true) => {
                let inline = std::mem::take(&mut self.bundle);
                self.value(letter, (!inline.is_empty()).then_some(inline))
            }
        }
    }

    fn value(&mut self, letter: char, inline: Option<String>) -> Found {
        let next = || {
            self.rest
                .pop_front()
                .map(|word| word.to_string_lossy().into_owned())
        };
        match inline.or_else(next) {
            Some(value) => Found::Option(letter, value),
            None => Found::NoValue(letter),
        }
    }

    fn long(&mut self, text: &str) -> Found {
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        // A beginning is enough where only one name has it.
        let exact = self.long.iter().find(|(known, _)| *known == name);
        let mut begin = self
            .long
            .iter()
            .filter(|(known, _)| known.starts_with(name));
        let found = exact.or_else(|| match (begin.next(), begin.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        });
        let Some((_, letter)) = found else {
            return Found::Unknown(format!("-{text}"));
        };
        if self.takes_value(*letter) == Some(true) {
            return self.value(*letter, inline);
        }
        Found::Option(*letter, String::new())
    }
}

impl Iterator for Options {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if !self.bundle.is_empty() {
            return Some(self.letter());
        }
        let word = self.rest.front()?.to_string_lossy().into_owned();
        let text = word.strip_prefix('-').filter(|text| !text.is_empty())?;
        self.rest.pop_front();
        match text.strip_prefix('-') {
            Some("") => None,
            Some(name) if !self.long.is_empty() => Some(self.long(name)),
            Some(_) | None => {
                text.clone_into(&mut self.bundle);
                Some(self.letter())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &[(&str, char)] = &[("rewrite", 'r'), ("verbose", 'v'), ("version", 'V')];

    fn read(words: &[&str]) -> (Vec<Found>, Vec<OsString>) {
        let arguments = words.iter().map(OsString::from);
        let mut options = Options::new(arguments, "cr:vV", LONG);
        let found = options.by_ref().collect();
        (found, options.operands())
    }

    fn option(letter: char, value: &str) -> Found {
        Found::Option(letter, value.to_owned())
    }

    #[test]
    fn options_end_at_the_first_operand_or_after_two_dashes() {
        let (found, operands) = read(&["-cv", "sh", "-c", "x"]);
        assert_eq!(found, [option('c', ""), option('v', "")]);
        assert_eq!(operands, ["sh", "-c", "x"]);
        let (found, operands) = read(&["-c", "--", "-v"]);
        assert_eq!(
            (found, operands),
            (vec![option('c', "")], vec![OsString::from("-v")])
        );
    }

    #[test]
    fn values_stand_in_the_word_or_after_it() {
        for words in [
            &["-r15:3"][..],
            &["-r", "15:3"],
            &["--rewrite", "15:3"],
            &["--rew=15:3"],
        ] {
            assert_eq!(read(words).0, [option('r', "15:3")], "{words:?}");
        }
        assert_eq!(read(&["-r"]).0, [Found::NoValue('r')]);
    }

    #[test]
    fn what_is_no_option_is_told() {
        assert_eq!(read(&["-x"]).0, [Found::Unknown("x".to_owned())]);
        assert_eq!(read(&["--ver"]).0, [Found::Unknown("-ver".to_owned())]);
    }
}
