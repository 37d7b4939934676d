//! `holdall run`.

use std::path::PathBuf;

use holdall_runtime::boxes::mounts::Volume;
use holdall_runtime::boxes::{BoxError, BoxName, CreateOptions, Network};
use holdall_runtime::ports::Publish;

use super::Outcome;
use crate::args::EnvArg;
use crate::context::Context;
use crate::report::Failure;
use crate::{attach, env_file, exit, output};

/// Run an image in a new box
///
/// Without -d its log is shown and Ctrl-C stops it in order; the exit code is
/// the box's. What follows the image is run in the foreground beside the
/// services, and the box ends with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall run -d -p 8080:80 shop          in the background, published on port 8080
  holdall run --rm shop /bin/true         one command, then remove the box
  holdall run -d -v data:/data --name s1 shop
  holdall run -d -e LOG_LEVEL=debug --profile production shop")]
pub(crate) struct Args {
    /// Stay in the background and print the box's name
    #[arg(short, long)]
    detach: bool,
    #[arg(
        short,
        long = "publish",
        value_name = "PORT",
        help = "Publish a port: [HOST-ADDRESS:][HOST-PORT:]BOX-PORT[/tcp]"
    )]
    publish: Vec<Publish>,
    /// Set a variable: NAME=value, or NAME alone to take it from here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<EnvArg>,
    /// Read variables from a file, one NAME=value a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// A volume or a folder of the host: NAME:/PATH, /HOST:/PATH, with :ro read-only
    #[arg(short, long = "volume", value_name = "VOLUME")]
    volumes: Vec<Volume>,
    /// Remove the box when it ends
    #[arg(long)]
    rm: bool,
    /// The box's name; made from the image's unless given
    #[arg(long)]
    name: Option<BoxName>,
    /// No writes to the image's files
    #[arg(long)]
    read_only: bool,
    #[arg(
        short,
        long,
        help = "Run as this user, USER[:GROUP], by name or number"
    )]
    user: Option<String>,
    /// Lay the [profile.NAME] of the holdall.toml over it
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// private (its own), host or none
    #[arg(long, default_value = "private", value_name = "KIND")]
    network: Network,
    /// The image
    image: String,
    /// A command and its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    start(context, args).map_err(Failure::holdall_failed)
}

fn start(context: &Context, args: &Args) -> Outcome {
    let boxes = context.boxes()?;
    let (_, store) = context.state()?;
    let image = store.resolve(&args.image)?;
    // The store's lock must not outlive the look: this may wait for days.
    drop(store);
    let record = boxes.create(CreateOptions {
        image,
        image_name: args.image.clone(),
        name: args.name.clone(),
        publish: args.publish.clone(),
        env: env_file::collect(&args.env_file, &args.env)?,
        volumes: args.volumes.clone(),
        remove: args.rm,
        read_only: args.read_only,
        user: args.user.clone(),
        profile: args.profile.clone(),
        command: args.command.clone(),
        hostname: None,
        network: args.network,
    })?;
    let started = match boxes.start(&record.id) {
        Ok(started) => started,
        Err(error) => {
            // A box that never ran holds nothing worth keeping, and its name
            // would stand in the way of the next try.
            let mut failure = Failure::from(error);
            if let Err(left) = boxes.remove(&record.id, true) {
                failure = failure.help(format!("the box could not be removed either: {left}"));
            }
            return Err(failure);
        }
    };
    if args.network == Network::Host && !args.publish.is_empty() {
        output::message(
            "note: with --network host the services' ports are the host's; -p does nothing",
        );
    }
    if args.detach {
        output::data(&format!("{}\n", record.name))?;
        return Ok(exit::OK);
    }
    let has_command = !args.command.is_empty();
    let code = attach::until_exit(context, &boxes, &record, &started, has_command)?;
    if args.rm {
        started.let_go();
        // Its monitor was killed where it is still there.
        match boxes.remove(&record.id, true) {
            Ok(()) | Err(BoxError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(code)
}
