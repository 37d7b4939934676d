//! `holdall check`.

use std::path::PathBuf;

use super::Outcome;
use crate::context::Context;
use crate::{exit, output};

/// Check a holdall.toml, and its services against the built image
///
/// Unknown keys, cycles, clashing ports and wrong values are found in the file
/// itself; missing binaries and unknown users need the image, so they are
/// looked for where the image is built.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall check                  ./holdall.toml
  holdall check shop/")]
pub(crate) struct Args {
    /// The folder with the holdall.toml
    #[arg(value_name = "DIR", default_value = ".")]
    context: PathBuf,
    /// Another file than DIR/holdall.toml
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let (dirs, store) = context.state()?;
    let build = holdall_builder::Build {
        context: &args.context,
        file: args.file.as_deref(),
        tags: Vec::new(),
        dirs: &dirs,
        store: &store,
        init: crate::init::init(),
        no_cache: false,
        stop: context.interrupted(),
    };
    let findings = holdall_builder::check(&build)?;
    for finding in &findings {
        output::message(&finding.to_string());
    }
    if findings.is_empty() {
        output::data("ok\n")?;
        Ok(exit::OK)
    } else {
        Ok(exit::FAILURE)
    }
}
