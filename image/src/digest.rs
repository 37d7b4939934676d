//! `sha256:HEX`, the name of every blob (OCI image-spec, descriptor.md, *Digests*).

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of some bytes.
///
/// Its text form is strictly `sha256:` and 64 lower-case hex digits, so a
/// digest can serve as a file name without any further check (CVE-2024-3727).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Another algorithm, or none.
    #[error("digest {0:?} does not start with \"sha256:\"")]
    Algorithm(String),
    /// Too long, too short, upper case, or no hex at all.
    #[error("digest {0:?} is not \"sha256:\" and 64 lower-case hex digits")]
    Hex(String),
}

impl Digest {
    /// Digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The 64 hex digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        const DIGITS: [char; 16] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
        ];
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(digit(byte >> 4));
            text.push(digit(byte & 0xf));
        }
        text
    }

    /// The first 12 hex digits, as people are shown.
    #[must_use]
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }

    /// A digest from its 64 hex digits, the form of names on disk.
    pub fn from_hex(hex: &str) -> Result<Digest, DigestError> {
        let wrong = || DigestError::Hex(shown(hex));
        let bytes = hex.as_bytes();
        if bytes.len() != 64 {
            return Err(wrong());
        }
        let mut raw = [0_u8; 32];
        for (byte, pair) in raw.iter_mut().zip(bytes.chunks_exact(2)) {
            *byte = match pair {
                [high, low] => {
                    nibble(*high).ok_or_else(wrong)? << 4 | nibble(*low).ok_or_else(wrong)?
                }
                _ => return Err(wrong()),
            };
        }
        Ok(Digest(raw))
    }
}

/// Value of one lower-case hex digit.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// A hostile text, cut to what an error line can bear.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let hex = text
            .strip_prefix("sha256:")
            .ok_or_else(|| DigestError::Algorithm(shown(text)))?;
        Digest::from_hex(hex).map_err(|_| DigestError::Hex(shown(text)))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Digest, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a [`Digest`] over everything written to it; counts the bytes.
#[derive(Clone, Default)]
pub struct Hasher {
    state: Sha256,
    written: u64,
}

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Takes in more bytes; cannot fail.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.written += bytes.len() as u64;
    }

    /// Bytes seen so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The digest of all that was written.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
