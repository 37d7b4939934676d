//! The control protocol: a stream means the same however it is cut, and every
//! message is written to the same.

use std::fmt::Debug;

use holdall_protocol::control::{Hello, Request, Response};
use holdall_protocol::frame::{self, Decoder};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) fn run(data: &[u8]) {
    let Some((how, stream)) = data.split_first() else {
        return;
    };
    let piece = usize::from(how >> 1) + 1;
    // Init reads requests after a greeting; a client reads responses.
    if how & 1 == 0 {
        alike::<Request>(stream, piece);
    } else {
        alike::<Response>(stream, piece);
    }
}

fn alike<T: Serialize + DeserializeOwned + PartialEq + Debug>(stream: &[u8], piece: usize) {
    let whole = messages::<T>(stream, stream.len().max(1));
    let pieces = messages::<T>(stream, piece);
    assert_eq!(whole, pieces, "cuts of a stream mean nothing");
    for message in whole.1 {
        // Escapes may make a text longer than it came.
        let Ok(bytes) = frame::encode(&message) else {
            continue;
        };
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        let read = decoder.next::<T>().expect("what we wrote is read");
        assert_eq!(read, Some(message));
        assert_eq!(decoder.pending(), 0);
    }
}

/// A greeting, the messages after it, and the error that ended them.
type Heard<T> = (Option<Hello>, Vec<T>, Option<String>);

fn messages<T: DeserializeOwned>(stream: &[u8], piece: usize) -> Heard<T> {
    let mut decoder = Decoder::default();
    let (mut hello, mut messages) = (None, Vec::new());
    for piece in stream.chunks(piece) {
        decoder.push(piece);
        loop {
            let next = match hello {
                None => decoder.next::<Hello>().map(|first| {
                    hello = first;
                    hello.is_some()
                }),
                Some(_) => decoder.next::<T>().map(|next| {
                    let some = next.is_some();
                    messages.extend(next);
                    some
                }),
            };
            match next {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return (hello, messages, Some(error.to_string())),
            }
        }
        assert!(
            decoder.pending() < frame::HEADER + frame::MAX_BODY,
            "no more than a frame waits"
        );
    }
    (hello, messages, None)
}
