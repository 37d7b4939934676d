//! Everyone at once who comes to harm the control socket, while init has its
//! own work to do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use holdall_protocol::PROTOCOL_VERSION;
use holdall_protocol::control::{Hello, Request, SOCKET_NAME};
use holdall_protocol::frame::{MAX_BODY, encode};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Init, Setup, eventually};

/// More than the 512 that init keeps, of which each does one kind of harm.
const CLIENTS: usize = 600;

/// What one client does whenever it can, without ever waiting.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// Connects and says nothing.
    Silent,
    /// Begins a message and never ends it.
    HalfOpen,
    /// Announces the longest message and sends all of it but a byte.
    AlmostWhole,
    /// Asks without end and never reads an answer.
    NeverReads,
    /// Sends what is no message.
    Garbage,
    /// Hangs up and comes again.
    Reconnects,
}

const HARMS: [Harm; 6] = [
    Harm::Silent,
    Harm::HalfOpen,
    Harm::AlmostWhole,
    Harm::NeverReads,
    Harm::Garbage,
    Harm::Reconnects,
];

struct Client {
    stream: Option<UnixStream>,
    harm: Harm,
    /// Bytes of its speech that were sent.
    sent: usize,
}

/// What all of a kind say, from the beginning.
fn speech(harm: Harm) -> Vec<u8> {
    let hello = Hello {
        version: PROTOCOL_VERSION,
        program: "harm".to_owned(),
    };
    let mut speech = encode(&hello).expect("short");
    let longest = u32::try_from(MAX_BODY).expect("small").to_le_bytes();
    match harm {
        Harm::Silent => speech.clear(),
        Harm::HalfOpen | Harm::Reconnects => speech.truncate(7),
        Harm::AlmostWhole => {
            speech.extend(longest);
            speech.resize(speech.len() + MAX_BODY - 1, b' ');
        }
        Harm::NeverReads => {
            let ask = encode(&Request::Status).expect("short");
            speech.extend(ask.repeat(10_000));
        }
        Harm::Garbage => speech.extend([0xff; 4096]),
    }
    speech
}

impl Client {
    /// One turn; whether anything went through.
    fn act(&mut self, socket: &Path, speech: &[u8]) -> bool {
        let Some(stream) = &mut self.stream else {
            // It may be refused for now: the queue of the listener is full.
            let Ok(stream) = UnixStream::connect(socket) else {
                return false;
            };
            stream.set_nonblocking(true).expect("a socket");
            (self.stream, self.sent) = (Some(stream), 0);
            return true;
        };
        if let Some(rest) = speech.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest) {
                Ok(count) => {
                    self.sent += count;
                    return count > 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // Init hung up: that is its right.
                Err(_) => self.stream = None,
            }
            return true;
        }
        let gone = match self.harm {
            Harm::Reconnects => true,
            Harm::Garbage => {
                !matches!(stream.read(&mut [0; 64]), Err(e) if e.kind() == ErrorKind::WouldBlock)
            }
            Harm::Silent | Harm::HalfOpen | Harm::AlmostWhole | Harm::NeverReads => false,
        };
        if gone {
            self.stream = None;
        }
        gone
    }
}

/// All of them in turn, without a pause, until they are told to stop; what
/// went through.
fn harm(socket: &Path, stop: &AtomicBool, began: &AtomicBool) -> usize {
    let mut clients: Vec<(Client, Vec<u8>)> = HARMS
        .into_iter()
        .cycle()
        .take(CLIENTS)
        .map(|harm| {
            let (stream, sent) = (None, 0);
            (Client { stream, harm, sent }, speech(harm))
        })
        .collect();
    let mut acts = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        for (client, speech) in &mut clients {
            if client.act(socket, speech) {
                (acts, idle) = (acts + 1, false);
            }
        }
        began.store(true, Ordering::Relaxed);
        if idle {
            thread::yield_now();
        }
    }
    acts
}

/// Resident bytes of a process.
fn memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("digits");
    kib * 1024
}

#[test]
fn a_crash_amid_hundreds_of_clients_that_flood_stall_and_send_garbage_is_healed() {
    let config = r#"
        [service.app]
        command = "sh -c 'echo app runs; exec sleep 1000'"
        backoff = { initial = "1ms", max = "2ms" }
        give_up = { failures = 0 }
        [service.other]
        command = "sleep 1000"
        health = { exec = "true", interval = "50ms" }
        "#;
    let mut init: Init = Setup::new(config).start();
    init.wait_for_socket();
    let mut place = init.wait_from(0, "app runs");
    let socket = init.run_dir.join(SOCKET_NAME);
    let (stop, began) = (AtomicBool::new(false), AtomicBool::new(false));
    let acts = thread::scope(|scope| {
        let crowd = scope.spawn(|| harm(&socket, &stop, &began));
        eventually("all of them have come", || {
            began.load(Ordering::Relaxed).then_some(())
        });
        for _ in 0..10 {
            let before = init.pid_of("app").expect("it runs");
            kill(
                Pid::from_raw(i32::try_from(before).expect("a pid")),
                Signal::SIGKILL,
            )
            .expect("it was alive");
            place = init.wait_from(place, "app runs");
            // Who asks properly is heard among them.
            let after = eventually("it has another process", || init.pid_of("app"));
            assert_ne!(before, after);
        }
        assert_eq!(init.ask(&["health", "--ready"]).status.code(), Some(0));
        stop.store(true, Ordering::Relaxed);
        crowd.join().expect("the crowd")
    });
    assert!(acts > CLIENTS, "only {acts} of their acts went through");
    // 512 clients with the longest message in, as much of answers out, and
    // what the allocator keeps of it.
    let peak = memory(init.pid());
    assert!(peak < 160 << 20, "init grew to {peak} bytes");
    assert_eq!(init.stop(), Some(0));
}
