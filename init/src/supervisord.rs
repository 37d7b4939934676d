//! A supervisord.conf in place of a holdall.toml.

use std::fs;
use std::io;
use std::path::Path;

use holdall_supervisord::{Converted, Files, Surroundings, read};

use crate::config::{ConfigError, Loaded, MAX_BYTES};
use crate::environment::Environment;

/// The files around init.
struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &str) -> io::Result<String> {
        if fs::metadata(path)?.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        fs::read_to_string(path)
    }

    fn names(&mut self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }
}

/// Reads it as it is: what could not be carried is told in one line.
pub(crate) fn load(path: &Path, env: &Environment) -> Result<Loaded, ConfigError> {
    let folder = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let host = nix::unistd::gethostname().unwrap_or_default();
    let around = Surroundings {
        env: env.texts(),
        host: host.to_string_lossy().into_owned(),
        folder: folder.to_string_lossy().into_owned(),
        as_it_is: true,
    };
    let path = path.to_string_lossy();
    let converted = read(&path, &mut Disk, &around)?;
    let Converted {
        manifest,
        notes,
        listeners,
        ..
    } = converted;
    if !listeners.is_empty() {
        let mut text = String::new();
        for listener in listeners {
            let instead = listener.instead.join("; ");
            text.push_str(&format!(
                "{}: [{}] is refused: init has no event listeners\n  = help: in its place: {instead}\n",
                listener.at, listener.section
            ));
        }
        return Err(ConfigError::Invalid(text));
    }
    let keys: Vec<&str> = notes.iter().map(|note| note.what.as_str()).collect();
    let remark = (!keys.is_empty()).then(|| {
        let keys = keys.join(", ");
        format!("{path}: without effect here (`holdall import` says why): {keys}")
    });
    Ok(Loaded {
        manifest,
        remarks: remark.into_iter().collect(),
    })
}
