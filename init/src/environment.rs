//! The environment that init was given, read once, and what of it goes on to
//! the processes that init starts.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use holdall_protocol::account::Account;

/// Searched where PATH is not set: what engines set.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Meant for init alone: with these a service would take its parent's sockets
/// or talk to its parent's supervisor for its own.
const OURS: [&str; 9] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "HOLDALL_PROFILE",
    "HOLDALL_SERVICE",
];

/// Variables in their order; a later one of the same name replaces.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Environment {
    /// All that this process was given.
    #[expect(
        clippy::disallowed_methods,
        reason = "the licensed home of the environment"
    )]
    pub(crate) fn inherited() -> Self {
        let mut all = Self::default();
        for (name, value) in std::env::vars_os() {
            all.set(name.into_vec(), value.into_vec());
        }
        all
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        let found = self.variables.iter().find(|(n, _)| n == name.as_bytes());
        found.map(|(_, value)| OsStr::from_bytes(value))
    }

    /// The value as text; none where it is not set or no UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }

    /// All that is UTF-8.
    pub(crate) fn texts(&self) -> std::collections::BTreeMap<String, String> {
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).ok();
        let texts = self.variables.iter();
        let texts = texts.filter_map(|(name, value)| text(name).zip(text(value)));
        texts.collect()
    }

    pub(crate) fn set(&mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (name, value) = (name.into(), value.into());
        match self.variables.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name, value)),
        }
    }

    /// Sets what is not set yet.
    pub(crate) fn set_default(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// Without what was meant for init alone.
    pub(crate) fn for_children(&self) -> Self {
        let ours = |name: &[u8]| OURS.iter().any(|our| our.as_bytes() == name);
        let kept = self
            .variables
            .iter()
            .filter(|(name, _)| !ours(name))
            .cloned();
        let mut children = Self {
            variables: kept.collect(),
        };
        children.set_default("PATH", DEFAULT_PATH);
        children
    }

    /// HOME, USER and LOGNAME of the account that a program becomes.
    pub(crate) fn become_user(&mut self, account: &Account, name: &str) {
        self.set("HOME", account.home.as_bytes());
        self.set("USER", name);
        self.set("LOGNAME", name);
    }

    /// The directories of PATH.
    pub(crate) fn path(&self) -> impl Iterator<Item = &[u8]> {
        let path = self.get("PATH").map_or(DEFAULT_PATH, OsStr::as_bytes);
        path.split(|byte| *byte == b':')
    }

    /// `NAME=value` each. One with a NUL inside, which no kernel could have
    /// handed to us, is left out.
    pub(crate) fn strings(&self) -> impl Iterator<Item = CString> {
        self.variables.iter().filter_map(|(name, value)| {
            let mut string = Vec::with_capacity(name.len() + value.len() + 2);
            string.extend_from_slice(name);
            string.push(b'=');
            string.extend_from_slice(value);
            CString::new(string).ok()
        })
    }
}

/// The name that this process was started by, without a path.
pub(crate) fn program_name() -> Option<OsString> {
    let name = std::env::args_os().next()?;
    Some(Path::new(&name).file_name()?.to_owned())
}

/// Takes a copy of this process's arguments, its own name excepted.
pub(crate) fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_init_does_not_go_on_to_services() {
        let mut all = Environment::default();
        for name in OURS {
            all.set(name, "x");
        }
        all.set("LANG", "C.UTF-8");
        let children = all.for_children();
        assert_eq!(children.text("LANG"), Some("C.UTF-8"));
        assert!(OURS.iter().all(|name| children.get(name).is_none()));
        assert!(children.get("PATH").is_some());
    }
}
