//! `holdall rm`.

use super::Outcome;
use crate::context::Context;
use crate::{each, exit, output};

/// Remove boxes that have ended, with their files
///
/// Named volumes stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall rm shop
  holdall rm -f shop             also if it runs")]
pub(crate) struct Args {
    /// Kill it first if it runs
    #[arg(short, long)]
    force: bool,
    /// Which
    #[arg(required = true, value_name = "BOX")]
    names: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let boxes = context.boxes()?;
    each::of(&args.names, |name| {
        let record = boxes.find(name)?;
        boxes.remove(&record.id, args.force)?;
        output::data(&format!("{name}\n"))?;
        Ok(exit::OK)
    })
}
