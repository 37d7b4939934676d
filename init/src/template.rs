//! `templates`: files made anew before each start of a service, with variables
//! filled in and nothing else done to them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use holdall_protocol::account::AccountError;
use holdall_protocol::manifest::Template;
use holdall_protocol::template::{self, Malformed, Otherwise, Place};

use crate::account;
use crate::environment::Environment;

/// The largest template: configuration files are a hundredth of it.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why a file can't be made from its template.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("cannot read template {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read template {0}: it is larger than 1 MiB")]
    TooLarge(PathBuf),
    #[error("cannot fill in template {path}:{line}: {reason}")]
    FillIn {
        path: PathBuf,
        line: usize,
        reason: Unfilled,
    },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot give {path} to its owner: {source}")]
    Owner { path: PathBuf, source: AccountError },
}

/// What is wrong with a place that is to be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfilled {
    #[error(transparent)]
    Malformed(Malformed),
    #[error("variable {0} is not set")]
    Unset(String),
    #[error("{name}: {message}")]
    Required { name: String, message: String },
}

/// Makes the file of one template. `dir` is the folder of the file that names
/// it, `owner` the service's account.
pub(crate) fn make(
    template: &Template,
    env: &Environment,
    dir: &Path,
    owner: Option<(u32, u32)>,
) -> Result<(), TemplateError> {
    let from = dir.join(&template.from);
    let text = read(&from)?;
    let filled = fill_in(&text, env).map_err(|(line, reason)| TemplateError::FillIn {
        path: from,
        line,
        reason,
    })?;
    let to = PathBuf::from(&template.to);
    let owner = match &template.owner {
        Some(spec) => {
            let account = account::find(spec).map_err(|source| TemplateError::Owner {
                path: to.clone(),
                source,
            })?;
            Some((account.uid, account.gid))
        }
        None => owner,
    };
    write(&to, &filled, template.mode, owner)
        .map_err(|source| TemplateError::Write { path: to, source })
}

fn read(path: &Path) -> Result<Vec<u8>, TemplateError> {
    let fail = |source| TemplateError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(fail)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(TemplateError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// Whoever reads the file sees the old one or the new one, and never half of
/// it.
fn write(to: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut name = to.as_os_str().to_owned();
    name.push(".holdall-new");
    let new = PathBuf::from(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let written = file.write_all(bytes).and_then(|()| {
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        fs::rename(&new, to)
    });
    if written.is_err() {
        // What it was for has failed, which is what is told.
        let _ = fs::remove_file(&new);
    }
    written
}

/// The text with its variables; else the line, and what is wrong there.
fn fill_in(text: &[u8], env: &Environment) -> Result<Vec<u8>, (usize, Unfilled)> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for place in template::places(text) {
        let line =
            |at: usize| 1 + memchr::memchr_iter(b'\n', text.get(..at).unwrap_or(&[])).count();
        let place = place.map_err(|(span, why)| (line(span.start), Unfilled::Malformed(why)))?;
        let value = value(&place, env).map_err(|reason| (line(place.span.start), reason))?;
        out.extend_from_slice(text.get(from..place.span.start).unwrap_or(&[]));
        out.extend(value);
        from = place.span.end;
    }
    out.extend_from_slice(text.get(from..).unwrap_or(&[]));
    Ok(out)
}

fn value(place: &Place<'_>, env: &Environment) -> Result<Vec<u8>, Unfilled> {
    let name = || place.name.to_owned();
    let found = env.get(place.name).map(|value| value.as_bytes().to_vec());
    // As a shell has it, `:` also counts an empty one as not set.
    let filled = || found.clone().filter(|value| !value.is_empty());
    match place.otherwise {
        Otherwise::Nothing => found.ok_or_else(|| Unfilled::Unset(name())),
        Otherwise::Default(default) => Ok(filled().unwrap_or_else(|| default.as_bytes().to_vec())),
        Otherwise::Message(message) => filled().ok_or_else(|| Unfilled::Required {
            name: name(),
            message: message.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, (usize, Unfilled)> {
        let mut env = Environment::default();
        env.set("PORT", "8080");
        env.set("EMPTY", "");
        let bytes = fill_in(text.as_bytes(), &env)?;
        Ok(String::from_utf8(bytes).expect("text stays text"))
    }

    #[test]
    fn variables_defaults_and_nothing_else_are_filled_in() {
        let text = "listen ${PORT}; $host ${NONE:-a:-b} [${EMPTY}] ${EMPTY:-d}";
        assert_eq!(
            filled(text).expect("well-formed"),
            "listen 8080; $host a:-b [] d"
        );
        assert_eq!(filled("a $ { } $").expect("no place"), "a $ { } $");
    }

    #[test]
    fn what_is_missing_is_said_with_its_line() {
        let error = |text: &str| filled(text).expect_err(text);
        assert_eq!(error("\n${NONE}"), (2, Unfilled::Unset("NONE".to_owned())));
        let (line, required) = error("a\nb\n${EMPTY:?set it}");
        assert_eq!((line, required.to_string().as_str()), (3, "EMPTY: set it"));
        let (line, open) = error("${A:-}\n${PORT");
        assert_eq!((line, open.to_string().as_str()), (2, "`${` is not closed"));
    }
}
