//! An error and what it comes from, for where no error value travels: a log, a
//! report to another process.

use std::error::Error;

/// The error and its causes on one line. A cause whose words the error has
/// taken over already is not said twice.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}
