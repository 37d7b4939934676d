//! PAX extended headers (POSIX.1-2001 pax): records `LENGTH KEY=VALUE\n`.

use std::collections::BTreeSet;

/// Prefix of the records that carry extended attributes.
pub(crate) const XATTR: &str = "SCHILY.xattr.";

/// Why an extended header is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaxError {
    /// The length, the space, the `=` or the newline is not where it must be.
    #[error("record {0} breaks the format")]
    Record(usize),
    /// One key twice in one header, or a name by two kinds of header.
    #[error("{0:?} is given twice")]
    Twice(String),
    /// A value that is no number, no time, or has a NUL where it is a path.
    #[error("{0:?} has a malformed value")]
    Value(String),
    /// A second PAX header for one entry: no tool writes it, and its records
    /// would add up without bound.
    #[error("it is the second for one entry")]
    Second,
    /// Global headers may say nothing that changes entries.
    #[error("a global header sets {0:?}")]
    Global(String),
}

/// What extended headers say about the entry after them.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    /// Seconds and nanoseconds.
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: bool,
    pax: bool,
    any: bool,
}

impl Extensions {
    /// Whether no extended header came.
    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    /// GNU's long name.
    pub(crate) fn set_gnu_path(&mut self, body: Vec<u8>) -> Result<(), PaxError> {
        self.any = true;
        set_once(&mut self.path, "path", gnu_name(body)?)
    }

    /// GNU's long link target.
    pub(crate) fn set_gnu_link(&mut self, body: Vec<u8>) -> Result<(), PaxError> {
        self.any = true;
        set_once(&mut self.link, "linkpath", gnu_name(body)?)
    }

    /// The records of one PAX header.
    pub(crate) fn add_pax(&mut self, body: &[u8]) -> Result<(), PaxError> {
        if std::mem::replace(&mut self.pax, true) {
            return Err(PaxError::Second);
        }
        self.any = true;
        let mut seen = BTreeSet::new();
        for (key, value) in records(body)? {
            let shown = || String::from_utf8_lossy(key).into_owned();
            if !seen.insert(key) {
                return Err(PaxError::Twice(shown()));
            }
            let wrong = || PaxError::Value(shown());
            match key {
                b"path" => set_once(&mut self.path, "path", path(value).ok_or_else(wrong)?)?,
                b"linkpath" => {
                    set_once(&mut self.link, "linkpath", path(value).ok_or_else(wrong)?)?;
                }
                b"size" => set_once(&mut self.size, "size", decimal(value).ok_or_else(wrong)?)?,
                b"uid" => set_once(&mut self.uid, "uid", decimal(value).ok_or_else(wrong)?)?,
                b"gid" => set_once(&mut self.gid, "gid", decimal(value).ok_or_else(wrong)?)?,
                b"mtime" => set_once(&mut self.mtime, "mtime", time(value).ok_or_else(wrong)?)?,
                b"hdrcharset" if value != b"BINARY" && value != b"ISO-IR 10646 2000 UTF-8" => {
                    return Err(wrong());
                }
                _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR.as_bytes()) {
                        if name.is_empty() || name.contains(&0) {
                            return Err(wrong());
                        }
                        self.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                    // Other keys (atime, comment, LIBARCHIVE.*) are to be
                    // ignored, says POSIX.
                }
            }
        }
        Ok(())
    }
}

/// A global header (git archive writes one) may only comment.
pub(crate) fn check_global(body: &[u8]) -> Result<(), PaxError> {
    match records(body)?
        .into_iter()
        .find(|(key, _)| *key != b"comment")
    {
        None => Ok(()),
        Some((key, _)) => Err(PaxError::Global(String::from_utf8_lossy(key).into_owned())),
    }
}

fn set_once<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), PaxError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(PaxError::Twice(key.to_owned())),
    }
}

/// One record: key and value.
type Record<'b> = (&'b [u8], &'b [u8]);

fn records(mut body: &[u8]) -> Result<Vec<Record<'_>>, PaxError> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let wrong = PaxError::Record(records.len() + 1);
        let Some((record, rest)) = split_record(body) else {
            return Err(wrong);
        };
        records.push(record);
        body = rest;
    }
    Ok(records)
}

fn split_record(body: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = body.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(body.get(..space)?)?).ok()?;
    let record = body.get(space + 1..length)?;
    let record = record.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = record.get(..equals).filter(|key| !key.is_empty())?;
    Some(((key, record.get(equals + 1..)?), body.get(length..)?))
}

fn gnu_name(mut body: Vec<u8>) -> Result<Vec<u8>, PaxError> {
    while body.last() == Some(&0) {
        body.pop();
    }
    path(&body).ok_or_else(|| PaxError::Value("long name".to_owned()))
}

fn path(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty() && !value.contains(&0)).then(|| value.to_vec())
}

/// Digits alone: no sign, no space.
fn decimal(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// `-12.345`; digits beyond nanoseconds are cut off.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        None => (value, &[][..]),
        Some(dot) => (value.get(..dot)?, value.get(dot + 1..)?),
    };
    let (negative, digits) = match whole.strip_prefix(b"-") {
        None => (false, whole),
        Some(digits) => (true, digits),
    };
    let seconds = i64::try_from(decimal(digits)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |nanos, index| {
        nanos * 10 + u32::from(fraction.get(index).map_or(0, |digit| digit - b'0'))
    });
    match (negative, nanos) {
        (false, nanos) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, nanos) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

/// Encodes records sorted by key; empty without any.
pub(crate) fn encode(mut records: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    records.sort_unstable();
    let mut body = Vec::new();
    for (key, value) in records {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + rest.to_string().len();
        if length.to_string().len() != rest.to_string().len() {
            length += 1;
        }
        body.extend_from_slice(length.to_string().as_bytes());
        body.push(b' ');
        body.extend_from_slice(&key);
        body.push(b'=');
        body.extend_from_slice(&value);
        body.push(b'\n');
    }
    body
}
