//! `holdall save`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;

use holdall_image::Reference;
use holdall_image::archive::{self, Form};

use super::Outcome;
use crate::context::Context;
use crate::exit;
use crate::report::Failure;

/// Write images to an archive that docker, podman and holdall load
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall save -o shop.tar shop
  holdall save shop | docker load
  holdall save --form oci -o shop.oci.tar shop    for skopeo, containerd")]
pub(crate) struct Args {
    /// Into this file; to standard output unless given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// docker keeps the health check; OCI has no field for it
    #[arg(long, value_enum, default_value_t = FormArg::Docker)]
    form: FormArg,
    /// Which
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FormArg {
    Docker,
    Oci,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let (_, store) = context.state()?;
    let mut images = Vec::new();
    for name in &args.names {
        let image = store.resolve(name)?;
        let asked = name
            .parse::<Reference>()
            .ok()
            .map(|name| name.with_default_tag());
        let names: Vec<Reference> = store
            .list()?
            .into_iter()
            .filter(|listed| listed.digest == image.digest)
            .filter_map(|listed| listed.reference)
            .collect();
        let chosen = names
            .iter()
            .find(|name| Some(*name) == asked.as_ref())
            .or(names.first());
        let Some(chosen) = chosen else {
            return Err(Failure::text(format!(
                "image {name} has no name to be loaded under"
            )));
        };
        images.push((chosen.clone(), image));
    }
    let form = match args.form {
        FormArg::Docker => Form::Docker,
        FormArg::Oci => Form::Oci,
    };
    match &args.output {
        None if io::stdout().is_terminal() => {
            return Err(Failure::text("cannot write an archive to a terminal")
                .help("name a file with -o, or pipe it: holdall save IMAGE | docker load")
                .code(exit::USAGE));
        }
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            archive::save(&store, &images, &mut out, form)?;
            out.flush()?;
        }
        Some(path) => {
            // A half-written archive must not look like a whole one.
            let part = path.with_extension("part");
            let written = File::create(&part).map_err(Failure::from).and_then(|file| {
                let mut out = BufWriter::new(file);
                archive::save(&store, &images, &mut out, form)?;
                out.flush()?;
                out.get_ref().sync_all()?;
                std::fs::rename(&part, path)?;
                Ok(())
            });
            if let Err(failure) = written {
                // Best effort: the failure itself is what the user must read.
                let _left = std::fs::remove_file(&part);
                return Err(failure);
            }
        }
    }
    Ok(exit::OK)
}
