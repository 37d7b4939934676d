//! `holdall stop`.

use holdall_protocol::Millis;

use super::Outcome;
use crate::args::Target;
use crate::context::Context;
use crate::{each, exit, output};

/// Stop boxes, or single services, in order
///
/// Services stop before what they depend on. Whatever has not ended after the
/// grace period is killed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall stop shop              the whole box
  holdall stop shop/app          one service (and what depends on it)
  holdall stop -t 30 shop        with 30 seconds of grace")]
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
            None => boxes.stop(&record.id, grace)?,
            Some(service) => boxes
                .control(&record.id)?
                .stop(std::slice::from_ref(service))?,
        }
        output::data(&format!("{}\n", each::name(target)))?;
        Ok(exit::OK)
    })
}
