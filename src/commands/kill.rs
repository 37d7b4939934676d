//! `holdall kill`.

use holdall_protocol::Signal;

use super::Outcome;
use crate::args::Target;
use crate::context::Context;
use crate::each;

/// Kill boxes at once, or signal them or single services
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall kill shop              KILL to the whole box
  holdall kill -s KILL shop/app  to one service: init starts it again
  holdall kill -s HUP shop/web   have nginx read its configuration again")]
pub(crate) struct Args {
    /// Which signal
    #[arg(short, long, default_value = "KILL")]
    signal: Signal,
    /// To whom
    #[arg(required = true, value_name = "BOX[/SERVICE]")]
    targets: Vec<Target>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    each::target(
        context,
        &args.targets,
        |boxes, id| boxes.kill(id, args.signal),
        |client, services| client.signal(services, args.signal),
    )
}
