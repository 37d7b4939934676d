//! Users and groups of an image, from the bytes of its /etc/passwd and
//! /etc/group.
//!
//! Our own parser, bounded and strict: the files come out of an image and may
//! be hostile, and the C library would load NSS modules from there.

use std::collections::BTreeSet;

/// The most bytes of either file that are looked at, and so the most a caller
/// needs to read.
pub const MAX_FILE: usize = 4 * 1024 * 1024;

/// The longest line; longer ones are skipped as if they weren't there.
const MAX_LINE: usize = 64 * 1024;

/// The most supplementary groups, as many as Linux takes (NGROUPS_MAX).
const MAX_GROUPS: usize = 65_536;

/// Ids a process can have: -1 as u32 means "leave it" to setuid and friends.
const NO_ID: u32 = u32::MAX;

/// Who a process is to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account {
    /// The user.
    pub uid: u32,
    /// The main group.
    pub gid: u32,
    /// The supplementary groups, sorted, without the main one. None where a
    /// group was named: as in docker, that one is then the only one.
    pub groups: Vec<u32>,
    /// The home directory; `/` for a user that is not in passwd.
    pub home: String,
    /// The name in passwd, if it is there.
    pub name: Option<String>,
}

/// Why there is no such account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// No user was named.
    #[error("user is empty")]
    Empty,
    /// A name that passwd does not have.
    #[error("cannot find user {0:?}: /etc/passwd has no such name")]
    UnknownUser(String),
    /// A name that group does not have.
    #[error("cannot find group {0:?}: /etc/group has no such name")]
    UnknownGroup(String),
    /// Digits that are no id.
    #[error("{0:?} is no id of a user or group: it must be below 4294967295")]
    BadId(String),
}

/// Resolves `user` or `user:group`, each a name or a number, as docker does: a
/// number needs no entry, and a name of digits only is a number.
///
/// # Errors
/// The user or group does not exist, or is no name and no number.
pub fn find_user(passwd: &[u8], group: &[u8], spec: &str) -> Result<Account, AccountError> {
    let (user, wanted) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    if user.is_empty() || wanted.is_some_and(str::is_empty) {
        return Err(AccountError::Empty);
    }
    let id = number(user)?;
    let entry = entries(passwd)
        .filter_map(User::parse)
        .find(|entry| match id {
            Some(id) => entry.uid == id,
            None => entry.name == user.as_bytes(),
        });
    let (uid, own_gid, home, name) = match (entry, id) {
        (Some(entry), _) => (
            entry.uid,
            entry.gid,
            text(entry.home),
            Some(text(entry.name)),
        ),
        (None, Some(id)) => (id, 0, String::new(), None),
        (None, None) => return Err(AccountError::UnknownUser(user.to_owned())),
    };
    let (gid, groups) = match wanted {
        Some(wanted) => (find_group(group, wanted)?, Vec::new()),
        None => (own_gid, member_of(group, name.as_deref(), own_gid)),
    };
    let home = if home.starts_with('/') {
        home
    } else {
        "/".to_owned()
    };
    Ok(Account {
        uid,
        gid,
        groups,
        home,
        name,
    })
}

/// Resolves a group, by name or number.
///
/// # Errors
/// The group does not exist, or is no name and no number.
pub fn find_group(group: &[u8], wanted: &str) -> Result<u32, AccountError> {
    if wanted.is_empty() {
        return Err(AccountError::Empty);
    }
    if let Some(id) = number(wanted)? {
        return Ok(id);
    }
    let found = entries(group)
        .filter_map(Group::parse)
        .find(|entry| entry.name == wanted.as_bytes());
    found
        .map(|entry| entry.gid)
        .ok_or_else(|| AccountError::UnknownGroup(wanted.to_owned()))
}

/// The groups that list `name`, but for the main one.
fn member_of(group: &[u8], name: Option<&str>, main: u32) -> Vec<u32> {
    let Some(name) = name else { return Vec::new() };
    let listed = entries(group).filter_map(Group::parse).filter(|entry| {
        entry
            .members
            .split(|byte| *byte == b',')
            .any(|member| member == name.as_bytes())
    });
    let ids: BTreeSet<u32> = listed
        .map(|entry| entry.gid)
        .filter(|gid| *gid != main)
        .take(MAX_GROUPS)
        .collect();
    ids.into_iter().collect()
}

/// An id in digits: `Ok(None)` for a name, an error for digits that are none.
fn number(text: &str) -> Result<Option<u32>, AccountError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let id = text.parse::<u32>().ok().filter(|id| *id != NO_ID);
    id.map(Some)
        .ok_or_else(|| AccountError::BadId(text.to_owned()))
}

/// The id of an entry: digits alone, as [`number`].
fn id(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.is_empty())?;
    number(text).ok().flatten()
}

fn entries(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let file = file.get(..MAX_FILE).unwrap_or(file);
    file.split(|byte| *byte == b'\n')
        .filter(|line| line.len() <= MAX_LINE)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `name:password:uid:gid:comment:home:shell` (passwd(5)).
struct User<'f> {
    name: &'f [u8],
    uid: u32,
    gid: u32,
    home: &'f [u8],
}

impl<'f> User<'f> {
    fn parse(line: &'f [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let uid = id(fields.next()?)?;
        let gid = id(fields.next()?)?;
        let _comment = fields.next();
        let home = fields.next().unwrap_or(b"");
        Some(Self {
            name,
            uid,
            gid,
            home,
        })
    }
}

/// `name:password:gid:member,member` (group(5)).
struct Group<'f> {
    name: &'f [u8],
    gid: u32,
    members: &'f [u8],
}

impl<'f> Group<'f> {
    fn parse(line: &'f [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let gid = id(fields.next()?)?;
        Some(Self {
            name,
            gid,
            members: fields.next().unwrap_or(b""),
        })
    }
}
