//! `holdall start`.

use super::Outcome;
use crate::args::Target;
use crate::context::Context;
use crate::{each, exit, output};

/// Start stopped boxes, or single services
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall start shop             the whole box, with the files it had
  holdall start shop/app         one service, and what it depends on")]
pub(crate) struct Args {
    /// Which
    #[arg(required = true, value_name = "BOX[/SERVICE]")]
    targets: Vec<Target>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let boxes = context.boxes()?;
    each::of(&args.targets, |target| {
        let record = boxes.find(&target.name)?;
        match &target.service {
            None => drop(boxes.start(&record.id)?),
            Some(service) => boxes
                .control(&record.id)?
                .start(std::slice::from_ref(service))?,
        }
        output::data(&format!("{}\n", each::name(target)))?;
        Ok(exit::OK)
    })
}
