//! `env_file`: lines of `NAME=value`, as docker's `--env-file` has them. Blank
//! lines and those that begin with `#` say nothing; a value is taken as it
//! stands, quotes and all.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use holdall_protocol::manifest::EnvFile;

use crate::environment::Environment;

/// The largest file: an environment of that size can't be given to a program.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why a file of variables can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvFileError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("cannot read {0}: it is larger than 1 MiB")]
    TooLarge(String),
    #[error("cannot read {path}:{line}: a line must be NAME=value")]
    Line { path: String, line: usize },
}

/// Lays the variables of a file over others.
pub(crate) fn read(file: &EnvFile, env: &mut Environment) -> Result<(), EnvFileError> {
    let path = &file.path;
    let bytes = match bytes(path) {
        Err(error) if file.optional && error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(EnvFileError::Read {
                path: path.clone(),
                source,
            });
        }
        Ok(bytes) => bytes,
    };
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(EnvFileError::TooLarge(path.clone()));
    }
    take(&bytes, env).map_err(|line| EnvFileError::Line {
        path: path.clone(),
        line,
    })
}

fn bytes(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Takes each line; else the number of the first that is none.
fn take(bytes: &[u8], env: &mut Environment) -> Result<(), usize> {
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = line.trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let equals = line.iter().position(|byte| *byte == b'=');
        let at = equals.filter(|at| *at > 0).ok_or(number)?;
        let (name, value) = line.split_at(at);
        let value = value.get(1..).unwrap_or(&[]);
        if name.iter().any(u8::is_ascii_whitespace) || line.contains(&0) {
            return Err(number);
        }
        env.set(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_as_they_stand() {
        let mut env = Environment::default();
        let text = b"# comment\n\nA=1\r\n  B=\"x y\" # no comment\nC=\nA=2\n";
        take(text, &mut env).expect("well-formed");
        assert_eq!(env.text("A"), Some("2"));
        assert_eq!(env.text("B"), Some("\"x y\" # no comment"));
        assert_eq!(env.text("C"), Some(""));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, line) in [("A=1\nnonsense", 2), ("=1", 1), ("A B=1", 1)] {
            let mut env = Environment::default();
            assert_eq!(take(text.as_bytes(), &mut env), Err(line), "{text}");
        }
    }
}
