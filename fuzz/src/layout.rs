//! OCI layouts whose digests are right: parts, divided by lines of two dashes,
//! become blobs, and `@N` in a later part becomes the digest of the part N,
//! `%N` its size. The last part is index.json.

use std::fs;

use holdall_image::archive::import_layout;
use holdall_image::{Digest, Store};

use crate::jail::Jail;
use crate::{archive, parts, tarball};

/// More blobs say nothing new.
const MAX_PARTS: usize = 10;

pub(crate) fn run(data: &[u8]) {
    let parts = parts(data);
    let mut blobs: Vec<(Digest, Vec<u8>)> = Vec::new();
    for part in parts.into_iter().take(MAX_PARTS) {
        let blob = filled(part, &blobs);
        blobs.push((Digest::of(&blob), blob));
    }
    let Some((_, index)) = blobs.pop() else {
        return;
    };
    let version = br#"{"imageLayoutVersion":"1.0.0"}"#;

    let mut tar = Vec::new();
    tarball::append(&mut tar, b"oci-layout", version, |_| {});
    for (digest, blob) in &blobs {
        let name = format!("blobs/sha256/{}", digest.hex());
        tarball::append(&mut tar, name.as_bytes(), blob, |_| {});
    }
    tarball::append(&mut tar, b"index.json", &index, |_| {});
    tarball::end(&mut tar);
    archive::loaded(&tar);

    let jail = Jail::new();
    let dir = jail.folder("layout");
    fs::create_dir_all(dir.join("blobs/sha256")).expect("a folder for blobs");
    fs::write(dir.join("oci-layout"), version).expect("a file");
    fs::write(dir.join("index.json"), &index).expect("a file");
    for (digest, blob) in &blobs {
        fs::write(dir.join("blobs/sha256").join(digest.hex()), blob).expect("a file");
    }
    let state = jail.folder("state");
    let store = Store::open(&state.join("store"), &state.join("layers")).expect("a store opens");
    if let Ok(found) = import_layout(&store, &dir) {
        for (_, image) in found {
            assert_eq!(store.image(&image.digest).expect("it is there"), image);
        }
    }
    jail.check();
}

fn filled(part: &[u8], blobs: &[(Digest, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = part.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let digit = bytes
            .peek()
            .map(|digit| usize::from(digit.wrapping_sub(b'0')));
        match (byte, digit.and_then(|digit| blobs.get(digit))) {
            (b'@', Some((digest, _))) => out.extend_from_slice(digest.to_string().as_bytes()),
            (b'%', Some((_, blob))) => out.extend_from_slice(blob.len().to_string().as_bytes()),
            _ => {
                out.push(byte);
                continue;
            }
        }
        bytes.next();
    }
    out
}
