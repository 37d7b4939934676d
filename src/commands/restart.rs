//! `holdall restart`.

use holdall_runtime::boxes::{BoxId, Boxes};
use holdall_runtime::control::ControlClient;

use super::Outcome;
use crate::args::{Grace, Target};
use crate::context::Context;
use crate::each;

/// Restart boxes, or single services while the others stay up
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall restart shop/app       one service; with `listen` no connection is lost
  holdall restart shop           the whole box")]
pub(crate) struct Args {
    #[command(flatten)]
    grace: Grace,
    /// Which
    #[arg(required = true, value_name = "BOX[/SERVICE]")]
    targets: Vec<Target>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let grace = args.grace.of(&args.targets)?;
    let again = |boxes: &Boxes, id: &BoxId| {
        boxes.stop(id, grace)?;
        boxes.start(id).map(drop)
    };
    each::target(context, &args.targets, again, ControlClient::restart)
}
