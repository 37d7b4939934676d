//! holdall.toml, as the builder and as the init read it.

use holdall_builder::fuzzing;
use holdall_protocol::diagnostic::{self, Diagnostic};
use holdall_protocol::{Manifest, Reader};

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Manifest::from_toml(&text, Reader::Builder) {
        Ok(manifest) => {
            let written = manifest.to_toml();
            let read = Manifest::from_toml(&written, Reader::Init);
            let read = read.unwrap_or_else(|errors| {
                let shown = diagnostic::render("written", &written, &errors);
                panic!("the builder's text is refused by the init: {shown}")
            });
            assert_eq!(read, manifest);
            assert_eq!(read.to_toml(), written);
        }
        Err(errors) => said(&text, &errors),
    }
    if let Err(errors) = Manifest::from_toml(&text, Reader::Init) {
        said(&text, &errors);
    }
    match fuzzing::holdall_toml(&text) {
        Ok(manifest) => {
            let read = Manifest::from_toml(&text, Reader::Builder);
            assert_eq!(read.as_ref(), Ok(&manifest), "both read the same services");
        }
        Err(errors) => said(&text, &errors),
    }
}

/// Errors stand in the file, in its order, and print.
fn said(text: &str, errors: &[Diagnostic]) {
    assert!(!errors.is_empty(), "a refusal says why");
    assert!(errors.is_sorted_by_key(|error| error.span.start));
    for error in errors {
        assert!(error.span.start <= text.len() && error.span.start <= error.span.end);
    }
    let shown = diagnostic::render("holdall.toml", text, errors);
    assert!(shown.starts_with("holdall.toml:"), "{shown}");
}
