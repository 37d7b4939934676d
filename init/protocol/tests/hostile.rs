//! Files that are made to hurt: neither a panic nor a long wait.

use holdall_protocol::{Manifest, Reader, diagnostic};

/// Reads and renders, which must come to an end soon; the time is watched by
/// the test runner.
fn survives(text: &str) -> Result<Manifest, String> {
    let read = Manifest::from_toml(text, Reader::Builder);
    read.map_err(|errors| diagnostic::render("holdall.toml", text, &errors))
}

const MEGABYTE: usize = 1024 * 1024;

#[test]
fn a_megabyte_of_any_one_thing_is_read_or_refused() {
    for piece in [
        "a", "[", "{", "\"", "'", "a.", "[a.", "a=", "#", "\n", "]", "[[a]]\n", "=", ",", "ä",
        "\\", "a=[", "a={b=", "a = 1\n", "\"\"\"",
    ] {
        let text = piece.repeat(MEGABYTE / piece.len());
        let _either = survives(&text);
    }
}

#[test]
fn a_key_of_many_parts_does_not_end_the_stack() {
    for text in [
        format!("{}a = 1", "a.".repeat(500_000)),
        format!("[{}a]", "a.".repeat(500_000)),
        format!("x = {{ {}a = 1 }}", "a.".repeat(500_000)),
        format!("{}a = 1", "a . ".repeat(200_000)),
        format!("{}a = 1", "\"a\".".repeat(200_000)),
        format!("{}a = 1", "'=#'.".repeat(200_000)),
    ] {
        assert!(survives(&text).is_err());
    }
}
