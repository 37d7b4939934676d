//! `holdall events`.

use std::io::{self, Write};
use std::ops::ControlFlow;

use holdall_runtime::control::{EventQuery, Happened};
use serde::Serialize;

use super::Outcome;
use crate::args::Target;
use crate::context::Context;
use crate::exit;
use crate::output::Format;
use crate::report::Failure;

/// Show how the services of a box change their states
///
/// When, from which state to which, why, and how the process ended. Without
/// `--last` it goes on until the box ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall events shop                 every change from now on
  holdall events --last 20 shop       the newest 20, and no more
  holdall events -f -n 20 shop/app    those of one service, and every new one
  holdall events --format json shop   one JSON object a line")]
pub(crate) struct Args {
    /// Go on with every new one (as without --last)
    #[arg(short, long)]
    follow: bool,
    /// First so many of the newest that init still knows
    #[arg(short = 'n', long, value_name = "COUNT")]
    last: Option<u32>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Which
    #[arg(value_name = "BOX[/SERVICE]")]
    target: Target,
}

/// What stands in the stream where some are missing.
#[derive(Serialize)]
struct Missed {
    missed: u64,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let boxes = context.boxes()?;
    let record = boxes.find(&args.target.name)?;
    let query = EventQuery {
        services: args.target.service.iter().cloned().collect(),
        last: args.last,
        follow: args.follow || args.last.is_none(),
    };
    let mut failed = None;
    let mut out = io::stdout().lock();
    boxes
        .control(&record.id)?
        .events(
            query,
            &mut |piece| match write(&mut out, args.format, &piece) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
    match failed {
        // Who read it has had enough, as `head` has.
        None => Ok(exit::OK),
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::OK),
        Some(error) => Err(Failure::from(error)),
    }
}

fn write(out: &mut impl Write, format: Format, piece: &Happened) -> io::Result<()> {
    match (format, piece) {
        (Format::Table, Happened::Event(event)) => writeln!(out, "{event}")?,
        (Format::Table, Happened::Missed(count)) => {
            writeln!(out, "{count} events are gone: they were not read in time")?;
        }
        (Format::Json, Happened::Event(event)) => json(out, event)?,
        (Format::Json, Happened::Missed(count)) => json(out, &Missed { missed: *count })?,
    }
    out.flush()
}

fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}
