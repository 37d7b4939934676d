//! Lines through the logger.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::group;
use super::supervisors::{COMMANDS, Fifo, Output, Service, Supervisor, fresh, start};
use crate::clock;
use crate::load::{LAST, LINE};
use crate::measure::{Contestant, Group, Unit, in_turn};
use crate::world::World;

const METHOD: &str = "\
One service writes 2,500,000 lines of 100 bytes (250 MB) as fast as it can, in
blocks of 64 KiB; the time is from its first write until the last line has arrived
in the log, a file in memory (/dev/shm). holdall writes every line with the
service's name before it (the prefix is not counted as throughput) and keeps the
newest in its ring; supervisord copies the bytes to the file
(`stdout_logfile_maxbytes=0`); s6-log (`s6-log n2 s268435455 DIR`, under
s6-supervise) goes by lines and adds nothing.";

const LINES: usize = 2_500_000;

pub(super) fn run(world: &World) -> Result<Group> {
    let contestants = Supervisor::all()
        .into_iter()
        .filter_map(|who| {
            let budget = match who {
                Supervisor::Holdall => None,
                Supervisor::Supervisord => Some(2.0),
                Supervisor::S6 => Some(4.0),
                Supervisor::Runit => return None,
            };
            Some(Contestant {
                who: who.who(),
                budget,
                run: Box::new(move || one(world, who)),
            })
        })
        .collect();
    let row = in_turn("100-byte lines", Unit::BytesPerSecond, 5, contestants)?;
    let mut commands = COMMANDS.to_vec();
    commands.retain(|(who, _)| *who != Supervisor::Runit.who());
    Ok(group("Log lines", METHOD, &commands, vec![row]))
}

fn one(world: &World, who: Supervisor) -> Result<f64> {
    let dir = fresh()?;
    let mut fifo = Fifo::new(dir.path())?;
    let fifo_path = fifo.path.display().to_string();
    let service = Service {
        name: "lines".to_owned(),
        load: vec!["lines".to_owned(), LINES.to_string(), fifo_path],
    };
    let output = Output::Logged(dir.path());
    let _running = start(world, who, dir.path(), &[service], &output)?;
    let begin = fifo.next()?.at;
    fifo.next()?;
    let log = dir.path().join("log");
    while !ended(&log)? {
        clock::pass(Duration::from_millis(1));
    }
    let end = clock::monotonic_ns().context("cannot read the clock")?;
    let length = log.metadata().context("the log is gone")?.len();
    let written = LINES * LINE;
    if length < written as u64 {
        bail!("only {length} of {written} bytes are in the log");
    }
    #[expect(clippy::cast_precision_loss, reason = "megabytes and seconds")]
    Ok(written as f64 / ((end - begin) as f64 / 1e9))
}

/// Whether the log's end is the last line's.
fn ended(log: &Path) -> Result<bool> {
    let file = File::open(log).with_context(|| format!("cannot open {log:?}"))?;
    let length = file.metadata().context("cannot see the log")?.len();
    let mut end = [0; 3];
    let Some(at) = length.checked_sub(3) else {
        return Ok(false);
    };
    file.read_exact_at(&mut end, at)
        .context("cannot read the log")?;
    Ok(end == [LAST, LAST, b'\n'])
}
