//! `holdall kill`.

use holdall_protocol::Signal;

use super::Outcome;
use crate::args::Target;
use crate::context::Context;
use crate::{each, exit, output};

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
    let boxes = context.boxes()?;
    each::of(&args.targets, |target| {
        let record = boxes.find(&target.name)?;
        match &target.service {
            None => boxes.kill(&record.id, args.signal)?,
            Some(service) => {
                let mut client = boxes.control(&record.id)?;
                client.signal(std::slice::from_ref(service), args.signal)?;
            }
        }
        output::data(&format!("{}\n", each::name(target)))?;
        Ok(exit::OK)
    })
}
