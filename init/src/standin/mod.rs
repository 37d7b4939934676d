//! Under the name of tini or dumb-init: one program, no services, no control
//! socket. Signals go to it, what is orphaned is reaped, and its end is ours.
//!
//! Nothing of the init itself runs here: what a program was used to under
//! those two, it finds. What is better on purpose: the program starts with
//! clean signals whatever we inherited, and options end at the first operand,
//! so that `tini sh -c 'exit 3'` ends with 3 (tini takes `-c` for its own).

use std::ffi::OsString;
use std::io::{Write as _, stderr};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt;

use holdall_protocol::Signal;
use holdall_protocol::control::Exit;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::environment::{self, Environment};
use crate::launch::Launch;
use crate::signals::{Forwarding, Signals};
use crate::spawn::{self, SpawnError, Spawned, Stdio};
use crate::sys;

mod dumb_init;
mod options;
mod tini;

/// Whose place is taken, with everything that is its own.
trait Original {
    /// How the program is to be started, after what comes before it.
    fn prepare(&mut self) -> Result<Stdio<'static>, u8>;

    /// It can't be started: says so, and gives the exit code.
    fn failed(&self, command: &[u8], errno: Errno) -> u8;

    /// It runs.
    fn started(&mut self, pid: i32, command: &[u8]);

    /// A signal came. What is to be sent, and to whom.
    fn signal(&mut self, signal: Signal) -> Option<Signal>;

    /// Whether signals go to its whole group.
    fn group(&self) -> bool;

    /// What was done about a signal.
    fn forwarded(&mut self, signal: Signal, sent: Result<(), Errno>);

    /// A process has ended.
    fn reaped(&mut self, pid: i32, exit: Exit, main: bool);

    /// The program has ended and is not reaped yet, so that its number is still
    /// its own.
    fn leaves(&mut self, pid: i32);

    /// The program has ended, and everything that ended with it is reaped. The
    /// exit code.
    fn ended(&mut self, exit: Exit) -> u8;
}

/// What an option line comes to.
enum Parsed<T> {
    /// A program with its arguments.
    Run(T, Vec<OsString>),
    /// It is done already.
    Done(u8),
}

/// Runs as tini or dumb-init where that is our name: the exit code.
pub(crate) fn run() -> Option<u8> {
    let name = environment::program_name()?.into_string().ok()?;
    let tini = ["tini", "tini-static", "docker-init"].contains(&name.as_str());
    if !tini && name != "dumb-init" {
        return None;
    }
    let (arguments, env) = (environment::arguments(), Environment::inherited());
    Some(if tini {
        match tini::parse(&name, arguments, &env) {
            Parsed::Run(mut original, command) => supervise(&mut original, command, &env),
            Parsed::Done(code) => code,
        }
    } else {
        match dumb_init::parse(&name, arguments, &env) {
            Parsed::Run(mut original, command) => supervise(&mut original, command, &env),
            Parsed::Done(code) => code,
        }
    })
}

/// A fault of our own, before the program runs.
const FAILURE: u8 = 1;

fn supervise(original: &mut dyn Original, command: Vec<OsString>, env: &Environment) -> u8 {
    let Ok(signals) = Signals::take() else {
        return FAILURE;
    };
    let stdio = match original.prepare() {
        Ok(stdio) => stdio,
        Err(code) => return code,
    };
    let words: Vec<Vec<u8>> = command.into_iter().map(OsString::into_vec).collect();
    let program = words.first().cloned().unwrap_or_default();
    let spawned = Launch::program(words, env, false).and_then(|mut launch| {
        launch.passes_all = true;
        spawn::spawn(launch, &stdio)
    });
    let pid = match spawned {
        Ok(Spawned { pid, .. }) => pid,
        Err(error) => return original.failed(&program, errno(&error)),
    };
    original.started(pid, &program);
    loop {
        // A child may have ended before this, and its signal waits.
        while let Some(info) = signals.next() {
            let number = u8::try_from(info.ssi_signo).unwrap_or(0);
            let Some(signal) = Signal::from_number(number) else {
                continue;
            };
            let Some(replacement) = original.signal(signal) else {
                continue;
            };
            let to = if original.group() { -pid } else { pid };
            original.forwarded(signal, sys::kill(to, replacement));
        }
        if let Some(exit) = reap(original, pid) {
            return original.ended(exit);
        }
        let mut waiting = [PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN)];
        // Whatever ends the wait, the signals are looked at.
        let _ = poll(&mut waiting, PollTimeout::NONE);
    }
}

/// Reaps all that has ended; how the program itself did, once it has.
fn reap(original: &mut dyn Original, main: i32) -> Option<Exit> {
    let mut exit = None;
    while let Ok(Some(ended)) = sys::peek_ended() {
        let is_main = ended.pid == main;
        original.reaped(ended.pid, ended.exit, is_main);
        if is_main {
            original.leaves(ended.pid);
            exit = Some(ended.exit);
        }
        let _ = sys::reap(ended.pid);
    }
    exit
}

fn errno(error: &SpawnError) -> Errno {
    match error {
        SpawnError::Stage { errno, .. }
        | SpawnError::Pipe(errno)
        | SpawnError::Notices(errno)
        | SpawnError::Terminal(errno)
        | SpawnError::Fork(errno) => *errno,
        SpawnError::EmptyProgram => Errno::ENOENT,
        SpawnError::Account(_)
        | SpawnError::Nul(_)
        | SpawnError::Listen(_)
        | SpawnError::EnvFile(_)
        | SpawnError::Template(_)
        | SpawnError::Descriptors => Errno::EINVAL,
    }
}

/// A line to stderr; where that is closed, nobody wants it.
fn say(text: &str) {
    let _ = stderr().write_all(text.as_bytes());
}

fn to_text(words: &[u8]) -> String {
    String::from_utf8_lossy(words).into_owned()
}
