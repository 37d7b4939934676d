//! Verbs that take several names: each is tried, and every failure is said.

use holdall_protocol::ServiceName;
use holdall_runtime::boxes::{BoxError, BoxId, Boxes};
use holdall_runtime::control::{ControlClient, ControlError};

use crate::args::Target;
use crate::commands::Outcome;
use crate::context::Context;
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

/// Does `whole` to each target that is a box and `single` to each that is a
/// service of one, and prints it once that is done.
pub(crate) fn target(
    context: &Context,
    targets: &[Target],
    whole: impl Fn(&Boxes, &BoxId) -> Result<(), BoxError>,
    single: impl Fn(&mut ControlClient, &[ServiceName]) -> Result<(), ControlError>,
) -> Outcome {
    let boxes = context.boxes()?;
    of(targets, |target| {
        let record = boxes.find(&target.name)?;
        match &target.service {
            None => whole(&boxes, &record.id)?,
            Some(service) => {
                let mut client = boxes.control(&record.id)?;
                single(&mut client, std::slice::from_ref(service))?;
            }
        }
        output::data(&format!("{}\n", name(target)))?;
        Ok(exit::OK)
    })
}

fn say(failure: &crate::report::Failure) {
    output::message(failure.render().trim_end());
}

/// The target as the user wrote it.
fn name(target: &Target) -> String {
    match &target.service {
        None => target.name.clone(),
        Some(service) => format!("{}/{service}", target.name),
    }
}
