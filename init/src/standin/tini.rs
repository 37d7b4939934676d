//! tini 0.19: `tini [OPTIONS] PROGRAM -- [ARGS]`.

use std::ffi::OsString;
use std::io::{Write as _, stdin, stdout};

use holdall_protocol::Signal;
use holdall_protocol::control::Exit;
use holdall_protocol::manifest::ExitCodes;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::tcgetpgrp;

use super::options::{Found, Options};
use super::{FAILURE, Original, Parsed, say, to_text};
use crate::environment::Environment;
use crate::spawn::{Stdio, shell_code};

/// What the terminal sends to a group in the background. tini ignores them.
const IGNORED: [u8; 2] = [21, 22];

pub(super) struct Tini {
    subreaper: bool,
    parent_death: Option<Signal>,
    verbosity: i32,
    warns: bool,
    group: bool,
    /// Exit codes that become 0.
    remapped: Vec<u8>,
}

/// Reads the options.
pub(super) fn parse(
    name: &str,
    arguments: impl Iterator<Item = OsString>,
    env: &Environment,
) -> Parsed<Tini> {
    let arguments: Vec<OsString> = arguments.collect();
    if let [only] = arguments.as_slice()
        && only == "--version"
    {
        return print(&format!("{}\n", version()));
    }
    let mut tini = Tini {
        subreaper: env.get("TINI_SUBREAPER").is_some(),
        parent_death: None,
        verbosity: 1,
        warns: false,
        group: env.get("TINI_KILL_PROCESS_GROUP").is_some(),
        remapped: Vec::new(),
    };
    let mut options = Options::new(arguments.into_iter(), "p:hvwgle:s", &[]);
    for option in options.by_ref() {
        match option {
            Found::Option('h', _) => return print(&usage(name)),
            Found::Option('s', _) => tini.subreaper = true,
            Found::Option('v', _) => tini.verbosity += 1,
            Found::Option('w', _) => tini.warns = true,
            Found::Option('g', _) => tini.group = true,
            Found::Option('l', _) => {
                return print("holdall, in the place of tini. MIT OR Apache-2.0\n");
            }
            Found::Option('p', value) => match value.parse::<Signal>() {
                Ok(signal) if value.starts_with("SIG") => tini.parent_death = Some(signal),
                Ok(_) | Err(_) => return tini.invalid('p', &value),
            },
            Found::Option('e', value) => match value.parse() {
                Ok(code) => tini.remapped.push(code),
                Err(_) => return tini.invalid('e', &value),
            },
            Found::Option(letter, _) => return wrong(name, "invalid option", &letter.to_string()),
            Found::Unknown(letter) => return wrong(name, "invalid option", &letter),
            Found::NoValue(letter) => {
                return wrong(name, "option requires an argument", &letter.to_string());
            }
        }
    }
    // As atoi(3) reads it.
    if let Some(text) = env.text("TINI_VERBOSITY") {
        tini.verbosity = text.trim().parse().unwrap_or(0);
    }
    let mut command = options.operands();
    // `PROGRAM -- ARGS`.
    if command.get(1).is_some_and(|word| word == "--") {
        command.remove(1);
    }
    if command.is_empty() {
        say(&usage(name));
        return Parsed::Done(FAILURE);
    }
    Parsed::Run(tini, command)
}

fn print(text: &str) -> Parsed<Tini> {
    let printed = stdout().write_all(text.as_bytes());
    Parsed::Done(if printed.is_ok() { 0 } else { FAILURE })
}

fn wrong(name: &str, what: &str, letter: &str) -> Parsed<Tini> {
    say(&format!("{name}: {what} -- '{letter}'\n{}\n", usage(name)));
    Parsed::Done(FAILURE)
}

fn version() -> String {
    concat!(
        "tini version 0.19.0 - holdall-init ",
        env!("CARGO_PKG_VERSION")
    )
    .to_owned()
}

fn usage(name: &str) -> String {
    format!(
        "{name} ({})\n\
         Usage: {name} [OPTIONS] PROGRAM -- [ARGS] | --version\n\n\
         Run a program as tini does: signals go to it, orphans are reaped.\n\n\
         \x20 --version     the version\n\
         \x20 -h            this\n\
         \x20 -s            be a subreaper (or TINI_SUBREAPER)\n\
         \x20 -p SIGNAL     get this signal when the parent dies, such as SIGKILL\n\
         \x20 -v            say more; up to three times (or TINI_VERBOSITY)\n\
         \x20 -w            warn of orphans that are reaped\n\
         \x20 -g            signal the program's whole group (or TINI_KILL_PROCESS_GROUP)\n\
         \x20 -e EXIT_CODE  make this code 0\n\
         \x20 -l            the licence\n",
        version(),
    )
}

impl Tini {
    fn invalid(&self, letter: char, value: &str) -> Parsed<Self> {
        self.fatal(&format!("Not a valid option for -{letter}: {value}"));
        Parsed::Done(FAILURE)
    }

    fn fatal(&self, text: &str) {
        say(&format!("[FATAL tini ({})] {text}\n", std::process::id()));
    }

    /// Says something that is said from this verbosity on.
    fn tell(&self, from: i32, level: &str, text: &str) {
        if self.verbosity >= from {
            say(&format!("[{level} tini ({})] {text}\n", std::process::id()));
        }
    }

    fn warn(&self, text: &str) {
        self.tell(1, "WARN ", text);
    }

    fn info(&self, text: &str) {
        self.tell(2, "INFO ", text);
    }

    fn debug(&self, text: &str) {
        self.tell(3, "DEBUG", text);
    }
}

impl Original for Tini {
    fn prepare(&mut self) -> Result<Stdio<'static>, u8> {
        if let Some(signal) = self.parent_death {
            let named = nix::sys::signal::Signal::try_from(i32::from(signal.number()));
            if let Err(errno) = named.and_then(prctl::set_pdeathsig) {
                let why = errno.desc();
                self.fatal(&format!("Failed to set up parent death signal: {why}"));
                return Err(FAILURE);
            }
        }
        if self.subreaper {
            if let Err(errno) = prctl::set_child_subreaper(true) {
                let why = errno.desc();
                self.fatal(&format!("Failed to register as child subreaper: {why}"));
                return Err(FAILURE);
            }
            self.tell(4, "TRACE", "Registered as child subreaper");
        }
        let reaps = std::process::id() == 1 || prctl::get_child_subreaper() == Ok(true);
        if !reaps {
            self.warn(
                "Tini is not running as PID 1 and isn't registered as a child subreaper.\n\
                 Zombie processes will not be re-parented to Tini, so zombie reaping won't work.\n\
                 To fix the problem, use the -s option or set the environment variable \
                 TINI_SUBREAPER to register Tini as a child subreaper, or run Tini as PID 1.",
            );
        }
        let terminal = tcgetpgrp(stdin()).is_ok();
        Ok(if terminal {
            Stdio::Foreground
        } else {
            Stdio::OwnGroup
        })
    }

    fn failed(&self, command: &[u8], errno: Errno) -> u8 {
        let command = to_text(command);
        self.fatal(&format!("exec {command} failed: {}", errno.desc()));
        match errno {
            Errno::ENOENT | Errno::EACCES => shell_code(errno),
            _ => FAILURE,
        }
    }

    fn started(&mut self, pid: i32, command: &[u8]) {
        let command = to_text(command);
        self.info(&format!(
            "Spawned child process '{command}' with pid '{pid}'"
        ));
    }

    fn signal(&mut self, signal: Signal) -> Option<Signal> {
        if i32::from(signal.number()) == libc::SIGCHLD {
            self.debug("Received SIGCHLD");
            return None;
        }
        (!IGNORED.contains(&signal.number())).then_some(signal)
    }

    fn group(&self) -> bool {
        self.group
    }

    fn forwarded(&mut self, signal: Signal, sent: Result<(), Errno>) {
        match sent {
            Ok(()) => self.debug(&format!("Passing signal: 'SIG{signal}'")),
            Err(Errno::ESRCH) => self.warn("Child was dead when forwarding signal"),
            Err(errno) => self.fatal(&format!(
                "Unexpected error when forwarding signal: '{}'",
                errno.desc()
            )),
        }
    }

    fn reaped(&mut self, pid: i32, _exit: Exit, main: bool) {
        self.debug(&format!("Reaped child with pid: '{pid}'"));
        if !main && self.warns {
            self.warn(&format!("Reaped zombie process with pid={pid}"));
        }
    }

    fn leaves(&mut self, _pid: i32) {}

    fn ended(&mut self, exit: Exit) -> u8 {
        match exit {
            Exit::Code(code) => {
                self.info(&format!(
                    "Main child exited normally (with status '{code}')"
                ));
            }
            Exit::Signal(signal) => {
                self.info(&format!(
                    "Main child exited with signal (with signal 'SIG{signal}')"
                ));
            }
        }
        self.tell(4, "TRACE", "Exiting: child has exited");
        let code = exit.code();
        let remapped: ExitCodes = self.remapped.iter().copied().collect();
        if remapped.has(Exit::Code(code)) {
            0
        } else {
            code
        }
    }
}
