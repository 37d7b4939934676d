//! `holdall exec`.

use holdall_runtime::boxes::ExecOptions;

use super::Outcome;
use crate::args::EnvArg;
use crate::context::Context;
use crate::env_file;
use crate::report::Failure;

/// Run a command in a running box
///
/// The exit code is the command's; 125 where holdall failed, 126 where the
/// command can't be executed, 127 where it isn't there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall exec -it shop bash
  holdall exec shop redis-cli info
  echo 'select 1' | holdall exec -i shop psql
  holdall exec -u redis -e A=b shop id")]
pub(crate) struct Args {
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set a variable: NAME=value, or NAME alone to take it from here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<EnvArg>,
    #[arg(
        short,
        long,
        help = "Run as this user, USER[:GROUP], by name or number"
    )]
    user: Option<String>,
    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The box
    #[arg(value_name = "BOX")]
    name: String,
    /// The command and its arguments
    #[arg(
        required = true,
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
    let record = boxes.find(&args.name)?;
    let options = ExecOptions {
        argv: args.command.clone(),
        env: env_file::collect(&[], &args.env)?,
        dir: args.workdir.clone(),
        user: args.user.clone(),
        tty: args.tty,
        interactive: args.interactive,
    };
    boxes.exec(&record.id, &options).map_err(|error| {
        let code = error.exit_code();
        Failure::from(error).code(code)
    })
}
