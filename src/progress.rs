//! What a build says while it runs: a line a step.

use holdall_builder::{Built, Progress};

use crate::output;
use crate::report::Failure;

/// Prints the steps of one build on standard error and its result on standard
/// output. Plain lines, so that a log of CI reads like a terminal.
#[derive(Debug)]
pub(crate) struct BuildProgress {
    quiet: bool,
}

impl BuildProgress {
    /// `quiet` keeps everything back but errors.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// One event of the build.
    pub(crate) fn event(&mut self, event: &Progress) {
        if self.quiet {
            return;
        }
        match event {
            Progress::Step { index, count, name } => {
                output::message(&format!("[{index}/{count}] {name}"));
            }
            Progress::Cached { index, count, name } => {
                output::message(&format!("[{index}/{count}] {name}: cached"));
            }
            Progress::Output { line } => output::message(&format!("      {line}")),
            Progress::Done { index, millis } => {
                output::message(&format!("[{index}] done in {}", output::span(*millis)));
            }
        }
    }

    /// The last line: `shop:latest sha256:… 61 MB, 0 run, 4 cached, 12ms`.
    pub(crate) fn finish(&self, built: &Built) -> Result<(), Failure> {
        let names: Vec<String> = built.tags.iter().map(ToString::to_string).collect();
        let line = format!(
            "{} {} {}, {} run, {} cached, {}\n",
            names.join(" "),
            built.image.id(),
            output::size(built.size),
            built.ran,
            built.cached,
            output::span(built.millis)
        );
        Ok(output::data(&line)?)
    }
}
