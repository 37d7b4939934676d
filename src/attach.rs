//! `run` without `-d`: the box's log until it ends, and signals passed on.

use std::ops::ControlFlow;
use std::thread;

use holdall_protocol::Signal;
use holdall_protocol::log::Stream;
use holdall_runtime::boxes::{Boxes, Record, Started};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::commands::Outcome;
use crate::context::Context;
use crate::log_line;
use crate::output::{self, Format};

/// Shows the log of `record` until the box ends; its exit code. The first
/// Ctrl-C, TERM or HUP stops it in order, the second at once.
pub(crate) fn until_exit(
    context: &Context,
    boxes: &Boxes,
    record: &Record,
    started: &Started,
    has_command: bool,
) -> Outcome {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    let code = thread::scope(|scope| {
        let passing = || pass_on(context, record, signals.forever());
        thread::Builder::new().spawn_scoped(scope, passing)?;
        let code = follow(boxes, record, started, has_command);
        handle.close();
        code
    })?;
    Ok(code)
}

fn follow(boxes: &Boxes, record: &Record, started: &Started, has_command: bool) -> Outcome {
    let mut printer = log_line::Printer::new(false, Format::Table);
    let mut gone = false;
    boxes.follow(record, started, &mut |line| {
        // Standard output is the command's alone where there is one, so that
        // it can be piped; else it is the services'.
        let text = printer.line(line);
        let data = match (&line.service, line.stream) {
            (_, Stream::Init) | (None, Stream::Stderr) => false,
            (None, Stream::Stdout) => true,
            (Some(_), Stream::Stdout | Stream::Stderr) => !has_command,
        };
        if !data {
            output::message(text.trim_end_matches('\n'));
        } else if !gone {
            // The box outlives its reader: stop it only when asked.
            gone = output::data(&text).is_err();
        }
        ControlFlow::Continue(())
    })?;
    Ok(started.wait()?)
}

fn pass_on(context: &Context, record: &Record, signals: impl Iterator<Item = i32>) {
    for (count, _) in signals.enumerate() {
        let signal = if count == 0 {
            Signal::TERM
        } else {
            Signal::KILL
        };
        let sent = context
            .boxes()
            .and_then(|boxes| Ok(boxes.kill(&record.id, signal)?));
        match sent {
            Ok(()) if count == 0 => output::message("stopping in order; Ctrl-C again kills"),
            Ok(()) => {}
            Err(failure) => output::message(failure.render().trim_end()),
        }
    }
}
