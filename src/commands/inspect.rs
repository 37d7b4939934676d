//! `holdall inspect`.

use serde_json::{Value, json};

use super::Outcome;
use crate::context::Context;
use crate::report::Failure;
use crate::{exit, output};

/// Show all that is known of boxes and images, as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall inspect shop           the box of that name, else the image
  holdall inspect shop:latest")]
pub(crate) struct Args {
    /// Which
    #[arg(required = true, value_name = "BOX|IMAGE")]
    names: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let found = args
        .names
        .iter()
        .map(|name| one(context, name))
        .collect::<Result<Vec<_>, _>>()?;
    output::json(&found)?;
    Ok(exit::OK)
}

fn one(context: &Context, name: &str) -> Result<Value, Failure> {
    let boxes = context.boxes()?;
    match boxes.find(name) {
        Ok(record) => {
            let mut value = serde_json::to_value(boxes.summary(&record.id)?)?;
            if let Some(fields) = value.as_object_mut() {
                fields.insert("kind".to_owned(), json!("box"));
            }
            Ok(value)
        }
        Err(no_box) => {
            let (_, store) = context.state()?;
            let image = store
                .resolve(name)
                .map_err(|no_image| Failure::text(format!("{no_box}; {no_image}")))?;
            Ok(json!({
                "kind": "image",
                "id": image.id(),
                "digest": image.digest,
                "manifest": image.manifest,
                "config": image.config,
            }))
        }
    }
}
