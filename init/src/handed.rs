//! Descriptors that init is handed by LISTEN_FDS: by holdall itself, by systemd,
//! by podman.

use std::os::fd::{OwnedFd, RawFd};

use crate::environment::Environment;
use crate::sys;

/// The name of a descriptor that was given none; systemd's for such is taken
/// for it too.
pub(crate) const UNNAMED: &str = "";

/// What systemd calls a descriptor without a name.
const UNKNOWN: &str = "unknown";

/// The longest name, as systemd has it.
const MAX_NAME: usize = 255;

/// The most descriptors: more than anybody hands over, and so few that their
/// numbers are looked at in no time.
const MAX_COUNT: u16 = 1024;

/// Why none of them is taken. A wrong one would be some other file of whoever
/// started init.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandedError {
    #[error("cannot take the sockets of LISTEN_FDS: {0:?} is not how many there are")]
    Count(String),
    #[error("cannot take the sockets of LISTEN_FDS: LISTEN_PID does not say for whom they are")]
    ForNobody,
    #[error(
        "cannot take the sockets of LISTEN_FDS: they are for process {meant}, and this is {own}"
    )]
    ForAnother { meant: String, own: u32 },
    #[error("cannot take the sockets of LISTEN_FDS: descriptor {0} is not open")]
    Closed(RawFd),
    #[error("cannot take the sockets of LISTEN_FDS: {0:?} can't be the name of one")]
    Name(String),
    #[error("cannot take the sockets of LISTEN_FDS: there are {names} names for {count} of them")]
    Names { names: usize, count: u16 },
}

/// The descriptors that were handed over, with their names: to be called
/// before anything is opened, as a number that was promised and isn't open
/// would be taken by a descriptor of our own.
pub(crate) fn descriptors(env: &Environment) -> Result<Vec<(String, OwnedFd)>, HandedError> {
    let numbers = announced(env, std::process::id())?;
    if let Some((_, closed)) = numbers.iter().find(|(_, fd)| !sys::is_open(*fd)) {
        return Err(HandedError::Closed(*closed));
    }
    let adopt = |(name, fd)| Some((name, sys::adopt(fd)?));
    Ok(numbers.into_iter().filter_map(adopt).collect())
}

/// What the environment says, checked.
fn announced(env: &Environment, own: u32) -> Result<Vec<(String, RawFd)>, HandedError> {
    let Some(said) = env.get("LISTEN_FDS") else {
        return Ok(Vec::new());
    };
    let said = said.to_string_lossy();
    let count = said.parse::<u16>().ok().filter(|count| *count <= MAX_COUNT);
    let count = count.ok_or_else(|| HandedError::Count(said.into_owned()))?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let meant = env.get("LISTEN_PID").ok_or(HandedError::ForNobody)?;
    if meant.to_str().and_then(|pid| pid.parse().ok()) != Some(own) {
        let meant = meant.to_string_lossy().into_owned();
        return Err(HandedError::ForAnother { meant, own });
    }
    let names = env.get("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.to_string_lossy();
    let names: Vec<&str> = if names.is_empty() {
        Vec::new()
    } else {
        names.split(':').collect()
    };
    let plain =
        |name: &&&str| name.len() <= MAX_NAME && name.bytes().all(|b| (b' '..0x7f).contains(&b));
    if let Some(bad) = names.iter().find(|name| !plain(name)) {
        return Err(HandedError::Name((*bad).to_owned()));
    }
    if names.len() > usize::from(count) {
        let names = names.len();
        return Err(HandedError::Names { names, count });
    }
    let named = |name: &str| if name == UNKNOWN { UNNAMED } else { name }.to_owned();
    let names = names
        .into_iter()
        .chain(std::iter::repeat(UNNAMED))
        .map(named);
    Ok(names.zip(3..).take(usize::from(count)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Vec<(String, RawFd)>, HandedError> {
        let mut env = Environment::default();
        for (name, value) in variables {
            env.set(*name, *value);
        }
        announced(&env, 7)
    }

    #[test]
    fn names_that_are_missing_are_left_empty() {
        let (fds, pid) = (("LISTEN_FDS", "3"), ("LISTEN_PID", "7"));
        let found = of(&[fds, pid, ("LISTEN_FDNAMES", "http:unknown")]).expect("well-formed");
        let expected = [("http", 3), ("", 4), ("", 5)];
        assert_eq!(found, expected.map(|(name, fd)| (name.to_owned(), fd)));
        assert_eq!(of(&[fds, pid]).expect("well-formed").len(), 3);
    }

    #[test]
    fn without_listen_fds_there_are_none() {
        assert_eq!(of(&[("LISTEN_PID", "7")]), Ok(Vec::new()));
        assert_eq!(of(&[("LISTEN_FDS", "0")]), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_for_this_process_or_makes_no_sense_is_refused_and_said() {
        let pid = ("LISTEN_PID", "7");
        let fds = ("LISTEN_FDS", "1");
        for (variables, words) in [
            (vec![fds], "for whom"),
            (
                vec![fds, ("LISTEN_PID", "1")],
                "they are for process 1, and this is 7",
            ),
            (vec![fds, ("LISTEN_PID", "seven")], "process seven"),
            (vec![("LISTEN_FDS", "-1"), pid], "\"-1\" is not how many"),
            (vec![("LISTEN_FDS", "99999"), pid], "is not how many"),
            (
                vec![fds, pid, ("LISTEN_FDNAMES", "a\nb")],
                "\"a\\nb\" can't be the name",
            ),
            (
                vec![fds, pid, ("LISTEN_FDNAMES", "a:b")],
                "there are 2 names for 1",
            ),
        ] {
            let error = of(&variables).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
