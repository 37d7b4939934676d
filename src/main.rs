//! The `holdall` command: arguments, output and errors for people; no logic.
#![forbid(unsafe_code)]

mod args;
mod attach;
mod commands;
mod context;
mod each;
mod env_file;
mod exit;
mod init;
mod log_line;
mod output;
mod progress;
mod report;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Verb};
use commands::Outcome;
use context::Context;

fn main() -> ExitCode {
    // The same file serves as OCI runtime, monitor and keeper under their
    // names: nothing is searched for on a path.
    if let Some(code) = holdall_runtime::multicall() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows which stream is whose.
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            };
            let _closed = error.print();
            return ExitCode::from(code);
        }
    };
    env_logger::Builder::new()
        .parse_env(env_logger::Env::new().filter("HOLDALL_LOG"))
        .init();
    let outcome = Context::new(cli.root).and_then(|context| dispatch(&context, &cli.verb));
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::message(failure.render().trim_end());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(context: &Context, verb: &Verb) -> Outcome {
    match verb {
        Verb::New(args) => commands::new::run(context, args),
        Verb::Check(args) => commands::check::run(context, args),
        Verb::Build(args) => commands::build::run(context, args),
        Verb::Images(args) => commands::images::run(context, args),
        Verb::Import(args) => commands::import::run(context, args),
        Verb::Run(args) => commands::run::run(context, args),
        Verb::Ps(args) => commands::ps::run(context, args),
        Verb::Logs(args) => commands::logs::run(context, args),
        Verb::Events(args) => commands::events::run(context, args),
        Verb::Exec(args) => commands::exec::run(context, args),
        Verb::Stop(args) => commands::stop::run(context, args),
        Verb::Start(args) => commands::start::run(context, args),
        Verb::Restart(args) => commands::restart::run(context, args),
        Verb::Kill(args) => commands::kill::run(context, args),
        Verb::Rm(args) => commands::rm::run(context, args),
        Verb::Rmi(args) => commands::rmi::run(context, args),
        Verb::Inspect(args) => commands::inspect::run(context, args),
        Verb::Save(args) => commands::save::run(context, args),
        Verb::Load(args) => commands::load::run(context, args),
        Verb::Fsck(args) => commands::fsck::run(context, args),
    }
}
