//! What a service writes, on its way through the init: the lines are those that
//! it wrote however they are read, and no form loses or makes up one.

use holdall_protocol::ServiceName;
use holdall_protocol::log::{LogRecord, MAX_LINE, Stream};
use serde_json::Value;

use crate::init::form::{Form, Head, write};
use crate::init::lines::{Batch, Lines};

const STAMP: &str = "2026-11-22T21:00:07.123456Z";

/// Each line, or piece of one, and whether it goes on.
type Said = Vec<(Vec<u8>, bool)>;

pub(crate) fn run(data: &[u8]) {
    let [piece, limit, bytes @ ..] = data else {
        return;
    };
    let whole = split(bytes, bytes.len().max(1));
    let cut = split(bytes, usize::from(*piece) * 37 + 1);
    assert_eq!(cut.0, whole.0, "cuts of a stream mean nothing");
    let said: Vec<u8> = whole.0.iter().flat_map(|(text, _)| text.clone()).collect();
    let written: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| *byte != b'\n')
        .collect();
    assert_eq!(said, written, "no byte is lost");
    for batches in [whole.1, cut.1] {
        forms(&batches, &cut.0, usize::from(*limit) * 64);
    }
}

/// What comes of these bytes, read so many at a time; and the batches.
fn split(bytes: &[u8], piece: usize) -> (Said, Vec<(Vec<u8>, bool)>) {
    let (mut lines, mut said, mut batches) = (Lines::default(), Said::new(), Vec::new());
    let mut take = |batch: Batch<'_>| {
        batches.push((batch.text.to_vec(), batch.partial));
        if batch.partial {
            assert_eq!(batch.text.len(), MAX_LINE);
            said.push((batch.text.to_vec(), true));
            return;
        }
        let text = batch.text.strip_suffix(b"\n").expect("whole lines");
        for line in text.split(|byte| *byte == b'\n') {
            assert!(line.len() <= MAX_LINE);
            said.push((line.to_vec(), false));
        }
    };
    for piece in bytes.chunks(piece) {
        lines.push(piece, &mut take);
    }
    lines.finish(&mut take);
    (said, batches)
}

fn forms(batches: &[(Vec<u8>, bool)], said: &Said, limit: usize) {
    let web: ServiceName = "web".parse().expect("a name");
    let head = Head {
        time: 7,
        stamp: STAMP,
        prefix: b"web | ",
        service: Some(&web),
        stream: Stream::Stdout,
    };
    let all = |form| {
        let mut out = Vec::new();
        for (text, partial) in batches {
            let mut rest = text.as_slice();
            while !rest.is_empty() {
                let batch = Batch {
                    text: rest,
                    partial: *partial,
                };
                let pause = out.len() + limit;
                let done = write(&mut out, pause, form, &head, batch);
                assert!(done > 0, "it goes on");
                rest = rest.get(done..).expect("no more than there is");
            }
        }
        out
    };
    let passed = all(Form::Passthrough);
    let as_it_came: Vec<u8> = batches.iter().flat_map(|(text, _)| text.clone()).collect();
    assert_eq!(passed, as_it_came);
    for (form, before) in [
        (Form::Prefixed { stamped: false }, "web | ".to_owned()),
        (Form::Prefixed { stamped: true }, format!("{STAMP} web | ")),
    ] {
        let mut expected = Vec::new();
        for (text, partial) in said {
            expected.extend_from_slice(before.as_bytes());
            expected.extend_from_slice(text);
            expected.extend_from_slice(if *partial { " …\n" } else { "\n" }.as_bytes());
        }
        assert_eq!(all(form), expected);
    }
    let (records, shown) = (all(Form::Record), all(Form::Json));
    let records: Vec<&[u8]> = lines_of(&records);
    let shown: Vec<&[u8]> = lines_of(&shown);
    assert_eq!((records.len(), shown.len()), (said.len(), said.len()));
    for ((record, shown), (text, partial)) in records.into_iter().zip(shown).zip(said) {
        let record: LogRecord = serde_json::from_slice(record).expect("a record");
        assert_eq!(record.text, String::from_utf8_lossy(text));
        assert_eq!(record.partial, *partial);
        let shown: Value = serde_json::from_slice(shown).expect("JSON");
        assert_eq!(shown.get("text"), Some(&Value::from(record.text)));
        assert_eq!(shown.get("time"), Some(&Value::from(STAMP)));
    }
}

fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.pop(), Some(&b""[..]), "every line ends");
    lines
}
