//! Messages with descriptors between a command, a box's monitor and its
//! keeper: both ends are this very program.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys;

/// The longest message; a box with every port published stays far below.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Bytes before the body: its length and the number of descriptors.
const HEADER: usize = 8;

/// Sends a message. The descriptors travel in groups, as the kernel takes
/// about 250 at once, each group with one byte of its own.
pub(crate) fn send(
    stream: &UnixStream,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    for number in [body.len(), fds.len()] {
        let number = u32::try_from(number).map_err(io::Error::other)?;
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&body);
    write(stream, &bytes, &[])?;
    for group in fds.chunks(sys::MAX_FDS) {
        write(stream, &[0], group)?;
    }
    Ok(())
}

fn write(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let (mut rest, mut fds) = (bytes, fds);
    while !rest.is_empty() {
        match sys::send_with_fds(stream.as_fd(), rest, fds) {
            Ok(count) => (rest, fds) = (rest.get(count..).unwrap_or_default(), &[]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Reads a message; `None` when the other end is gone.
pub(crate) fn receive<T: DeserializeOwned>(
    stream: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut header = [0; HEADER];
    if !fill(stream, &mut header)? {
        return Ok(None);
    }
    let (body, fds) = header.split_at(4);
    let length = |bytes: &[u8]| {
        bytes
            .try_into()
            .map(u32::from_le_bytes)
            .ok()
            .and_then(|n| usize::try_from(n).ok())
    };
    let (body, count) = (
        length(body).unwrap_or(usize::MAX),
        length(fds).unwrap_or(usize::MAX),
    );
    if body > MAX_BODY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; body];
    if !fill(stream, &mut bytes)? {
        return Ok(None);
    }
    let mut fds = Vec::new();
    while fds.len() < count {
        match sys::receive_with_fds(stream.as_fd(), &mut [0]) {
            Ok((0, _)) => return Ok(None),
            Ok((_, group)) if group.is_empty() => return Err(io::ErrorKind::InvalidData.into()),
            Ok((_, group)) => fds.extend(group),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Some((serde_json::from_slice(&bytes)?, fds)))
}

/// Reads exactly so many bytes; `false` when the other end is gone.
fn fill(mut stream: &UnixStream, bytes: &mut [u8]) -> io::Result<bool> {
    match io::Read::read_exact(&mut stream, bytes) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn more_descriptors_than_one_message_holds_arrive_in_order() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let (_read, write) = nix::unistd::pipe().expect("a pipe");
        let files: Vec<std::fs::File> = (0..450)
            .map(|number| {
                let mut file = tempfile::tempfile().expect("a file");
                io::Write::write_all(&mut file, format!("{number}").as_bytes()).expect("written");
                io::Seek::rewind(&mut file).expect("rewound");
                file
            })
            .collect();
        let sender = std::thread::spawn(move || {
            let fds: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
            send(&here, &vec!["hello"], &fds).expect("sent");
            send(&here, &"bye", &[write.as_fd()]).expect("sent");
        });
        let (text, fds) = receive::<Vec<String>>(&there)
            .expect("read")
            .expect("a message");
        assert_eq!(text, ["hello"]);
        let numbers: Vec<String> = fds
            .into_iter()
            .map(|fd| {
                let mut text = String::new();
                std::fs::File::from(fd)
                    .read_to_string(&mut text)
                    .expect("read");
                text
            })
            .collect();
        assert_eq!(
            numbers,
            (0..450)
                .map(|number| number.to_string())
                .collect::<Vec<_>>()
        );
        let (text, fds) = receive::<String>(&there).expect("read").expect("a message");
        assert_eq!((text.as_str(), fds.len()), ("bye", 1));
        sender.join().expect("sent");
        assert!(receive::<String>(&there).expect("read").is_none());
    }
}
