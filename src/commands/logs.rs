//! `holdall logs`.

use std::ops::ControlFlow;

use holdall_runtime::boxes::LogQuery;

use super::Outcome;
use crate::args::Target;
use crate::context::Context;
use crate::output::{self, Format};
use crate::{exit, log_line};

/// Show the log of a box, or of one of its services
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall logs shop              all services
  holdall logs -f shop/app       follow one
  holdall logs -n 20 -t shop     the last 20 lines, with their times
  holdall logs --format json shop")]
pub(crate) struct Args {
    /// Go on with new lines as they come
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "COUNT")]
    tail: Option<usize>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// table is `SERVICE | text`; json is one record a line
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Which
    #[arg(value_name = "BOX[/SERVICE]")]
    target: Target,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let boxes = context.boxes()?;
    let record = boxes.find(&args.target.name)?;
    let query = LogQuery {
        service: args.target.service.clone(),
        follow: args.follow,
        tail: args.tail,
    };
    let mut printer = log_line::Printer::new(args.timestamps, args.format);
    let mut failed = None;
    boxes.logs(
        &record.id,
        &query,
        &mut |line| match output::data(&printer.line(line)) {
            Ok(()) if !context.is_interrupted() => ControlFlow::Continue(()),
            Ok(()) => ControlFlow::Break(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(Ok(exit::OK), |error| Err(error.into()))
}
