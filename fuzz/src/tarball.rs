//! Tars that get past the first check: a fuzzer doesn't guess checksums.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::Header;

const BLOCK: usize = 512;

/// Gives every header its checksum, where a reader that believes the sizes
/// looks for headers.
pub(crate) fn repair(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..at + BLOCK) {
        if block.iter().all(|byte| *byte == 0) {
            return;
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let content = header.entry_size().unwrap_or(0).min(tar.len() as u64);
        let content = usize::try_from(content).unwrap_or(usize::MAX);
        at += BLOCK + content.next_multiple_of(BLOCK);
    }
}

/// What the first byte of an input asks for is done to the rest: bit 0 repairs
/// checksums, bits 1 and 2 compress.
pub(crate) fn prepare(data: &[u8]) -> Vec<u8> {
    let Some((how, body)) = data.split_first() else {
        return Vec::new();
    };
    let mut tar = body.to_vec();
    if how & 1 != 0 {
        repair(&mut tar);
    }
    match how & 6 {
        2 => gzip(&tar),
        4 => zstd::encode_all(tar.as_slice(), 1).expect("memory takes it"),
        _ => tar,
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Appends an entry; `change` sees the header before its checksum is made.
pub(crate) fn append(
    tar: &mut Vec<u8>,
    path: &[u8],
    content: &[u8],
    change: impl FnOnce(&mut Header),
) {
    let mut header = Header::new_ustar();
    copy(&mut header.as_old_mut().name, path);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000);
    header.set_size(content.len() as u64);
    change(&mut header);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// Ends a tar.
pub(crate) fn end(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 2 * BLOCK, 0);
}

/// As much of a text as a field holds.
pub(crate) fn copy(field: &mut [u8], text: &[u8]) {
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
}

/// A record of an extended header: its length, which counts itself, its key
/// and its value.
pub(crate) fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}
