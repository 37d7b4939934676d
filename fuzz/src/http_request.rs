//! The listener's requests: a stream means the same however it is cut, and
//! nothing that is longer than it may be is waited for.

use crate::http::{MAX_HEAD, MAX_LINE, Request, read};

pub(crate) fn run(data: &[u8]) {
    let Some((how, stream)) = data.split_first() else {
        return;
    };
    // What comes after the longest head is never looked at.
    let data = stream.get(..MAX_HEAD + 1024).unwrap_or(stream);
    let whole = read(data);
    let step = usize::from(*how) + 1;
    let cuts = (0..data.len()).step_by(step).chain([data.len()]);
    let mut pieces = cuts.filter_map(|cut| data.get(..cut));
    let first = pieces.find_map(read);
    assert_eq!(whole.is_some(), first.is_some(), "a cut loses an answer");
    if data.len() >= MAX_HEAD + 2 {
        assert!(whole.is_some(), "an endless head is waited for");
    }
    let Some(Ok(request)) = first else {
        return;
    };
    // What is understood early is what is understood late.
    assert_eq!(whole, Some(Ok(request.clone())));
    let Request { path, .. } = request;
    assert!(path.starts_with('/') && path.len() <= MAX_LINE);
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
}
