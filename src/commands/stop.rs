//! `holdall stop`.

use holdall_runtime::control::ControlClient;

use super::Outcome;
use crate::args::{Grace, Target};
use crate::context::Context;
use crate::each;

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
    #[command(flatten)]
    grace: Grace,
    /// Which
    #[arg(required = true, value_name = "BOX[/SERVICE]")]
    targets: Vec<Target>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let grace = args.grace.of(&args.targets)?;
    each::target(
        context,
        &args.targets,
        |boxes, id| boxes.stop(id, grace),
        ControlClient::stop,
    )
}
