//! What the pages for users show of services is accepted as it stands.

use holdall_protocol::{Manifest, Reader};

const PAGES: [(&str, &str, usize); 1] = [(
    "readiness.md",
    include_str!("../../../docs/readiness.md"),
    6,
)];

#[test]
fn each_piece_of_toml_is_a_manifest() {
    for (name, page, count) in PAGES {
        let pieces = page.split("```toml\n").skip(1);
        let pieces: Vec<&str> = pieces
            .map(|piece| piece.split("```").next().unwrap_or_default())
            .collect();
        assert_eq!(pieces.len(), count, "{name}");
        for piece in pieces {
            let read = Manifest::from_toml(piece, Reader::Builder);
            assert!(read.is_ok(), "{name}: {piece}\n{read:?}");
        }
    }
}
