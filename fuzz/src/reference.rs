//! Names of images and digests: read, written and read they are the same, and
//! no part of them leads anywhere as a path.

use holdall_image::{Digest, Reference};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match text.parse::<Reference>() {
        Ok(reference) => {
            let shown = reference.to_string();
            assert_eq!(shown.parse().as_ref(), Ok(&reference), "{shown}");
            for part in [reference.registry(), reference.repository()] {
                assert!(!part.is_empty() && !part.contains(".."), "{part}");
                assert!(!part.starts_with('/') && !part.contains('\0'), "{part}");
            }
        }
        Err(error) => {
            let _said = (error.to_string(), error.hint());
        }
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_hex(&digest.hex()), Ok(digest));
    }
}
