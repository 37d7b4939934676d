//! How much a hostile archive may make us do.

/// Bounds on one layer or archive, held while it streams: what lies beyond
/// them is never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the tar, and so inodes made.
    pub entries: u64,
    /// Bytes of the uncompressed tar.
    pub bytes: u64,
    /// Bytes of a path or link target. The kernel takes 4095.
    pub path: usize,
    /// Components of a path. Walking a tree holds a descriptor a level, and a
    /// process has 1024 by default.
    pub depth: usize,
    /// Bytes of one extended header (PAX, GNU long name).
    pub extension: u64,
    /// Bytes of directory names, which are held until the end to set their
    /// times last.
    pub held: u64,
    /// Uncompressed bytes for each compressed one. Deflate reaches 1032, so
    /// every honest gzip passes; zstd reaches far more on zeros.
    pub ratio: u64,
    /// The ratio counts from this many uncompressed bytes on.
    pub ratio_from: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 4_000_000,
            bytes: 256 << 30,
            path: 4095,
            depth: 256,
            extension: 1 << 20,
            held: 64 << 20,
            ratio: 1100,
            ratio_from: 256 << 20,
        }
    }
}

/// A bound of [`Limits`] that was reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too many entries.
    #[error("it has more than {limit} entries")]
    Entries {
        /// The bound.
        limit: u64,
    },
    /// Too large.
    #[error("it unpacks to more than {limit} bytes")]
    Bytes {
        /// The bound.
        limit: u64,
    },
    /// Compressed too well to be honest.
    #[error("its first {consumed} bytes unpack to more than {limit} times as many")]
    Ratio {
        /// The bound.
        limit: u64,
        /// Compressed bytes read so far.
        consumed: u64,
    },
    /// An extended header is too large.
    #[error("it has an extended header of {size} bytes, more than {limit}")]
    Extension {
        /// The bound.
        limit: u64,
        /// What it says.
        size: u64,
    },
    /// Too many directories with names too long.
    #[error("the names of its directories take more than {limit} bytes")]
    Held {
        /// The bound.
        limit: u64,
    },
}
