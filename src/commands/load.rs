//! `holdall load`.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use holdall_image::archive;

use super::Outcome;
use crate::context::Context;
use crate::report::Failure;
use crate::{exit, output};

/// Read images from an archive of docker, podman, skopeo or holdall
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall load -i shop.tar
  docker save shop | holdall load")]
pub(crate) struct Args {
    /// From this file (plain, gzip or zstd); from standard input unless given
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print only the names, or the ids of images without one
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let (_, store) = context.state()?;
    let loaded = match &args.input {
        None if io::stdin().is_terminal() => {
            return Err(Failure::text("cannot read an archive from a terminal")
                .help("name a file with -i, or pipe it: docker save IMAGE | holdall load")
                .code(exit::USAGE));
        }
        None => archive::load(&store, io::stdin().lock())?,
        Some(path) => {
            let file = File::open(path).map_err(|error| {
                Failure::new(
                    anyhow::Error::new(error).context(format!("cannot open {}", path.display())),
                )
            })?;
            archive::load(&store, file)?
        }
    };
    let before = if args.quiet { "" } else { "loaded " };
    for (reference, image) in loaded {
        let name = match reference {
            Some(name) => {
                store.tag(&name, &image)?;
                name.to_string()
            }
            None => {
                store.keep_untagged(&image)?;
                image.id().to_string()
            }
        };
        output::data(&format!("{before}{name}\n"))?;
    }
    Ok(exit::OK)
}
