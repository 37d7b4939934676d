//! Errors of a file, each with its place.

use std::fmt::Write as _;
use std::ops::Range;

use serde::Serialize;

/// One error of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong: lower case, no period.
    pub message: String,
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What to do about it.
    pub help: Option<String>,
}

/// The most errors that are printed; how many more there are is said.
const MAX_PRINTED: usize = 50;

/// The most columns of a line that are printed around an error: a file may be
/// one line of a megabyte.
const MAX_COLUMNS: usize = 110;

/// How much is kept in front of an error that lies beyond [`MAX_COLUMNS`].
const LEAD: usize = 40;

/// The errors of a file as people read them: `path:line:column`, the line, a
/// caret, and `help:` where there is one.
#[must_use]
pub fn render(path: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    let starts = line_starts(text);
    for diagnostic in diagnostics.iter().take(MAX_PRINTED) {
        let place = Place::of(text, &starts, &diagnostic.span);
        let Place { line, column, .. } = place;
        let _infallible = writeln!(out, "{path}:{line}:{column}: {}", diagnostic.message);
        place.show(&mut out, diagnostic.help.as_deref());
    }
    let more = diagnostics.len().saturating_sub(MAX_PRINTED);
    if more > 0 {
        let _infallible = writeln!(out, "{path}: and {more} more errors");
    }
    out
}

/// One error of a file, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The errors of a file as programs read them.
#[must_use]
pub fn problems(text: &str, diagnostics: Vec<Diagnostic>) -> Vec<Problem> {
    let starts = line_starts(text);
    let problem = |diagnostic: Diagnostic| {
        let place = Place::of(text, &starts, &diagnostic.span);
        Problem {
            line: place.line,
            column: place.column,
            message: diagnostic.message,
            help: diagnostic.help,
        }
    };
    diagnostics.into_iter().map(problem).collect()
}

/// The byte at which every line begins.
fn line_starts(text: &str) -> Vec<usize> {
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
    std::iter::once(0)
        .chain(ends.map(|(at, _)| at + 1))
        .collect()
}

/// A span in terms of lines and columns, both counted from 1, columns in
/// characters.
struct Place<'t> {
    line: usize,
    column: usize,
    text: &'t str,
    width: usize,
}

impl<'t> Place<'t> {
    fn of(text: &'t str, starts: &[usize], span: &Range<usize>) -> Self {
        let line = starts.partition_point(|start| *start <= span.start);
        let start = line
            .checked_sub(1)
            .and_then(|at| starts.get(at))
            .copied()
            .unwrap_or(0);
        let rest = text.get(start..).unwrap_or("");
        let end = rest.find('\n').unwrap_or(rest.len());
        let shown = rest.get(..end).unwrap_or("").trim_end_matches('\r');
        let mut column = 1;
        let mut width = 0;
        for (at, _) in shown.char_indices() {
            if start + at < span.start {
                column += 1;
            } else if start + at < span.end {
                width += 1;
            }
        }
        Self {
            line: line.max(1),
            column,
            text: shown,
            width: width.max(1),
        }
    }

    fn show(&self, out: &mut String, help: Option<&str>) {
        let cut = self.column > MAX_COLUMNS - LEAD && self.text.len() > MAX_COLUMNS;
        let skip = if cut {
            self.column.saturating_sub(LEAD)
        } else {
            0
        };
        let window = self.text.chars().skip(skip).take(MAX_COLUMNS);
        let visible: String = window
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let lead = self.column - 1 - skip;
        let width = self
            .width
            .min(visible.chars().count().saturating_sub(lead))
            .max(1);
        let number = self.line.to_string();
        let gutter = number.len();
        let _infallible = write!(
            out,
            "{:gutter$} |\n{number} | {}\n{:gutter$} | {:lead$}{}\n",
            "",
            visible.trim_end(),
            "",
            "",
            "^".repeat(width),
        );
        if let Some(help) = help {
            let _infallible = writeln!(out, "{:gutter$} = help: {help}", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(span: Range<usize>) -> Vec<Diagnostic> {
        vec![Diagnostic {
            message: "it is wrong".into(),
            span,
            help: Some("mend it".into()),
        }]
    }

    #[test]
    fn an_error_shows_its_line_and_a_caret_below_its_words() {
        let text = "a = 1\nb = zwei\n";
        let shown = render("holdall.toml", text, &at(10..14));
        assert_eq!(
            shown,
            "holdall.toml:2:5: it is wrong\n  |\n2 | b = zwei\n  |     ^^^^\n  = help: mend it\n",
        );
    }

    #[test]
    fn an_error_at_the_end_of_the_file_or_beyond_it_still_has_a_caret() {
        for span in [5..5, 90..99] {
            assert!(render("f", "a = 1", &at(span)).contains('^'));
        }
        assert!(render("f", "", &at(0..0)).starts_with("f:1:1:"));
    }

    #[test]
    fn a_line_of_a_megabyte_is_cut_around_the_error() {
        let text = format!("{}BAD{}", "x".repeat(500_000), "y".repeat(500_000));
        let shown = render("f", &text, &at(500_000..500_003));
        assert!(shown.starts_with("f:1:500001:"));
        assert!(shown.len() < 400 && shown.contains("xxBADyy"), "{shown}");
    }

    #[test]
    fn only_a_long_line_is_cut_and_only_in_front_of_an_error_far_in() {
        let begins = |length: usize, column: usize| {
            let text = format!("<{}", "x".repeat(length - 1));
            render("f", &text, &at(column - 1..column)).contains('<')
        };
        let far = MAX_COLUMNS - LEAD + 1;
        assert!(begins(MAX_COLUMNS, MAX_COLUMNS));
        assert!(begins(MAX_COLUMNS + 1, far - 1));
        assert!(!begins(MAX_COLUMNS + 1, far));
        assert!(!begins(MAX_COLUMNS + 1, far + 1));
    }

    #[test]
    fn programs_are_told_the_same_place() {
        let found = problems("a = 1\nb = zwei\n", at(10..14));
        let expected = Problem {
            line: 2,
            column: 5,
            message: "it is wrong".into(),
            help: Some("mend it".into()),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn columns_are_counted_in_characters() {
        assert!(render("f", "äöü = x", &at(9..10)).starts_with("f:1:7:"));
    }

    #[test]
    fn a_flood_of_errors_is_counted_not_printed() {
        let many = vec![at(0..1).remove(0); 1000];
        let shown = render("f", "abc", &many);
        assert!(shown.ends_with("f: and 950 more errors\n"));
    }
}
