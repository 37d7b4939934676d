//! The file of services.

use std::fs;
use std::io::{self, Read, Write, stderr, stdout};
use std::path::{Path, PathBuf};

use holdall_protocol::diagnostic::{self, Problem};
use holdall_protocol::manifest::{Manifest, Reader};
use serde::Serialize;

use holdall_supervisord::ConfError;

use crate::args::DEFAULT_CONFIG;
use crate::environment::Environment;
use crate::listener::with_listener;
use crate::{supervisord, sys};

/// The largest file that is read. The checked form of a thousand services is a
/// tenth of it.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What reading a file takes at most, for each of its bytes: the text, its
/// tree, and the services made of it.
const READ_TAKES: usize = 32;

/// And beside that.
const READ_TAKES_AT_LEAST: usize = 64 * 1024;

/// Why there are no services to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read {0}: it is larger than 4 MiB")]
    TooLarge(PathBuf),
    #[error("cannot read {0}: there is too little memory for it")]
    NoMemory(PathBuf),
    /// With every mistake, its place and its hint.
    #[error("{0}")]
    Invalid(String),
    #[error("cannot use profile: {0}")]
    Profile(String),
}

impl From<ConfError> for ConfigError {
    fn from(error: ConfError) -> Self {
        match error {
            ConfError::Read { path, source } => Self::Read {
                path: path.into(),
                source,
            },
            ConfError::Wrong { text, .. } => Self::Invalid(text),
        }
    }
}

/// A file of services that was read.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// What there is to say of it, one line each.
    pub(crate) remarks: Vec<String>,
}

/// Where the services were read, and under which profile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// The file of somebody's choice; the default one where none.
    pub(crate) path: Option<PathBuf>,
    /// The profile.
    pub(crate) profile: Option<String>,
    /// It is a supervisord.conf.
    pub(crate) supervisord: bool,
}

impl Origin {
    /// The folder of the file: what relative paths in it start from.
    pub(crate) fn dir(&self) -> &Path {
        let path = self.path.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
        path.parent().unwrap_or(Path::new("/"))
    }
}

/// Reads the services. Without a file of its own choice and without the
/// default one there are none, which is for the caller to judge.
pub(crate) fn load(origin: &Origin, env: &Environment) -> Result<Option<Loaded>, ConfigError> {
    let chosen = origin.path.as_deref();
    let path = chosen.unwrap_or_else(|| Path::new(DEFAULT_CONFIG));
    if origin.supervisord {
        return supervisord::load(path, env).map(Some);
    }
    let text = match read(path) {
        Err(ConfigError::Read { source, .. })
            if chosen.is_none() && source.kind() == io::ErrorKind::NotFound =>
        {
            return Ok(None);
        }
        text => text?,
    };
    let manifest = parse(path, &text)?;
    let manifest = manifest.for_profile(origin.profile.as_deref());
    let manifest = manifest.map_err(|error| ConfigError::Profile(error.to_string()))?;
    let remarks = Vec::new();
    Ok(Some(Loaded {
        manifest: with_listener(manifest),
        remarks,
    }))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let fail = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let fail_as = |source: io::Error| match source.kind() {
        io::ErrorKind::FileTooLarge => ConfigError::TooLarge(path.to_owned()),
        _ => fail(source),
    };
    let length = fs::metadata(path).map_err(fail)?.len().min(MAX_BYTES);
    // Half-way there would be no way back from a want of memory.
    if !sys::has_room(usize::try_from(length).unwrap_or(0) * READ_TAKES + READ_TAKES_AT_LEAST) {
        return Err(ConfigError::NoMemory(path.to_owned()));
    }
    text_of(path).map_err(fail_as)
}

/// The text of a file, unless it is longer than any is.
pub(crate) fn text_of(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn parse(path: &Path, text: &str) -> Result<Manifest, ConfigError> {
    Manifest::from_toml(text, Reader::Init).map_err(|mistakes| {
        let name = path.display().to_string();
        ConfigError::Invalid(diagnostic::render(&name, text, &mistakes))
    })
}

/// What `check --format json` prints.
#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    /// How many there are, of a file without a mistake.
    services: Option<usize>,
    problems: Vec<Problem>,
}

/// `check --format json`: the exit code.
fn check_for_programs(file: PathBuf) -> Result<u8, ConfigError> {
    let text = read(&file)?;
    let manifest = Manifest::from_toml(&text, Reader::Init);
    let services = manifest
        .as_ref()
        .ok()
        .map(|manifest| manifest.services.len());
    let problems = diagnostic::problems(&text, manifest.err().unwrap_or_default());
    let code = u8::from(!problems.is_empty());
    let checked = Checked {
        file,
        services,
        problems,
    };
    let json = serde_json::to_string(&checked).unwrap_or_default();
    // A closed stdout changes nothing about the file.
    let _ = writeln!(stdout(), "{json}");
    Ok(code)
}

/// `check`: the exit code.
pub(crate) fn check(file: Option<PathBuf>, json: bool) -> u8 {
    let path = file.unwrap_or_else(|| DEFAULT_CONFIG.into());
    if json {
        return check_for_programs(path).unwrap_or_else(|error| {
            report(&error);
            1
        });
    }
    match read(&path).and_then(|text| parse(&path, &text)) {
        Ok(manifest) => {
            let count = manifest.services.len();
            let services = if count == 1 { "service" } else { "services" };
            // A closed stdout changes nothing about the file.
            let _ = writeln!(stdout(), "{}: {count} {services}, all well", path.display());
            0
        }
        Err(error) => {
            report(&error);
            1
        }
    }
}

/// An error, with its cause; diagnostics as they are.
pub(crate) fn report(error: &ConfigError) {
    match error {
        ConfigError::Invalid(text) => drop(write!(stderr(), "{text}")),
        ConfigError::Read { .. }
        | ConfigError::TooLarge(_)
        | ConfigError::NoMemory(_)
        | ConfigError::Profile(_) => {
            crate::say(error);
        }
    }
}

/// The same for a client or the log.
pub(crate) fn words(error: &ConfigError) -> String {
    let cause = std::error::Error::source(error);
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    format!("{error}{cause}").trim_end().to_owned()
}
