//! `holdall build`.

use std::path::PathBuf;

use holdall_image::Reference;

use super::Outcome;
use crate::context::Context;
use crate::progress::BuildProgress;
use crate::report::Failure;
use crate::{exit, output};

/// Build the image that a holdall.toml describes
///
/// Steps whose inputs have not changed are taken from the cache: a second
/// build with nothing changed runs no command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall build                  ./holdall.toml, tagged with the name in it
  holdall build -t shop:2 shop/  the folder shop/, tagged shop:2
  holdall build --dry-run        what would run, and what is cached")]
pub(crate) struct Args {
    /// The folder with the holdall.toml and the files it copies
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) context: PathBuf,
    /// Another file than DIR/holdall.toml
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Name of the image, `NAME[:TAG]`; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<Reference>,
    /// Run every step again
    #[arg(long)]
    no_cache: bool,
    /// Print the plan and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Print only the image's id
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let (dirs, store) = context.state()?;
    let build = holdall_builder::Build {
        context: &args.context,
        file: args.file.as_deref(),
        tags: args.tags.clone(),
        dirs: &dirs,
        store: &store,
        init: crate::init::init(),
        no_cache: args.no_cache,
        stop: context.interrupted(),
    };
    if args.dry_run {
        output::data(&holdall_builder::plan(&build)?.to_string())?;
        return Ok(exit::OK);
    }
    let mut progress = BuildProgress::new(args.quiet);
    let built = holdall_builder::build(&build, &mut |event| progress.event(&event));
    let built = built.map_err(|error| match Failure::from(error) {
        failure if context.is_interrupted() => failure.code(exit::INTERRUPTED),
        failure => failure,
    })?;
    if args.quiet {
        output::data(&format!("{}\n", built.image.id()))?;
    } else {
        progress.finish(&built)?;
    }
    Ok(exit::OK)
}
