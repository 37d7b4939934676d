//! One entry of a tar: a header block and what extends it, read strictly.

use tar::Header;

use super::pax::Extensions;
use super::stream::TarError;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    File,
    Directory,
    /// Target as it is stored.
    Symlink(Vec<u8>),
    /// Name of an earlier entry.
    HardLink(Vec<u8>),
    /// Major and minor number.
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// A header with everything that extends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As it is stored: it may be absolute or have `..`.
    pub(crate) path: Vec<u8>,
    pub(crate) what: What,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) mtime_nanos: u32,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// Reads the block, whose checksum was right.
    pub(crate) fn read(
        header: &Header,
        kind: u8,
        extensions: Extensions,
    ) -> Result<Entry, TarError> {
        let old = header.as_old();
        let path = extensions.path.unwrap_or_else(|| stored_path(header));
        let fields = Fields(shown(&path));
        let magic = header.as_bytes().get(257..265);
        if !matches!(
            magic,
            Some(b"ustar\x0000" | b"ustar  \0" | [0, 0, 0, 0, 0, 0, 0, 0])
        ) {
            return Err(TarError::Format { path: fields.0 });
        }
        if extensions.sparse || kind == b'S' {
            return Err(TarError::Sparse { path: fields.0 });
        }
        // A field must be sound even where a record replaces it: readers differ
        // on whether they look.
        let stored_size = fields.number("size", &old.size)?;
        let size = extensions.size.unwrap_or(stored_size);
        let link = extensions
            .link
            .unwrap_or_else(|| until_nul(&old.linkname).to_vec());
        let is_dir_name = path.ends_with(b"/");
        let what = match kind {
            // Before ustar, a directory was a file whose name ends in a slash.
            0 if is_dir_name => What::Directory,
            0 | b'0' | b'7' => What::File,
            b'1' => What::HardLink(link),
            b'2' => What::Symlink(link),
            b'3' | b'4' => {
                let (major, minor) = device_fields(header);
                let major = fields.small("major", fields.number("major", major)?)?;
                let minor = fields.small("minor", fields.number("minor", minor)?)?;
                if kind == b'3' {
                    What::CharDevice(major, minor)
                } else {
                    What::BlockDevice(major, minor)
                }
            }
            b'5' => What::Directory,
            b'6' => What::Fifo,
            other => {
                return Err(TarError::Type {
                    path: fields.0,
                    kind: char::from(other),
                });
            }
        };
        let contradicts = match what {
            What::File => is_dir_name,
            _ => size != 0,
        };
        if contradicts {
            return Err(TarError::Contradiction { path: fields.0 });
        }
        let stored_mtime = fields.signed("mtime", &old.mtime)?;
        let (mtime, mtime_nanos) = extensions.mtime.unwrap_or((stored_mtime, 0));
        let mode = fields.number("mode", &old.mode)? & 0o7777;
        Ok(Entry {
            what,
            size,
            mode: fields.small("mode", mode)?,
            uid: fields.id("owner", extensions.uid, &old.uid)?,
            gid: fields.id("group", extensions.gid, &old.gid)?,
            mtime,
            mtime_nanos,
            xattrs: extensions.xattrs,
            path,
        })
    }
}

/// Reads the numeric fields of the entry of this name.
struct Fields(String);

impl Fields {
    fn wrong(&self, field: &'static str) -> TarError {
        TarError::Number {
            path: self.0.clone(),
            field,
        }
    }

    fn signed(&self, field: &'static str, bytes: &[u8]) -> Result<i64, TarError> {
        parse_number(bytes)
            .and_then(|value| i64::try_from(value).ok())
            .ok_or_else(|| self.wrong(field))
    }

    fn number(&self, field: &'static str, bytes: &[u8]) -> Result<u64, TarError> {
        parse_number(bytes)
            .and_then(|value| u64::try_from(value).ok())
            .ok_or_else(|| self.wrong(field))
    }

    fn small(&self, field: &'static str, value: u64) -> Result<u32, TarError> {
        u32::try_from(value).map_err(|_| self.wrong(field))
    }

    /// An owner. 2^32-1 means "leave it" to chown(2), so it is none.
    fn id(&self, field: &'static str, long: Option<u64>, bytes: &[u8]) -> Result<u32, TarError> {
        let stored = self.number(field, bytes)?;
        let value = long.unwrap_or(stored);
        match self.small(field, value)? {
            u32::MAX => Err(self.wrong(field)),
            id => Ok(id),
        }
    }
}

/// A hostile name, cut to what an error line can bear.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).collect()
}

/// The name in the block itself: ustar may split it in two.
fn stored_path(header: &Header) -> Vec<u8> {
    let name = until_nul(&header.as_old().name);
    match header.as_ustar().map(|ustar| until_nul(&ustar.prefix)) {
        None | Some([]) => name.to_vec(),
        Some(prefix) => [prefix, b"/", name].concat(),
    }
}

/// A device's numbers; no field at all, which is no number, in old headers.
fn device_fields(header: &Header) -> (&[u8], &[u8]) {
    if let Some(ustar) = header.as_ustar() {
        (&ustar.dev_major, &ustar.dev_minor)
    } else if let Some(gnu) = header.as_gnu() {
        (&gnu.dev_major, &gnu.dev_minor)
    } else {
        (&[], &[])
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(&[])
}

/// Sum of the block's bytes with the checksum's own taken as spaces: unsigned,
/// and signed as some old writers have it.
pub(crate) fn checksums(block: &[u8; 512]) -> (i64, i64) {
    let mut sums = (0, 0);
    for (index, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&index) {
            b' '
        } else {
            *byte
        };
        sums.0 += i64::from(byte);
        sums.1 += i64::from(byte.cast_signed());
    }
    sums
}

/// Octal with leading spaces, ended by a space, a NUL or the field; or GNU's
/// base 256, two's complement. An empty field is 0, as Go and GNU tar have it.
pub(crate) fn parse_number(field: &[u8]) -> Option<i128> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let start = if negative {
            i128::from(first.cast_signed())
        } else {
            i128::from(first & 0x7f)
        };
        // At most 12 bytes: 96 bits.
        return Some(
            rest.iter()
                .fold(start, |value, byte| value << 8 | i128::from(*byte)),
        );
    }
    let digits = until_nul(field).trim_ascii();
    let mut value: i128 = 0;
    for digit in digits {
        match digit {
            b'0'..=b'7' => value = value << 3 | i128::from(digit - b'0'),
            _ => return None,
        }
    }
    Some(value)
}
