//! `holdall rmi`.

use holdall_image::{Image, Reference};

use super::Outcome;
use crate::context::Context;
use crate::report::Failure;
use crate::{each, exit, output};

/// Remove images
///
/// Takes the name away; content that nothing else needs (no other name, no
/// box) is freed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall rmi shop:1
  holdall rmi shop:1 shop:2")]
pub(crate) struct Args {
    /// Which
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let (_, store) = context.state()?;
    let boxes = context.boxes()?;
    let in_use = |name: &str, image: &Image| {
        if boxes.images_in_use()?.contains(&image.digest) {
            return Err(Failure::text(format!("image {name} is used by a box"))
                .help("`holdall ps -a` shows which; `holdall rm` removes it"));
        }
        Ok(())
    };
    let code = each::of(&args.names, |name| {
        let image = store.resolve(name)?;
        let references: Vec<_> = store
            .list()?
            .into_iter()
            .filter(|listed| listed.digest == image.digest)
            .filter_map(|listed| listed.reference)
            .collect();
        let chosen = match name.parse::<Reference>().map(Reference::with_default_tag) {
            Ok(asked) if references.contains(&asked) => asked,
            // By id: that names the image only while it has a single name.
            Ok(_) | Err(_) => match references.as_slice() {
                [only] => only.clone(),
                [] => {
                    in_use(name, &image)?;
                    store.forget(&image.digest)?;
                    output::data(&format!("removed {}\n", image.id()))?;
                    return Ok(exit::OK);
                }
                _ => {
                    return Err(Failure::text(format!("image {name} has several names"))
                        .help("remove each by name: `holdall images` lists them"));
                }
            },
        };
        if references.len() == 1 {
            in_use(name, &image)?;
        }
        store.untag(&chosen)?;
        output::data(&format!("untagged {chosen}\n"))?;
        Ok(exit::OK)
    })?;
    let freed = store.gc(&boxes.images_in_use()?)?;
    if freed.postponed {
        output::message("another command adds to the store: space is freed next time");
    } else if freed.bytes > 0 {
        output::message(&format!("freed {}", output::size(freed.bytes)));
    }
    Ok(code)
}
