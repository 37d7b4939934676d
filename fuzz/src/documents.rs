//! Index, manifest and config: what is accepted is written to the same.

use std::fmt::Debug;

use holdall_image::document::{DocumentError, ImageConfig, Index, Manifest};
use serde::Serialize;

pub(crate) fn run(data: &[u8]) {
    same(data, Index::decode);
    same(data, Manifest::decode);
    same(data, ImageConfig::decode);
}

fn same<T: Serialize + PartialEq + Debug>(
    data: &[u8],
    decode: fn(&[u8]) -> Result<T, DocumentError>,
) {
    match decode(data) {
        Ok(document) => {
            let text = serde_json::to_vec(&document).expect("a document is plain data");
            let read = decode(&text).expect("what we wrote is read");
            assert_eq!(read, document);
        }
        Err(error) => assert!(error.to_string().len() < 10_000, "a refusal is short"),
    }
}
