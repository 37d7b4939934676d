//! `exec`'s arguments: a process description from a file, or the container's
//! own changed by options.

use std::ffi::OsStr;
use std::path::Path;

use super::arguments::{Arguments, UsageError};
use super::verbs::VerbError;
use crate::oci::create::CreateError;
use crate::oci::exec::{self, ExecRequest};
use crate::oci::foreground::OnSignal;
use crate::oci::lifecycle::RunMode;
use crate::oci::spec::{Process, User};

/// Reads what to run.
pub(super) fn request(
    arguments: &Arguments,
    root: &Path,
    preserve: i32,
) -> Result<ExecRequest, VerbError> {
    let id = arguments.id("exec")?;
    let process = match arguments.path("process") {
        Some(path) => {
            let text = std::fs::read(&path).map_err(|source| CreateError::Config {
                path: path.clone(),
                source,
            })?;
            serde_json::from_slice(&text).map_err(|source| CreateError::Syntax { path, source })?
        }
        None => changed(exec::defaults(root, &id)?, arguments)?,
    };
    Ok(ExecRequest {
        id,
        process,
        console_socket: arguments.path("console-socket"),
        pid_file: arguments.path("pid-file"),
        preserve,
        mode: RunMode {
            detach: arguments.has("detach"),
            keep: true,
            on_signal: OnSignal::Forward,
        },
    })
}

/// The container's own process, as the options change it.
fn changed(mut process: Process, arguments: &Arguments) -> Result<Process, UsageError> {
    let words = arguments.words.get(1..).unwrap_or_default();
    if words.is_empty() {
        return Err(UsageError::Missing {
            verb: "exec",
            what: "a command",
        });
    }
    process.args = words
        .iter()
        .map(|word| text("command", word))
        .collect::<Result<_, _>>()?;
    process.terminal = arguments.has("tty");
    process.console_size = None;
    for pair in arguments.values("env") {
        process.env.push(text("env", pair)?);
    }
    if let Some(cwd) = arguments.path("cwd") {
        process.cwd = cwd;
    }
    if let Some(user) = arguments.value("user") {
        let named = text("user", user)?;
        let invalid = || UsageError::Value {
            option: "user",
            value: named.clone(),
        };
        process.user = parse_user(&named).ok_or_else(invalid)?;
    }
    for gid in arguments.values("additional-gids") {
        let gid = text("additional-gids", gid)?;
        let invalid = || UsageError::Value {
            option: "additional-gids",
            value: gid.clone(),
        };
        process
            .user
            .additional_gids
            .push(parse_id(&gid).ok_or_else(invalid)?);
    }
    if arguments.has("no-new-privs") {
        process.no_new_privileges = true;
    }
    for name in arguments.values("cap") {
        let name = text("cap", name)?;
        let sets = process.capabilities.get_or_insert_default();
        // As runc: not inheritable, and ambient only for another user.
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            if !set.contains(&name) {
                set.push(name.clone());
            }
        }
    }
    Ok(process)
}

fn text(option: &'static str, word: &OsStr) -> Result<String, UsageError> {
    word.to_str()
        .map(str::to_owned)
        .ok_or_else(|| UsageError::Value {
            option,
            value: word.to_string_lossy().into_owned(),
        })
}

/// `UID` or `UID:GID`, digits only (CVE-2026-30892 read something else).
fn parse_user(text: &str) -> Option<User> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (parse_id(uid)?, parse_id(gid)?),
        None => (parse_id(text)?, 0),
    };
    Some(User {
        uid,
        gid,
        ..User::default()
    })
}

/// An id; the highest means "none" to the kernel.
fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_digits_and_nothing_else() {
        assert_eq!(
            parse_user("1").map(|user| (user.uid, user.gid)),
            Some((1, 0))
        );
        assert_eq!(
            parse_user("1:2").map(|user| (user.uid, user.gid)),
            Some((1, 2))
        );
        for bad in [
            "",
            ":",
            "1:",
            ":1",
            "+1",
            "1foo",
            "-1",
            "1:2:3",
            "4294967296",
            "4294967295",
        ] {
            assert_eq!(parse_user(bad), None, "{bad:?}");
        }
    }
}
