//! Telling whoever started us that the box is ready: `sd_notify(3)`.

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};

use crate::environment::Environment;

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
