//! The forwarder: bytes between a socket of the host and one of the box, by
//! splice, without copying them through this process.
//!
//! Its process has joined the box's network namespace after it bound the
//! listening sockets, so every socket it makes is one of the box's; no helper
//! and no hop are needed.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::listen::Bound;

/// Descriptors of one connection at worst: two sockets and two pipes.
const FDS_PER_CONNECTION: u64 = 6;

/// Descriptors that the process needs beside its connections.
const FDS_RESERVED: u64 = 64;

/// Connections that one box has at most; more wait in the listening socket's
/// queue. Each may pin two pipes of kernel memory while bytes are in flight.
const MAX_CONNECTIONS: u64 = 16 * 1024;

/// How much one splice moves at most. Larger pipes don't pay: a socket rarely
/// has more at once.
const PIPE_SIZE: i32 = 256 * 1024;

/// Pipes kept for reuse while nobody needs them.
const SPARE_PIPES: usize = 8;

/// The pause after the system had no descriptor or memory left for a new
/// connection. Without it a full table would be asked again at once, for ever.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Starts forwarding on the current thread's [`tokio::task::LocalSet`].
/// `descriptors` is the process's limit.
pub(crate) fn start(bound: Vec<Bound>, descriptors: u64) -> io::Result<()> {
    let connections =
        (descriptors.saturating_sub(FDS_RESERVED) / FDS_PER_CONNECTION).clamp(1, MAX_CONNECTIONS);
    let slots = Arc::new(Semaphore::new(
        usize::try_from(connections).unwrap_or(usize::MAX),
    ));
    let pipes = Pipes::default();
    for Bound { port, socket } in bound {
        let listener = TcpListener::from_std(socket.into())?;
        tokio::task::spawn_local(accept(listener, port.inside, slots.clone(), pipes.clone()));
    }
    Ok(())
}

async fn accept(listener: TcpListener, inside: u16, slots: Arc<Semaphore>, pipes: Pipes) {
    loop {
        // The slot first: whom we can't serve waits in the queue.
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::task::spawn_local(serve(client, inside, pipes.clone(), slot));
            }
            Err(error) => {
                drop(slot);
                if is_exhausted(&error) {
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                // Else the client is gone already: the next, please.
            }
        }
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
    )
}

async fn serve(client: TcpStream, inside: u16, pipes: Pipes, _slot: OwnedSemaphorePermit) {
    let Ok(server) = connect(inside).await else {
        // As if the port itself had refused, which it did.
        reset(client);
        return;
    };
    // A peer that vanished without a word must not keep its slot for ever.
    for stream in [&client, &server] {
        // Latency first; and an option that can't be set is no reason to
        // refuse the connection.
        let _: io::Result<()> = stream.set_nodelay(true);
        let _: nix::Result<()> = setsockopt(stream, sockopt::KeepAlive, &true);
    }
    let both = async {
        tokio::try_join!(
            pump(&client, &server, &pipes),
            pump(&server, &client, &pipes)
        )
    };
    if both.await.is_err() {
        // One side was reset, so the other is: an orderly end would tell it
        // that everything arrived.
        reset(client);
        reset(server);
    }
}

/// Ends a connection by a reset.
fn reset(stream: TcpStream) {
    // Where it can't be set the peer gets an orderly end.
    let _: io::Result<()> = stream.set_zero_linger();
    drop(stream);
}

/// To the port in the box: IPv4 first, as services that listen on one family
/// only mostly listen on that.
async fn connect(port: u16) -> io::Result<TcpStream> {
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    match TcpSocket::new_v4()?.connect(v4).await {
        Ok(stream) => Ok(stream),
        Err(first) if first.kind() == io::ErrorKind::ConnectionRefused => {
            let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
            TcpSocket::new_v6()?.connect(v6).await
        }
        Err(error) => Err(error),
    }
}

/// Moves bytes one way until their end, and passes the end on.
async fn pump(from: &TcpStream, to: &TcpStream, pipes: &Pipes) -> io::Result<()> {
    loop {
        from.readable().await?;
        let pipe = pipes.take()?;
        // Filled and emptied in turns: only bytes in flight hold a pipe, so an
        // idle connection costs two sockets and nothing else.
        loop {
            let filled = from.try_io(Interest::READABLE, || {
                Ok(splice(from, None, &pipe.write, None, PIPE_BYTES, FLAGS)?)
            });
            let mut left = match filled {
                Ok(0) => return shutdown(to),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            while left > 0 {
                left -= to
                    .async_io(Interest::WRITABLE, || {
                        Ok(splice(&pipe.read, None, to, None, left, FLAGS)?)
                    })
                    .await?;
            }
        }
        pipes.give_back(pipe);
    }
}

const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_NONBLOCK.union(SpliceFFlags::SPLICE_F_MOVE);

/// [`PIPE_SIZE`], as splice takes it.
const PIPE_BYTES: usize = 256 * 1024;

fn shutdown(stream: &TcpStream) -> io::Result<()> {
    use nix::sys::socket::{Shutdown, shutdown};
    use std::os::fd::AsRawFd as _;
    match shutdown(stream.as_fd().as_raw_fd(), Shutdown::Write) {
        // It was the first to go.
        Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A pipe that is empty.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// Empty pipes. One with bytes in it is dropped with its connection and never
/// comes back, so no connection sees another's bytes.
#[derive(Debug, Clone, Default)]
struct Pipes(Rc<RefCell<Vec<Pipe>>>);

impl Pipes {
    fn take(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.0.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Where the user's share of pipe memory is used up, a small one works.
        let _: nix::Result<i32> = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        Ok(Pipe { read, write })
    }

    fn give_back(&self, pipe: Pipe) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < SPARE_PIPES {
            spare.push(pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;

    use super::super::listen::{PublishedPort, bind_all};
    use super::*;

    /// A forwarder to `inside`, on a thread of its own that ends with the
    /// test's process; returns where it listens.
    fn forwarding(inside: u16, descriptors: u64) -> SocketAddr {
        let publish = ["127.0.0.1::80".parse().expect("a port")];
        let mut bound = bind_all(&publish).expect("bound");
        for Bound {
            port: PublishedPort { inside: port, .. },
            ..
        } in &mut bound
        {
            *port = inside;
        }
        let host = bound.first().expect("one").port.host;
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build()
                .expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async {
                start(bound, descriptors).expect("started");
                std::future::pending::<()>().await;
            });
        });
        host
    }

    /// A server that sends back what it gets, until the end.
    fn echo(address: &str) -> u16 {
        let listener = std::net::TcpListener::bind(address).expect("bound");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut read = stream.try_clone().expect("cloned");
                    drop(io::copy(&mut read, &mut stream));
                    drop(stream.shutdown(Shutdown::Write));
                });
            }
        });
        port
    }

    fn connected(host: SocketAddr) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(host).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        stream
    }

    #[test]
    fn bytes_come_back_whole_and_each_direction_ends_by_itself() {
        let host = forwarding(echo("127.0.0.1:0"), 1024);
        let mut stream = connected(host);
        let sent: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let mut write = stream.try_clone().expect("cloned");
        let bytes = sent.clone();
        let writer = std::thread::spawn(move || {
            write.write_all(&bytes).expect("written");
            write.shutdown(Shutdown::Write).expect("half closed");
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("read");
        writer.join().expect("written");
        assert!(
            received == sent,
            "{} of {} bytes",
            received.len(),
            sent.len()
        );
    }

    #[test]
    fn a_service_on_ipv6_alone_is_reached() {
        let host = forwarding(echo("[::1]:0"), 1024);
        let mut stream = connected(host);
        stream.write_all(b"hello").expect("written");
        stream.shutdown(Shutdown::Write).expect("half closed");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_refused_port_resets_the_client() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let inside = free.local_addr().expect("an address").port();
        drop(free);
        let host = forwarding(inside, 1024);
        let mut stream = connected(host);
        let error = stream.read(&mut [0]).expect_err("reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_client_over_the_bound_waits_for_a_place() {
        // Room for one connection.
        let host = forwarding(echo("127.0.0.1:0"), FDS_RESERVED + FDS_PER_CONNECTION);
        let mut first = connected(host);
        first.write_all(b"1").expect("written");
        first.read_exact(&mut [0]).expect("served");
        let mut second = connected(host);
        second.write_all(b"2").expect("written");
        second
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("set");
        let error = second.read_exact(&mut [0]).expect_err("not yet");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        second
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        let mut byte = [0];
        second.read_exact(&mut byte).expect("served");
        assert_eq!(&byte, b"2");
    }
}
