//! `holdall import`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use holdall_supervisord::{ConfError, Files, Surroundings};

use super::Outcome;
use crate::args::EnvArg;
use crate::context::Context;
use crate::report::Failure;
use crate::{env_file, exit, output};

/// Convert a supervisord.conf to a holdall.toml
///
/// Every key that could not be carried has a line that says why. Event
/// listeners are refused, with what stands in for each; the rest is converted
/// all the same, and the exit code is 1. The image can also run the file as it
/// is, by `/init --supervisord FILE`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall import /etc/supervisor/supervisord.conf
  holdall import -o holdall.toml supervisord.conf
  holdall import -e PORT=8000 supervisord.conf      for its %(ENV_PORT)s

Exit codes: 0 converted, 1 wrong or with an event listener, 2 usage.")]
pub(crate) struct Args {
    /// The supervisord.conf; what it includes is read too
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write to this file, which must not exist
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A variable for %(ENV_x)s; alone, with the value that it has here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<EnvArg>,
}

/// The largest file that is read: as much as init reads of one.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The files of this machine.
struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        let file = fs::File::open(path)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn names(&mut self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.collect()
    }
}

pub(crate) fn run(_context: &Context, args: &Args) -> Outcome {
    let path = std::path::absolute(&args.file)?;
    let Some(path) = path.to_str() else {
        return Err(Failure::text("cannot read a file whose name is no UTF-8"));
    };
    let host = nix::unistd::gethostname()?;
    let around = Surroundings {
        env: env_file::collect(&[], &args.env)?.into_iter().collect(),
        host: host.to_string_lossy().into_owned(),
        folder: "/".to_owned(),
        as_it_is: false,
    };
    let converted = match holdall_supervisord::read(path, &mut Disk, &around) {
        Ok(converted) => converted,
        Err(ConfError::Wrong { text, .. }) => {
            output::message(text.trim_end());
            return Ok(exit::FAILURE);
        }
        Err(error @ ConfError::Read { .. }) => return Err(error.into()),
    };
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let text = holdall_supervisord::to_toml(&converted, &name);
    match &args.output {
        Some(file) => fs::File::create_new(file)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| Failure::text(format!("cannot write {}: {error}", file.display())))?,
        None => output::data(&text)?,
    }
    for listener in &converted.listeners {
        let (at, section) = (&listener.at, &listener.section);
        let instead = listener.instead.join("; ");
        output::message(&format!(
            "{at}: [{section}] is refused: init has no event listeners\n  help: in its place: {instead}"
        ));
    }
    if converted.listeners.is_empty() {
        Ok(exit::OK)
    } else {
        Ok(exit::FAILURE)
    }
}
