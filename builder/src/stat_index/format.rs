//! The index as a file.

use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{Record, Stamp};

/// The first bytes of the file; the number is the version of the format. A
/// file that begins otherwise is as good as none.
const MAGIC: &[u8; 20] = b"holdall stat index 1";

/// The longest index that is read, in bytes: two million files. A longer one
/// is not ours.
const MAX_SIZE: u64 = 512 * 1024 * 1024;

/// Whether a file is an index that this release reads; `false` for one of
/// another.
pub(crate) fn is_readable(file: &Path) -> io::Result<bool> {
    if file.symlink_metadata()?.len() > MAX_SIZE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let bytes = std::fs::read(file)?;
    let kind = MAGIC.strip_suffix(b"1").unwrap_or(MAGIC);
    if !bytes.starts_with(MAGIC) && bytes.starts_with(kind) {
        return Ok(false);
    }
    decode(&bytes)
        .map(|_| true)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The records of an index, if it is whole.
pub(super) fn read_index(file: &Path) -> Option<Vec<Record>> {
    let size = file.symlink_metadata().ok()?.len();
    if size > MAX_SIZE {
        return None;
    }
    decode(&std::fs::read(file).ok()?)
}

/// The file of these records, which are in order.
pub(super) fn encode(records: &[Record]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for Record {
        path,
        stamp,
        content,
    } in records
    {
        let Stamp {
            dev,
            ino,
            size,
            mtime,
            ctime,
            mode,
        } = stamp;
        bytes.extend((path.len() as u64).to_le_bytes());
        bytes.extend(path);
        bytes.extend(dev.to_le_bytes());
        bytes.extend(ino.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(mtime.to_le_bytes());
        bytes.extend(ctime.to_le_bytes());
        bytes.extend(mode.to_le_bytes());
        bytes.extend(content);
    }
    // A power cut can leave the new name on old blocks.
    let seal = Sha256::digest(&bytes);
    bytes.extend(seal);
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Record>> {
    let (body, seal) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(body).as_slice() != seal {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let length = usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok()?;
        let (path, tail) = rest.split_at_checked(length)?;
        rest = tail;
        let stamp = Stamp {
            dev: u64::from_le_bytes(take(&mut rest)?),
            ino: u64::from_le_bytes(take(&mut rest)?),
            size: u64::from_le_bytes(take(&mut rest)?),
            mtime: i128::from_le_bytes(take(&mut rest)?),
            ctime: i128::from_le_bytes(take(&mut rest)?),
            mode: u32::from_le_bytes(take(&mut rest)?),
        };
        records.push(Record {
            path: path.to_owned(),
            stamp,
            content: take::<32>(&mut rest)?,
        });
    }
    // It is searched by halves.
    records
        .is_sorted_by(|a, b| a.path < b.path)
        .then_some(records)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
