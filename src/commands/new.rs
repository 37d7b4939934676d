//! `holdall new`.

use std::path::PathBuf;

use super::Outcome;
use crate::context::Context;
use crate::{exit, output};

/// Write a commented holdall.toml that builds and runs as it is
///
/// It needs no image registry: the base is made from Debian packages.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall new shop && cd shop && holdall build && holdall run -d -p 8080:80 shop
  holdall new .                  in this folder, named after it")]
pub(crate) struct Args {
    /// The folder; made if it isn't there. Its name becomes the image's
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

pub(crate) fn run(_context: &Context, args: &Args) -> Outcome {
    let full = std::path::absolute(&args.dir)?;
    let name = full
        .file_name()
        .map_or_else(|| "app".into(), |name| name.to_string_lossy());
    let written = holdall_builder::new_project(&args.dir, &name)?;
    for path in written {
        output::data(&format!("{}\n", path.display()))?;
    }
    output::message(&format!("next: cd {} && holdall build", args.dir.display()));
    Ok(exit::OK)
}
