//! Bytes → lines.

use holdall_protocol::log::MAX_LINE;
use proptest::prelude::*;

use crate::log::lines::{Batch, Lines};

/// What comes of these pieces: each line or piece of one, and whether it
/// goes on.
fn all<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<(Vec<u8>, bool)> {
    let mut lines = Lines::default();
    let mut got = Vec::new();
    let mut take = |batch: Batch<'_>| match batch.text.strip_suffix(b"\n") {
        Some(text) if !batch.partial => {
            let each = text.split(|byte| *byte == b'\n');
            got.extend(each.map(|line| (line.to_vec(), false)));
        }
        _ => {
            assert!(batch.partial && batch.text.len() == MAX_LINE);
            got.push((batch.text.to_vec(), true));
        }
    };
    for piece in pieces {
        lines.push(piece, &mut take);
    }
    lines.finish(&mut take);
    got
}

/// The same, in the plainest way.
fn plainly(bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let mut got = Vec::new();
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    for mut line in lines {
        while line.len() > MAX_LINE {
            let (piece, rest) = line.split_at(MAX_LINE);
            got.push((piece.to_vec(), true));
            line = rest;
        }
        got.push((line.to_vec(), false));
    }
    got
}

#[test]
fn lines_are_the_same_however_the_pipe_cuts_them() {
    let whole = vec![
        (b"one".to_vec(), false),
        (vec![], false),
        (b"two".to_vec(), false),
    ];
    assert_eq!(all([&b"one\n\ntwo"[..]]), whole);
    let bytewise: [&[u8]; 6] = [b"o", b"ne", b"\n", b"\n", b"tw", b"o\n"];
    assert_eq!(all(bytewise), whole);
}

#[test]
fn a_line_over_the_limit_is_cut_and_its_pieces_say_so() {
    let long = vec![b'x'; 2 * MAX_LINE + 5];
    for pieces in [
        vec![&long[..], b"\n"],
        long.chunks(1000).chain([&b"\n"[..]]).collect(),
    ] {
        let got = all(pieces);
        let lengths: Vec<_> = got
            .iter()
            .map(|(line, partial)| (line.len(), *partial))
            .collect();
        assert_eq!(lengths, [(MAX_LINE, true), (MAX_LINE, true), (5, false)]);
    }
}

#[test]
fn a_line_of_the_limit_is_whole() {
    let mut line = vec![b'x'; MAX_LINE];
    line.push(b'\n');
    assert_eq!(all([&line[..]]), plainly(&line));
    assert_eq!(all(line.chunks(7)), plainly(&line));
    line.insert(0, b'x');
    assert_eq!(all([&line[..]]), plainly(&line));
    assert_eq!(all(line.chunks(MAX_LINE)), plainly(&line));
}

#[test]
fn memory_stays_bounded_without_a_line_end() {
    let (mut lines, mut passed) = (Lines::default(), 0);
    for _ in 0..1001 {
        lines.push(&[b'x'; 4096], |batch| passed += batch.text.len());
    }
    assert_eq!(passed, 250 * MAX_LINE);
    lines.finish(|batch| assert_eq!(batch.text.len(), 4096 + 1));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_the_lines_that_they_are(
        runs in prop::collection::vec((0_usize..40_000, any::<bool>(), 0_usize..5), 0..6),
        cuts in prop::collection::vec(1_usize..70_000, 1..8),
    ) {
        let mut bytes = Vec::new();
        for (length, ended, empty) in runs {
            // A mark at each end, so that a byte that moves is seen.
            bytes.extend((0..length).map(|at| b'a' + u8::try_from(at % 23).expect("small")));
            bytes.extend(std::iter::repeat_n(b'\n', usize::from(ended) + empty));
        }
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, next) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = next;
        }
        prop_assert_eq!(all(pieces), plainly(&bytes));
    }
}
