//! Telling whoever started us how the box is: `sd_notify(3)`.

use std::os::fd::AsRawFd;

use holdall_protocol::control::HealthKind;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};

use crate::environment::Environment;
use crate::pid1::Pid1;

/// Sends one message to NOTIFY_SOCKET, if there is one. Nobody listening is
/// nobody's error, and a listener that hangs is not waited for.
pub(crate) fn notify(env: &Environment, message: &str) {
    let Some(path) = env.get("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => UnixAddr::new_abstract(name),
        None => UnixAddr::new(path),
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None);
    if let (Ok(address), Ok(fd)) = (address, fd) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let _ = sendto(fd.as_raw_fd(), message.as_bytes(), &address, flags);
    }
}

/// What the engine was told of the box.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    /// Something has happened since.
    pub(crate) stale: bool,
    words: String,
}

impl Pid1 {
    /// Says whether the box is ready, or what it waits for, where that has
    /// changed.
    pub(crate) fn tell_engine(&mut self) {
        let stale = std::mem::take(&mut self.engine.stale);
        if !stale || self.env.get("NOTIFY_SOCKET").is_none() {
            return;
        }
        let ready = self.supervisor.health(HealthKind::Ready);
        let words = ready.map_or_else(|reason| reason, |()| "ready".to_owned());
        if words != self.engine.words {
            notify(&self.env, &format!("STATUS={words}\n"));
            self.engine.words = words;
        }
    }
}
