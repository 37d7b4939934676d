//! A client of the control protocol, as the runtime is one.

use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use holdall_protocol::PROTOCOL_VERSION;
use holdall_protocol::control::{Hello, Request, Response, SOCKET_NAME};
use holdall_protocol::frame::{Decoder, encode};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

pub(crate) struct Wire {
    pub(crate) stream: UnixStream,
    decoder: Decoder,
}

impl Wire {
    /// Connects, and says nothing yet.
    pub(crate) fn silent(run_dir: &Path) -> Self {
        let stream = UnixStream::connect(run_dir.join(SOCKET_NAME)).expect("init listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a socket");
        Self {
            stream,
            decoder: Decoder::default(),
        }
    }

    /// Connects, and says hello.
    pub(crate) fn open(run_dir: &Path) -> Self {
        let mut wire = Self::silent(run_dir);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            program: "test".to_owned(),
        };
        wire.raw(&encode(&hello).expect("short"));
        wire.hello();
        wire
    }

    pub(crate) fn hello(&mut self) {
        let hello: Hello = self.next().expect("a hello");
        assert_eq!(hello.version, PROTOCOL_VERSION);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("init reads");
    }

    pub(crate) fn send(&mut self, request: &Request, descriptors: &[RawFd]) {
        let bytes = encode(request).expect("short");
        let slices = [IoSlice::new(&bytes)];
        let rights = [ControlMessage::ScmRights(descriptors)];
        let rights = if descriptors.is_empty() {
            &rights[..0]
        } else {
            &rights[..]
        };
        let fd = self.stream.as_raw_fd();
        let sent = sendmsg::<()>(fd, &slices, rights, MsgFlags::empty(), None).expect("sent");
        assert_eq!(sent, bytes.len());
    }

    /// The next message; none at the end.
    pub(crate) fn next<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.decoder.next().expect("well-formed") {
                return Some(message);
            }
            match self.stream.read(&mut buffer).expect("an answer in time") {
                0 => return None,
                read => self
                    .decoder
                    .push(buffer.get(..read).expect("what was read")),
            }
        }
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Response {
        self.send(request, &[]);
        self.next().expect("an answer")
    }
}
