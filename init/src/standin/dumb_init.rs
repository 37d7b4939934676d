//! dumb-init 1.2.5: `dumb-init [option] command [[arg] ...]`.

use std::ffi::OsString;
use std::io::stdin;
use std::os::fd::AsRawFd as _;

use holdall_protocol::Signal;
use holdall_protocol::control::Exit;
use nix::errno::Errno;
use nix::unistd::{getpid, getsid};

use super::options::{Found, Options};
use super::{FAILURE, Forwarding, Original, Parsed, say, to_text};
use crate::environment::Environment;
use crate::spawn::Stdio;
use crate::sys;

/// The program was not started.
const NOT_STARTED: u8 = 2;

const STOP: u8 = 19;
/// What a terminal stops a job with.
const JOB_CONTROL: [u8; 3] = [20, 21, 22];

/// The highest signal that can be rewritten.
const HIGHEST: u8 = 31;

pub(super) struct DumbInit {
    debug: bool,
    /// The program leads a session, and signals go to its group.
    session: bool,
    forwarding: Forwarding,
    /// Those of the terminal's hand-over, which are not for the program.
    ignore_once: Vec<Signal>,
}

const LONG: &[(&str, char)] = &[
    ("help", 'h'),
    ("single-child", 'c'),
    ("rewrite", 'r'),
    ("verbose", 'v'),
    ("version", 'V'),
];

/// Reads the options.
pub(super) fn parse(
    name: &str,
    arguments: impl Iterator<Item = OsString>,
    env: &Environment,
) -> Parsed<DumbInit> {
    let mut original = DumbInit {
        debug: false,
        session: true,
        forwarding: Forwarding::default(),
        ignore_once: Vec::new(),
    };
    let mut options = Options::new(arguments, "hvVcr:", LONG);
    for option in options.by_ref() {
        match option {
            Found::Option('h', _) => {
                say(&usage(name));
                return Parsed::Done(0);
            }
            Found::Option('V', _) => {
                say(concat!(
                    "dumb-init v1.2.5 - holdall-init ",
                    env!("CARGO_PKG_VERSION"),
                    "\n"
                ));
                return Parsed::Done(0);
            }
            Found::Option('v', _) => original.debug = true,
            Found::Option('c', _) => original.session = false,
            Found::Option('r', value) => match Forwarding::rewrite(&value, HIGHEST) {
                Some((from, to)) => original.forwarding.add(from, to),
                None => {
                    say(&format!(
                        "Usage: -r option takes <signum>:<signum>, where <signum> is between 1 \
                         and {HIGHEST}.\nThis option can be specified multiple times.\n\
                         Use --help for full usage.\n"
                    ));
                    return Parsed::Done(FAILURE);
                }
            },
            Found::Option(letter, _) => return wrong(name, "invalid option", &letter.to_string()),
            Found::Unknown(letter) => return wrong(name, "invalid option", &letter),
            Found::NoValue(letter) => {
                return wrong(name, "option requires an argument", &letter.to_string());
            }
        }
    }
    let command = options.operands();
    if command.is_empty() {
        say(&format!(
            "Usage: {name} [option] program [args]\nTry {name} --help for full usage.\n"
        ));
        return Parsed::Done(FAILURE);
    }
    if env.text("DUMB_INIT_DEBUG") == Some("1") {
        original.debug = true;
        original.tell("Running in debug mode.");
    }
    if env.text("DUMB_INIT_SETSID") == Some("0") {
        original.session = false;
        original.tell("Not running in setsid mode.");
    }
    if original.session {
        // A session of its own has nobody who could wake a job that was
        // stopped by the terminal: it is stopped for good, and we with it.
        for signal in JOB_CONTROL {
            original.forwarding.add_usual(signal, STOP);
        }
    }
    Parsed::Run(original, command)
}

fn wrong(name: &str, what: &str, letter: &str) -> Parsed<DumbInit> {
    match letter.strip_prefix('-') {
        Some(long) => say(&format!("{name}: unrecognized option '--{long}'\n")),
        None => say(&format!("{name}: {what} -- '{letter}'\n")),
    }
    Parsed::Done(FAILURE)
}

fn usage(name: &str) -> String {
    format!(
        "Usage: {name} [option] command [[arg] ...]\n\n\
         Run a program as dumb-init does: signals go to it and its descendants, orphans\n\
         are reaped.\n\n\
         \x20  -c, --single-child   signals go to the program alone\n\
         \x20  -r, --rewrite s:r    send r in place of s; 0: send nothing\n\
         \x20  -v, --verbose        say what is done (or DUMB_INIT_DEBUG=1)\n\
         \x20  -h, --help           this\n\
         \x20  -V, --version        the version\n"
    )
}

impl DumbInit {
    fn tell(&self, text: &str) {
        if self.debug {
            say(&format!("[dumb-init] {text}\n"));
        }
    }
}

impl Original for DumbInit {
    fn prepare(&mut self) -> Result<Stdio<'static>, u8> {
        if !self.session {
            return Ok(Stdio::Same);
        }
        if let Err(errno) = sys::leave_terminal(stdin().as_raw_fd()) {
            let (number, why) = (errno as i32, errno.desc());
            self.tell(&format!(
                "Unable to detach from controlling tty (errno={number} {why})."
            ));
            return Ok(Stdio::Inherited);
        }
        if getsid(None) == Ok(getpid()) {
            self.tell(
                "Detached from controlling tty, ignoring the first SIGHUP and SIGCONT we receive.",
            );
            self.ignore_once = vec![Signal::HUP, Signal::CONT];
            return Ok(Stdio::OwnTerminal);
        }
        self.tell("Detached from controlling tty, but was not session leader.");
        Ok(Stdio::Inherited)
    }

    fn failed(&self, command: &[u8], errno: Errno) -> u8 {
        let command = to_text(command);
        say(&format!("[dumb-init] {command}: {}\n", errno.desc()));
        NOT_STARTED
    }

    fn started(&mut self, pid: i32, _command: &[u8]) {
        self.tell(&format!("Child spawned with PID {pid}."));
        // It keeps no folder from being unmounted.
        if let Err(errno) = nix::unistd::chdir("/") {
            let (number, why) = (errno as i32, errno.desc());
            self.tell(&format!("Unable to chdir(\"/\") (errno={number} {why})"));
        }
    }

    fn signal(&mut self, signal: Signal) -> Option<Signal> {
        let number = signal.number();
        self.tell(&format!("Received signal {number}."));
        if let Some(at) = self.ignore_once.iter().position(|one| *one == signal) {
            self.tell(&format!("Ignoring tty hand-off signal {number}."));
            self.ignore_once.remove(at);
            return None;
        }
        if i32::from(number) == libc::SIGCHLD {
            return None;
        }
        let sent = self.forwarding.of(signal);
        match sent {
            None => {
                self.tell(&format!(
                    "Not forwarding signal {number} to children (ignored)."
                ));
                self.suspend(signal);
            }
            Some(sent) if sent != signal => {
                self.tell(&format!(
                    "Translating signal {number} to {}.",
                    sent.number()
                ));
            }
            Some(_) => {}
        }
        sent
    }

    fn group(&self) -> bool {
        self.session
    }

    fn forwarded(&mut self, signal: Signal, _sent: Result<(), Errno>) {
        let sent = self.forwarding.of(signal).map_or(0, Signal::number);
        self.tell(&format!("Forwarded signal {sent} to children."));
        self.suspend(signal);
    }

    fn reaped(&mut self, pid: i32, exit: Exit, _main: bool) {
        self.tell(&match exit {
            Exit::Code(code) => format!("A child with PID {pid} exited with exit status {code}."),
            Exit::Signal(signal) => {
                let number = signal.number();
                format!("A child with PID {pid} was terminated by signal {number}.")
            }
        });
    }

    fn leaves(&mut self, pid: i32) {
        // What is left of its session is asked to go.
        if let Some(signal) = self.forwarding.of(Signal::TERM).filter(|_| self.session) {
            let _ = sys::kill(-pid, signal);
            self.tell(&format!(
                "Forwarded signal {} to children.",
                signal.number()
            ));
        }
    }

    fn ended(&mut self, exit: Exit) -> u8 {
        let code = exit.code();
        self.tell(&format!("Child exited with status {code}. Goodbye."));
        code
    }
}

impl DumbInit {
    /// A signal of job control stops us as well, so that the shell that
    /// started us takes its terminal back.
    fn suspend(&self, signal: Signal) {
        let stop = Signal::from_number(STOP).filter(|_| JOB_CONTROL.contains(&signal.number()));
        if let Some(stop) = stop {
            self.tell("Suspending self due to TTY signal.");
            let _ = sys::kill(getpid().as_raw(), stop);
        }
    }
}
