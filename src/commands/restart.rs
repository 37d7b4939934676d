//! `holdall restart`.

use holdall_protocol::Millis;

use super::Outcome;
use crate::args::Target;
use crate::context::Context;
use crate::{each, exit, output};

/// Restart boxes, or single services while the others stay up
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall restart shop/app       one service; with `listen` no connection is lost
  holdall restart shop           the whole box")]
pub(crate) struct Args {
    /// Seconds until what is left is killed; the image's own unless given
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u32>,
    /// Which
    #[arg(required = true, value_name = "BOX[/SERVICE]")]
    targets: Vec<Target>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let boxes = context.boxes()?;
    let grace = args.time.map(|seconds| Millis::from_secs(seconds.into()));
    each::of(&args.targets, |target| {
        let record = boxes.find(&target.name)?;
        match &target.service {
            None => {
                boxes.stop(&record.id, grace)?;
                boxes.start(&record.id)?;
            }
            Some(service) => boxes
                .control(&record.id)?
                .restart(std::slice::from_ref(service))?,
        }
        output::data(&format!("{}\n", each::name(target)))?;
        Ok(exit::OK)
    })
}
