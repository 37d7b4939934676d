//! Lines in each form.

use holdall_protocol::ServiceName;
use holdall_protocol::log::{LogRecord, Stream};

use crate::log::form::{Form, Head, write};
use crate::log::lines::Batch;

const STAMP: &str = "2026-11-22T21:00:07.123456Z";

fn head<'h>(prefix: &'h [u8], service: Option<&'h ServiceName>, stream: Stream) -> Head<'h> {
    Head {
        time: 7,
        stamp: STAMP,
        prefix,
        service,
        stream,
    }
}

fn piece(text: &[u8]) -> Batch<'_> {
    Batch {
        text,
        partial: true,
    }
}

fn written(form: Form, head: &Head<'_>, batch: Batch<'_>) -> String {
    let mut out = Vec::new();
    assert_eq!(
        write(&mut out, usize::MAX, form, head, batch),
        batch.text.len()
    );
    String::from_utf8(out).expect("text")
}

#[test]
fn prefixes_say_whose_words_it_is() {
    let web: ServiceName = "web".parse().expect("a name");
    let form = Form::Prefixed { stamped: false };
    let said = head(b"web   | ", Some(&web), Stream::Stdout);
    assert_eq!(
        written(form, &said, Batch::whole(b"hi\n\nyou\n")),
        "web   | hi\nweb   | \nweb   | you\n"
    );
    assert_eq!(written(form, &said, piece(b"lo")), "web   | lo …\n");
    let own = head(b"init  | ", Some(&web), Stream::Init);
    assert_eq!(
        written(form, &own, Batch::whole(b"ready\n")),
        "init  | web: ready\n"
    );
    let own = head(b"init  | ", None, Stream::Init);
    assert_eq!(
        written(form, &own, Batch::whole(b"stopping\n")),
        "init  | stopping\n"
    );
    let stamped = Form::Prefixed { stamped: true };
    assert_eq!(
        written(stamped, &said, Batch::whole(b"a\nb\n")),
        format!("{STAMP} web   | a\n{STAMP} web   | b\n")
    );
}

#[test]
fn what_passes_through_is_as_it_came() {
    let web: ServiceName = "web".parse().expect("a name");
    let said = head(b"web | ", Some(&web), Stream::Stdout);
    for batch in [Batch::whole(b"a\n\nb\n"), piece(b"half")] {
        let text = written(Form::Passthrough, &said, batch);
        assert_eq!(text.as_bytes(), batch.text);
    }
}

#[test]
fn a_line_of_json_reads_back_as_the_record_it_is() {
    let web: ServiceName = "web".parse().expect("a name");
    for (service, stream, batch, text) in [
        (
            Some(&web),
            Stream::Stdout,
            piece(b"a \"quoted\" \x1b[1m line\t"),
            "a \"quoted\" \u{1b}[1m line\t",
        ),
        (None, Stream::Init, Batch::whole(b"\n"), ""),
        (
            Some(&web),
            Stream::Stderr,
            Batch::whole(b"\xff\n"),
            "\u{fffd}",
        ),
    ] {
        let record = LogRecord {
            time: 7,
            service: service.cloned(),
            stream,
            text: text.to_owned(),
            partial: batch.partial,
        };
        let head = head(b"", service, stream);
        let line = written(Form::Record, &head, batch);
        assert_eq!(serde_json::from_str::<LogRecord>(&line).ok(), Some(record));
        let shown = line.replacen("\"time\":7", &format!("\"time\":\"{STAMP}\""), 1);
        assert_eq!(written(Form::Json, &head, batch), shown);
    }
}

#[test]
fn a_limit_ends_after_a_line_and_what_is_left_goes_on_there() {
    let web: ServiceName = "web".parse().expect("a name");
    let head = head(b"web | ", Some(&web), Stream::Stdout);
    let text = b"one\ntwo\n\nfour and more\nfive\n";
    for form in [
        Form::Prefixed { stamped: false },
        Form::Prefixed { stamped: true },
        Form::Json,
        Form::Record,
        Form::Passthrough,
    ] {
        let whole = written(form, &head, Batch::whole(text));
        for limit in 0..40 {
            let (mut all, mut rest) = (Vec::new(), &text[..]);
            while !rest.is_empty() {
                let mut out = Vec::new();
                let done = write(&mut out, limit, form, &head, Batch::whole(rest));
                assert!(
                    done > 0 && rest[..done].ends_with(b"\n"),
                    "{form:?} {limit}"
                );
                all.extend(out);
                rest = &rest[done..];
            }
            assert_eq!(String::from_utf8(all).expect("text"), whole, "{form:?}");
        }
    }
}
