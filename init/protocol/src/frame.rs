//! Framing on a stream: a little-endian u32 length, then that many bytes of
//! JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest body of a frame, in bytes. A peer that announces more is cut
/// off, so that nobody can make PID 1 keep a large buffer.
pub const MAX_BODY: usize = 64 * 1024;

/// The bytes of the length in front of a body.
pub const HEADER: usize = 4;

/// Why a message can't be framed or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The body is longer than [`MAX_BODY`].
    #[error("message of {0} bytes is over the limit of {MAX_BODY}")]
    TooLong(usize),
    /// The body is not the JSON that was expected.
    #[error("cannot read message")]
    Malformed(#[source] serde_json::Error),
}

/// Frames `message`.
///
/// # Errors
/// [`FrameError::TooLong`] when its JSON is over [`MAX_BODY`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message).map_err(FrameError::Malformed)?;
    let body = bytes.len() - HEADER;
    let length = u32::try_from(body).ok().filter(|_| body <= MAX_BODY);
    let length = length.ok_or(FrameError::TooLong(body))?;
    if let Some(header) = bytes.first_chunk_mut::<HEADER>() {
        *header = length.to_le_bytes();
    }
    Ok(bytes)
}

/// Collects bytes as they arrive and gives back whole messages. It holds at
/// most one frame beyond what was pushed last.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Adds bytes as read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Bytes that are waiting for the rest of their frame.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The next whole message, or `None` until more bytes come.
    ///
    /// # Errors
    /// After an error the stream has lost its place: close it.
    #[expect(
        clippy::should_implement_trait,
        reason = "each call chooses the type of the message, which an iterator can't"
    )]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(header) = self.pending.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length > MAX_BODY {
            return Err(FrameError::TooLong(length));
        }
        let Some(body) = self.pending.get(HEADER..HEADER + length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(body).map_err(FrameError::Malformed)?;
        self.pending.drain(..HEADER + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_survive_any_way_the_stream_cuts_them(
            messages in prop::collection::vec(".{0,40}", 0..8),
            cut in 1usize..9,
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend(encode(message).expect("short"));
            }
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.next::<String>().expect("well-formed") {
                    read.push(message);
                }
            }
            prop_assert_eq!(read, messages);
            prop_assert_eq!(decoder.pending(), 0);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next::<serde_json::Value>() {}
        }
    }

    #[test]
    fn an_announced_length_over_the_limit_is_refused_before_it_is_read() {
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        let error = decoder.next::<()>().expect_err("no frame is that long");
        let shown = error.to_string();
        assert_eq!(
            shown,
            "message of 4294967295 bytes is over the limit of 65536"
        );
    }

    #[test]
    fn the_longest_message_is_read_and_what_waits_for_its_rest_is_counted() {
        let longest = "x".repeat(MAX_BODY - 2);
        let frame = encode(&longest).expect("as long as may be");
        let (first, rest) = frame.split_at(10);
        let mut decoder = Decoder::default();
        decoder.push(first);
        assert_eq!(decoder.next::<String>().expect("no error yet"), None);
        assert_eq!(decoder.pending(), 10);
        decoder.push(rest);
        assert_eq!(
            decoder.next::<String>().expect("well-formed"),
            Some(longest)
        );
    }

    #[test]
    fn a_body_that_is_no_message_says_so_and_keeps_the_cause() {
        let mut decoder = Decoder::default();
        decoder.push(b"\x02\0\0\0[]");
        let error = decoder.next::<bool>().expect_err("a list is no truth");
        assert_eq!(error.to_string(), "cannot read message");
        assert!(std::error::Error::source(&error).is_some());
    }
}
