//! Verbs that take several names: each is tried, and every failure is said.

use crate::args::Target;
use crate::commands::Outcome;
use crate::{exit, output};

/// Does `one` for each of `names`. The first failure's code is the outcome's,
/// once the rest has been tried.
pub(crate) fn of<T>(names: &[T], one: impl Fn(&T) -> Outcome) -> Outcome {
    let mut code = exit::OK;
    let mut last = None;
    for name in names {
        match one(name) {
            Ok(done) => code = code.max(done),
            Err(failure) => {
                if let Some(earlier) = last.replace(failure) {
                    say(&earlier);
                }
            }
        }
    }
    last.map_or(Ok(code), Err)
}

fn say(failure: &crate::report::Failure) {
    output::message(failure.render().trim_end());
}

/// The target as the user wrote it.
pub(crate) fn name(target: &Target) -> String {
    match &target.service {
        None => target.name.clone(),
        Some(service) => format!("{}/{service}", target.name),
    }
}
