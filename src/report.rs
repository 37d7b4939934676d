//! Errors for people: the text, a hint with the next command, an exit code.

use std::error::Error;
use std::fmt::Write as _;

use crate::exit;

/// Why a verb failed.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    help: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure with exit code [`exit::FAILURE`].
    pub(crate) fn new(error: impl Into<anyhow::Error>) -> Self {
        Self {
            error: error.into(),
            help: None,
            code: exit::FAILURE,
        }
    }

    /// A failure in one sentence, lower case and without a period.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::new(anyhow::Error::msg(text.into()))
    }

    /// Adds what the user can do next.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Ends with another code.
    #[must_use]
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// For `run` and `exec`: a failure of holdall is told apart from one of
    /// the command.
    #[must_use]
    pub(crate) fn holdall_failed(self) -> Self {
        let code = if self.code == exit::FAILURE {
            exit::HOLDALL_FAILED
        } else {
            self.code
        };
        self.code(code)
    }

    /// What the process exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    /// The whole message: each error of the chain once, then the hint.
    pub(crate) fn render(&self) -> String {
        let mut text = String::from("error: ");
        let mut last = String::new();
        for error in self.error.chain() {
            let words = error.to_string();
            // A transparent wrapper says what its source says.
            if words == last {
                continue;
            }
            if !last.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
            last = words;
        }
        if let Some(help) = &self.help {
            let _ = write!(text, "\n  help: {help}");
        }
        text.push('\n');
        text
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let help = hint::of(&error);
        Self {
            error: anyhow::Error::new(error),
            help,
            code: exit::FAILURE,
        }
    }
}

/// Hints for the errors of the libraries: what to type next.
mod hint;
