//! A strict reader of tar streams: ustar, old, GNU and PAX headers.
//!
//! The `tar` crate gives the layout of a header block; everything that is
//! *decided* about it is decided here, because readers that decide differently
//! are how one archive comes to have two contents (CVE-2025-62518): a field
//! that GNU tar and Go's archive/tar would read differently is an error.

use std::io::{self, Read};

use tar::Header;

use super::entry::{Entry, checksums, parse_number};
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
    /// The header's magic is of no format known here: readers differ on
    /// which of its fields count.
    #[error("{path:?} has a header of an unknown format")]
    Format {
        /// The entry.
        path: String,
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
                _ => {
                    self.count()?;
                    let entry = Entry::read(header, kind, extensions)?;
                    self.left = entry.size;
                    self.padding = padding(entry.size);
                    return Ok(Some(entry));
                }
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
        // They count as entries, or they would be free.
        self.count()?;
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

    fn count(&mut self) -> Result<(), TarError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            let limit = self.limits.entries;
            return Err(TarError::Limit(LimitError::Entries { limit }));
        }
        Ok(())
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
