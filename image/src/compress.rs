//! Compressed streams, told apart by their first bytes and never by what a
//! media type or a file name claims.

use std::io::{self, BufReader, Cursor, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use crate::layer::limits::{LimitError, Limits};

/// Level of the gzip layers that we make. On 566 MB of Debian's files (zlib-rs,
/// one busy core): level 1 takes 5.6 s for 284 MB, 2 takes 6.5 s for 242 MB,
/// 6 takes 12.7 s for 228 MB, 7 takes 15.7 s for 227 MB. So 2 halves the time
/// of gzip's usual 6 for 6 % more bytes; 1 saves little more and costs 24 %.
const GZIP_LEVEL: u32 = 2;

/// Largest zstd window that is accepted, as a power of two: 128 MiB, what the
/// zstd command accepts. It bounds the memory a hostile stream can claim.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The compressor is fed blocks of exactly this many bytes, so that its output
/// cannot depend on how the input happened to arrive.
const BLOCK: usize = 128 << 10;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// By the magic number at the start.
    #[must_use]
    pub fn of(start: &[u8]) -> Coding {
        match start {
            [0x1f, 0x8b, ..] => Coding::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Coding::Zstd,
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Coding::Zstd,
            _ => Coding::Plain,
        }
    }
}

/// Reads the stream's first bytes; returns its coding and the whole stream.
pub(crate) fn sniff<R: Read>(mut input: R) -> io::Result<(Coding, Whole<R>)> {
    let mut start = Vec::with_capacity(4);
    input.by_ref().take(4).read_to_end(&mut start)?;
    let coding = Coding::of(&start);
    Ok((coding, Cursor::new(start).chain(input)))
}

/// A stream with its first bytes put back.
pub(crate) type Whole<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Counts what passes.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

enum Decoder<R: Read> {
    Plain(Counted<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Counted<R>>>>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<Counted<R>>>),
}

/// A decompressed stream that ends in an error when it outgrows its limits.
pub(crate) struct Decompressor<R: Read> {
    decoder: Decoder<R>,
    produced: u64,
    limits: Limits,
}

impl<R: Read> Decompressor<R> {
    pub(crate) fn new(coding: Coding, input: R, limits: &Limits) -> io::Result<Decompressor<R>> {
        let input = Counted {
            inner: input,
            bytes: 0,
        };
        let buffered = |input| BufReader::with_capacity(BLOCK, input);
        let decoder = match coding {
            Coding::Plain => Decoder::Plain(input),
            Coding::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(buffered(input)))),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered(input))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Decoder::Zstd(decoder)
            }
        };
        Ok(Decompressor {
            decoder,
            produced: 0,
            limits: *limits,
        })
    }

    fn consumed(&self) -> u64 {
        match &self.decoder {
            Decoder::Plain(input) => input.bytes,
            Decoder::Gzip(decoder) => decoder.get_ref().get_ref().bytes,
            Decoder::Zstd(decoder) => decoder.get_ref().get_ref().bytes,
        }
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::Plain(input) => input.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        }?;
        self.produced += read as u64;
        if self.produced > self.limits.bytes {
            return Err(io::Error::other(LimitError::Bytes {
                limit: self.limits.bytes,
            }));
        }
        let consumed = self.consumed();
        if self.produced > self.limits.ratio_from && self.produced / self.limits.ratio > consumed {
            return Err(io::Error::other(LimitError::Ratio {
                limit: self.limits.ratio,
                consumed,
            }));
        }
        Ok(read)
    }
}

/// A gzip stream whose bytes depend on nothing but what is written: the header
/// has no time, no name and no system.
pub(crate) struct Gzip<W: Write> {
    encoder: GzEncoder<W>,
    block: Vec<u8>,
}

impl<W: Write> Gzip<W> {
    pub(crate) fn new(out: W) -> Gzip<W> {
        Gzip {
            // 255: unknown operating system (RFC 1952, 2.3.1).
            encoder: GzBuilder::new()
                .mtime(0)
                .operating_system(255)
                .write(out, Compression::new(GZIP_LEVEL)),
            block: Vec::with_capacity(BLOCK),
        }
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.encoder.write_all(&self.block)?;
        self.encoder.finish()
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK - self.block.len();
        let (now, _) = bytes.split_at(room.min(bytes.len()));
        self.block.extend_from_slice(now);
        if self.block.len() == BLOCK {
            self.encoder.write_all(&self.block)?;
            self.block.clear();
        }
        Ok(now.len())
    }

    /// Does nothing: a flush in mid-stream would change the output.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies what is read through it to a writer.
pub(crate) struct Tee<R, W> {
    input: R,
    pub(crate) copy: W,
    /// Why the copy failed: the reader's user sees an error of reading.
    pub(crate) failure: Option<io::Error>,
}

impl<R, W> Tee<R, W> {
    pub(crate) fn new(input: R, copy: W) -> Tee<R, W> {
        Tee {
            input,
            copy,
            failure: None,
        }
    }
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        if let Some(bytes) = buffer.get(..read)
            && let Err(error) = self.copy.write_all(bytes)
        {
            let kind = error.kind();
            self.failure = Some(error);
            return Err(kind.into());
        }
        Ok(read)
    }
}

/// Writes everything to both.
pub(crate) struct Both<A, B>(pub(crate) A, pub(crate) B);

impl<A: Write, B: Write> Write for Both<A, B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.1.flush()
    }
}
