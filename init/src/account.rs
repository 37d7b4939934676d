//! Users and groups out of the box's own files, read anew at each start (a
//! service may have added a user since) and with bounds: they may be hostile.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use holdall_protocol::account::{self, Account, AccountError};
use nix::errno::Errno;

/// Resolves `user[:group]`.
pub(crate) fn find(spec: &str) -> Result<Account, AccountError> {
    let passwd = read("/etc/passwd").unwrap_or_default();
    let group = read("/etc/group").unwrap_or_default();
    account::find_user(&passwd, &group, spec)
}

/// Resolves the name or number of a group.
pub(crate) fn group(name: &str) -> Result<u32, AccountError> {
    account::find_group(&read("/etc/group").unwrap_or_default(), name)
}

/// The account of `user` and `group` as a manifest writes them; none where
/// init's own is to stay.
pub(crate) fn of(user: Option<&str>, group: Option<&str>) -> Result<Option<Account>, AccountError> {
    let own = || nix::unistd::geteuid().to_string();
    match (user, group) {
        (None, None) => Ok(None),
        (Some(user), None) => find(user).map(Some),
        (Some(user), Some(group)) => find(&format!("{user}:{group}")).map(Some),
        (None, Some(group)) => find(&format!("{}:{group}", own())).map(Some),
    }
}

/// The bytes of a regular file up to the parser's bound. A file that isn't
/// there is an empty one; a FIFO or a device in its place is never waited for.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Errno::EINVAL.into());
    }
    let limit = u64::try_from(account::MAX_FILE).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
