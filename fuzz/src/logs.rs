//! What a box writes to its log: every line of the file is a record, however
//! the bytes came.

use holdall_protocol::log::{LogRecord, MAX_LINE};
use holdall_runtime::fuzzing;

pub(crate) fn run(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let piece = usize::from(*piece) + 1;
    let cut = fuzzing::raw_lines(bytes, piece);
    let whole = fuzzing::raw_lines(bytes, bytes.len());
    assert_eq!(cut, whole, "cuts of a stream mean nothing");
    for line in cut
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let record: LogRecord = serde_json::from_slice(line).expect("a line is a record");
        // A byte that is no UTF-8 becomes a character of three.
        assert!(record.text.len() <= 3 * MAX_LINE);
        assert!(!record.text.contains('\n'));
    }
    // Init's records are checked where they are read; here only lines count.
    let records = fuzzing::record_lines(bytes, piece);
    assert!(records.is_empty() || records.ends_with(b"\n"));
    assert!(records.len() <= bytes.len() + bytes.len() / MAX_LINE + 1);
}
