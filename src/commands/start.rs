//! `holdall start`.

use holdall_runtime::control::ControlClient;

use super::Outcome;
use crate::args::Target;
use crate::context::Context;
use crate::each;

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
    each::target(
        context,
        &args.targets,
        |boxes, id| boxes.start(id).map(drop),
        ControlClient::start,
    )
}
