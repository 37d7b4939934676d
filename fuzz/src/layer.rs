//! A layer's bytes, as they come: plain, gzip or zstd. What was unpacked can
//! be packed, and is unpacked to the same again.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use holdall_image::RootDir;
use holdall_image::fuzzing::unpack;
use holdall_image::layer::LayerError;
use holdall_image::layer::limits::Limits;
use holdall_image::layer::pack::pack;

use crate::jail::Jail;
use crate::tarball;

/// Small enough that a bomb costs no time.
pub(crate) const LIMITS: Limits = Limits {
    entries: 1000,
    bytes: 4 << 20,
    path: 4095,
    depth: 256,
    extension: 64 << 10,
    held: 1 << 20,
    ratio: 1100,
    ratio_from: 1 << 20,
};

pub(crate) fn run(data: &[u8]) {
    through(&Jail::new(), &tarball::prepare(data));
}

/// Unpacks, and looks whether all stayed inside and nothing was lost.
pub(crate) fn through(jail: &Jail, stream: &[u8]) {
    let first = jail.folder("root");
    let unpacked = open(stream, &first);
    jail.check();
    if unpacked.is_err() {
        return;
    }
    let packed = packed(&first);
    jail.check();
    let second = jail.folder("again");
    open(&packed, &second).expect("what we packed unpacks");
    assert!(
        packed == self::packed(&second),
        "unpacked, packed and unpacked, it is another"
    );
    jail.check();
}

fn open(stream: &[u8], into: &Path) -> Result<(), LayerError> {
    let root = RootDir::open(into).expect("the root opens");
    unpack(stream, &root, &LIMITS).map(drop)
}

fn packed(dir: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    let dir = File::open(dir).expect("the root opens");
    pack(dir.as_fd(), i64::MAX, &mut out).expect("what was unpacked can be packed");
    out
}
