//! The errors of a file, collected.

use std::ops::Range;

use crate::diagnostic::Diagnostic;
use crate::suggest;

/// The most unknown words of a file that are compared with all known ones:
/// 10,000 words with 10,000 would take minutes.
const MAX_SUGGESTIONS: usize = 20;

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
