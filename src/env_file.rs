//! Variables from `--env-file` and `-e`, in docker's forms.

use std::fs;
use std::path::PathBuf;

use crate::args::EnvArg;
use crate::report::Failure;

/// Lines of the files, then the flags; a later value replaces an earlier one.
/// A name without a value takes the one it has here, or is left out.
pub(crate) fn collect(
    files: &[PathBuf],
    flags: &[EnvArg],
) -> Result<Vec<(String, String)>, Failure> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut set = |arg: &EnvArg| {
        let Some(value) = arg.value.clone().or_else(|| inherited(&arg.name)) else {
            return;
        };
        match found.iter_mut().find(|(name, _)| *name == arg.name) {
            Some(entry) => entry.1 = value,
            None => found.push((arg.name.clone(), value)),
        }
    };
    for path in files {
        let text = fs::read_to_string(path).map_err(|error| {
            let context = format!("cannot read {}", path.display());
            Failure::new(anyhow::Error::new(error).context(context))
        })?;
        for (index, line) in text.lines().enumerate() {
            if let Some(arg) = parse_line(line) {
                set(&arg.map_err(|error| {
                    Failure::text(format!("{}:{}: {error}", path.display(), index + 1))
                })?);
            }
        }
    }
    flags.iter().for_each(&mut set);
    Ok(found)
}

/// docker's form: `#` begins a comment line, the value is taken as it is, with
/// its quotes and inner spaces.
fn parse_line(line: &str) -> Option<Result<EnvArg, String>> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let name = line.split('=').next().unwrap_or(line);
    if name.contains(char::is_whitespace) {
        return Some(Err(format!("variable name {name:?} has white space in it")));
    }
    Some(line.parse())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the home of the `-e NAME` form, which asks for it"
)]
fn inherited(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn flags_win_over_files_and_comments_are_skipped() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"# note\n\nA=1\n B = x \nA=2\n")
            .expect("written");
        let error = collect(&[file.path().to_owned()], &[]).expect_err("a space in a name");
        assert!(
            error.render().contains(":4: variable name \"B \""),
            "{}",
            error.render()
        );

        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"# note\n\nA=1\nB='x y' \nC=\n")
            .expect("written");
        let flag = "A=3".parse().expect("well-formed");
        let found = collect(&[file.path().to_owned()], &[flag]).expect("well-formed");
        let expected = [("A", "3"), ("B", "'x y' "), ("C", "")];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
