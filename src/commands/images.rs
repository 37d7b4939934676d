//! `holdall images`.

use holdall_image::Digest;
use serde::Serialize;

use super::Outcome;
use crate::context::Context;
use crate::exit;
use crate::output::{self, Format, Table};

/// List images
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall images
  holdall images -q              ids only
  holdall images --format json")]
pub(crate) struct Args {
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Row {
    repository: Option<String>,
    tag: Option<String>,
    id: Digest,
    digest: Digest,
    created: Option<String>,
    size: u64,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let (_, store) = context.state()?;
    let rows: Vec<Row> = store
        .list()?
        .into_iter()
        .map(|image| Row {
            repository: image
                .reference
                .as_ref()
                .map(|name| name.repository().to_owned()),
            tag: image
                .reference
                .as_ref()
                .and_then(|name| name.tag().map(str::to_owned)),
            id: image.id,
            digest: image.digest,
            created: image.created,
            size: image.size,
        })
        .collect();
    match args.format {
        _ if args.quiet => {
            for row in &rows {
                output::data(&format!("{}\n", row.id))?;
            }
        }
        Format::Json => output::json(&rows)?,
        Format::Table => {
            let mut table = Table::new(&["REPOSITORY", "TAG", "ID", "CREATED", "SIZE"]);
            for row in rows {
                table.row([
                    row.repository.unwrap_or_default(),
                    row.tag.unwrap_or_default(),
                    output::short_digest(&row.id),
                    row.created.unwrap_or_default(),
                    output::size(row.size),
                ]);
            }
            output::data(&table.render())?;
        }
    }
    Ok(exit::OK)
}
