//! A strict reader of tar streams: ustar, old, GNU and PAX headers.
//!
//! The `tar` crate gives the layout of a header block; everything that is
//! *decided* about it is decided here, because readers that decide differently
//! are how one archive comes to have two contents (CVE-2025-62518): a field
//! that GNU tar and Go's archive/tar would read differently is an error.

use std::io::{self, Read};

use tar::Header;

use super::limits::{LimitError, Limits};
use super::pax::{self, Extensions, PaxError};

/// Size of a header and unit of all sizes in a tar.
const BLOCK: u64 = 512;

/// Why a tar cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream under it failed: the blob is damaged, or a limit was
    /// reached while decompressing.
    #[error("cannot read the tar at byte {offset}")]
    Read {
        /// Bytes read so far.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ends within an entry.
    #[error("the tar ends within an entry, at byte {offset}")]
    Truncated {
        /// Bytes read so far.
        offset: u64,
    },
    /// The block's checksum is wrong: this is no tar, or it is damaged.
    #[error("the block at byte {offset} is no tar header")]
    Checksum {
        /// Where the block begins.
        offset: u64,
    },
    /// A numeric field is no number, negative, or too large.
    #[error("{path:?} has a malformed {field}")]
    Number {
        /// The entry.
        path: String,
        /// Which field.
        field: &'static str,
    },
    /// An extended header breaks its grammar.
    #[error("the extended header at byte {offset} is malformed")]
    Pax {
        /// Where it begins.
        offset: u64,
        /// How.
        #[source]
        source: PaxError,
    },
    /// A type of entry that has no place in a layer.
    #[error("{path:?} is of the unsupported type {kind:?}")]
    Type {
        /// The entry.
        path: String,
        /// Its type flag.
        kind: char,
    },
    /// Sparse files are read differently by every reader.
    #[error("{path:?} is a sparse file")]
    Sparse {
        /// The entry.
        path: String,
    },
    /// An entry that can hold no data says that it has some, or is a regular
    /// file whose name ends in a slash.
    #[error("{path:?} contradicts its own type")]
    Contradiction {
        /// The entry.
        path: String,
    },
    /// A limit was reached.
    #[error("the tar is too large")]
    Limit(#[source] LimitError),
}

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

/// Reads entries one after the other.
pub(crate) struct TarReader<R> {
    input: R,
    offset: u64,
    /// Content of the current entry that was not read.
    left: u64,
    padding: u64,
    entries: u64,
    limits: Limits,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(input: R, limits: &Limits) -> TarReader<R> {
        TarReader {
            input,
            offset: 0,
            left: 0,
            padding: 0,
            entries: 0,
            limits: *limits,
        }
    }

    /// The next entry; the content of the one before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_content()?;
        let mut extensions = Extensions::default();
        loop {
            let at = self.offset;
            let Some(block) = self.header()? else {
                if extensions.is_empty() {
                    return Ok(None);
                }
                return Err(TarError::Truncated {
                    offset: self.offset,
                });
            };
            let header = Header::from_byte_slice(&block);
            let kind = header.as_old().linkflag.first().copied().unwrap_or(0);
            let malformed = |source| TarError::Pax { offset: at, source };
            match kind {
                b'x' => {
                    let body = self.extension(header)?;
                    extensions.add_pax(&body).map_err(malformed)?;
                }
                b'g' => {
                    let body = self.extension(header)?;
                    pax::check_global(&body).map_err(malformed)?;
                }
                b'L' => {
                    let body = self.extension(header)?;
                    extensions.set_gnu_path(body).map_err(malformed)?;
                }
                b'K' => {
                    let body = self.extension(header)?;
                    extensions.set_gnu_link(body).map_err(malformed)?;
                }
                _ => return self.entry(header, kind, extensions).map(Some),
            }
        }
    }

    /// Reads on in the current entry's content; 0 at its end.
    pub(crate) fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let want = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(part) = buffer.get_mut(..want).filter(|part| !part.is_empty()) else {
            return Ok(0);
        };
        let read = self.read_some(part)?;
        if read == 0 {
            return Err(TarError::Truncated {
                offset: self.offset,
            });
        }
        self.left -= read as u64;
        Ok(read)
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: u8,
        extensions: Extensions,
    ) -> Result<Entry, TarError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(TarError::Limit(LimitError::Entries {
                limit: self.limits.entries,
            }));
        }
        let old = header.as_old();
        let path = extensions.path.unwrap_or_else(|| stored_path(header));
        let shown = || {
            String::from_utf8_lossy(&path)
                .chars()
                .take(200)
                .collect::<String>()
        };
        let number = |field: &'static str, value: Option<i128>| {
            value
                .and_then(|value| u64::try_from(value).ok())
                .ok_or_else(|| TarError::Number {
                    path: shown(),
                    field,
                })
        };
        let id = |field: &'static str, long: Option<u64>, bytes: &[u8]| {
            let value = match long {
                Some(value) => value,
                None => number(field, parse_number(bytes))?,
            };
            // 2^32-1 means "leave it" to chown(2).
            u32::try_from(value)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| TarError::Number {
                    path: shown(),
                    field,
                })
        };
        if extensions.sparse || kind == b'S' {
            return Err(TarError::Sparse { path: shown() });
        }
        let size = match extensions.size {
            Some(size) => size,
            None => number("size", parse_number(&old.size))?,
        };
        let link = || {
            extensions
                .link
                .clone()
                .unwrap_or_else(|| until_nul(&old.linkname).to_vec())
        };
        let is_dir_name = path.ends_with(b"/");
        let what = match kind {
            // Before ustar, a directory was a file whose name ends in a slash.
            0 if is_dir_name => What::Directory,
            0 | b'0' | b'7' => What::File,
            b'1' => What::HardLink(link()),
            b'2' => What::Symlink(link()),
            b'3' | b'4' => {
                let device = |field: &'static str, bytes: Option<&[u8]>| {
                    number(field, bytes.and_then(parse_number)).and_then(|value| {
                        u32::try_from(value).map_err(|_| TarError::Number {
                            path: shown(),
                            field,
                        })
                    })
                };
                let (major, minor) = device_fields(header);
                let (major, minor) = (device("major", major)?, device("minor", minor)?);
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
                    path: shown(),
                    kind: char::from(other),
                });
            }
        };
        let contradicts = match what {
            What::File => is_dir_name,
            _ => size != 0,
        };
        if contradicts {
            return Err(TarError::Contradiction { path: shown() });
        }
        let (mtime, mtime_nanos) = match extensions.mtime {
            Some(time) => time,
            None => {
                let seconds = parse_number(&old.mtime)
                    .and_then(|seconds| i64::try_from(seconds).ok())
                    .ok_or_else(|| TarError::Number {
                        path: shown(),
                        field: "mtime",
                    })?;
                (seconds, 0)
            }
        };
        let mode = number("mode", parse_number(&old.mode))?;
        let entry = Entry {
            what,
            size,
            mode: u32::try_from(mode & 0o7777).unwrap_or(0),
            uid: id("owner", extensions.uid, &old.uid)?,
            gid: id("group", extensions.gid, &old.gid)?,
            mtime,
            mtime_nanos,
            xattrs: extensions.xattrs,
            path,
        };
        self.left = entry.size;
        self.padding = padding(entry.size);
        Ok(entry)
    }

    /// The next header block; `None` at the end mark or the end of the stream.
    fn header(&mut self) -> Result<Option<[u8; 512]>, TarError> {
        let at = self.offset;
        let mut block = [0_u8; 512];
        if !self.read_block(&mut block)? {
            return Ok(None);
        }
        if block.iter().all(|byte| *byte == 0) {
            // One zero block ends it as far as GNU tar is concerned; Go wants
            // two, and so do we, or the end of the stream.
            let second = self.offset;
            if self.read_block(&mut block)? && block.iter().any(|byte| *byte != 0) {
                return Err(TarError::Checksum { offset: second });
            }
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        let stored = parse_number(&header.as_old().cksum);
        let (unsigned, signed) = checksums(&block);
        if stored != Some(i128::from(unsigned)) && stored != Some(i128::from(signed)) {
            return Err(TarError::Checksum { offset: at });
        }
        Ok(Some(block))
    }

    /// The body of an extended header, within its bound.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let size = parse_number(&header.as_old().size)
            .and_then(|size| u64::try_from(size).ok())
            .ok_or_else(|| TarError::Number {
                path: "extended header".to_owned(),
                field: "size",
            })?;
        if size > self.limits.extension {
            return Err(TarError::Limit(LimitError::Extension {
                limit: self.limits.extension,
                size,
            }));
        }
        // Extended headers count as entries, or they would be free.
        self.entries += 1;
        let mut body = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.left = size;
        self.padding = padding(size);
        let mut filled = 0;
        while let Some(part) = body.get_mut(filled..).filter(|part| !part.is_empty()) {
            filled += self.read_content(part)?;
        }
        self.skip_content()?;
        Ok(body)
    }

    /// Passes over what is left of the content, which must be there, and its
    /// padding, which umoci leaves out at the very end.
    fn skip_content(&mut self) -> Result<(), TarError> {
        let content = std::mem::take(&mut self.left);
        if self.skip(content)? < content {
            return Err(TarError::Truncated {
                offset: self.offset,
            });
        }
        let padding = std::mem::take(&mut self.padding);
        self.skip(padding).map(drop)
    }

    /// Reads so many bytes, fewer at the end of the stream; how many it read.
    fn skip(&mut self, count: u64) -> Result<u64, TarError> {
        let mut sink = [0_u8; 8192];
        let mut skipped = 0;
        while skipped < count {
            let want = usize::try_from(count - skipped)
                .unwrap_or(usize::MAX)
                .min(sink.len());
            match sink.get_mut(..want).map(|part| self.read_some(part)) {
                Some(Ok(0)) | None => break,
                Some(Ok(read)) => skipped += read as u64,
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(skipped)
    }

    /// Fills the block; false where the stream ends before its first byte.
    fn read_block(&mut self, block: &mut [u8; 512]) -> Result<bool, TarError> {
        let mut filled = 0;
        while let Some(part) = block.get_mut(filled..).filter(|part| !part.is_empty()) {
            match self.read_some(part)? {
                0 if filled == 0 => return Ok(false),
                0 => {
                    return Err(TarError::Truncated {
                        offset: self.offset,
                    });
                }
                read => filled += read,
            }
        }
        Ok(true)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.input.read(buffer) {
                Ok(read) => {
                    self.offset += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(TarError::Read {
                        offset: self.offset,
                        source,
                    });
                }
            }
        }
    }
}

/// Bytes that fill `size` up to whole blocks.
pub(crate) fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

/// The name in the block itself: ustar may split it in two.
fn stored_path(header: &Header) -> Vec<u8> {
    let name = until_nul(&header.as_old().name);
    match header.as_ustar().map(|ustar| until_nul(&ustar.prefix)) {
        None | Some([]) => name.to_vec(),
        Some(prefix) => [prefix, b"/", name].concat(),
    }
}

fn device_fields(header: &Header) -> (Option<&[u8]>, Option<&[u8]>) {
    if let Some(ustar) = header.as_ustar() {
        (Some(&ustar.dev_major), Some(&ustar.dev_minor))
    } else if let Some(gnu) = header.as_gnu() {
        (Some(&gnu.dev_major), Some(&gnu.dev_minor))
    } else {
        (None, None)
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(&[])
}

/// Sum of the block's bytes with the checksum's own taken as spaces: unsigned,
/// and signed as some old writers have it.
fn checksums(block: &[u8; 512]) -> (i64, i64) {
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
fn parse_number(field: &[u8]) -> Option<i128> {
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
