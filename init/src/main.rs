//! holdall's PID 1, and its client, in one static binary.
//!
//! **Invariants:** it never starts a thread, never resolves a name by the C
//! library, never loads a file into its own address space, and never waits
//! anywhere but in its loop. Nothing that a service or a client does makes it
//! grow without bound or end: a panic is a bug, prints one line and exits 70.
#![deny(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod account;
mod ancillary;
mod args;
mod asking;
mod boot;
mod cgroup;
mod child;
mod client;
mod clock;
mod config;
mod connection;
mod control;
mod demand;
mod env_file;
mod environment;
mod errand;
mod events;
mod exec;
mod handed;
mod help;
mod http;
mod kill;
mod launch;
mod lineage;
mod listener;
mod log;
mod notes;
mod notices;
mod notify;
mod perform;
mod pid1;
mod poll;
mod probe;
mod readers;
mod reap;
mod reload;
mod requests;
mod run;
mod signals;
mod sockets;
mod spawn;
mod standin;
mod start;
mod supervisord;
#[expect(unsafe_code, reason = "the one home of it")]
mod sys;
mod tail;
mod template;
mod terminal;
mod usage;
mod web;

use std::io::{Write, stderr, stdout};

use args::{Invocation, Verb};
use holdall_protocol::Signal;
use holdall_protocol::manifest::LISTENER;

/// What went wrong is in the words before it.
const FAILURE: u8 = 1;
/// The command line can't be understood.
const USAGE: u8 = 2;

/// The whole program: the exit code.
pub(crate) fn main() -> u8 {
    boot::fill_standard_descriptors();
    run::catch_panics();
    sys::ignore_signal(Signal::PIPE);
    if environment::program_name().is_some_and(|name| name == LISTENER) {
        return web::run();
    }
    if let Some(code) = standin::run() {
        return code;
    }
    let invocation = match args::parse(environment::arguments()) {
        Ok(invocation) => invocation,
        Err(error) => {
            say(&error);
            return USAGE;
        }
    };
    let Invocation {
        config,
        supervisord,
        run_dir,
        profile,
        json,
        verb,
    } = invocation;
    let run_dir = run_dir.as_deref();
    match verb {
        Verb::Run {
            command,
            after_ready,
            forwarding,
            single_child,
        } => run::run(&run::Options {
            config,
            supervisord,
            run_dir,
            profile,
            command,
            after_ready,
            forwarding,
            single_child,
        }),
        Verb::Check(_) if supervisord => {
            let path = config.unwrap_or_default();
            supervisord::check(&path, json, &environment::Environment::inherited())
        }
        Verb::Check(file) => config::check(file.or(config), json),
        Verb::Help(verb) => print(help::of(verb)),
        Verb::Version if !json => {
            let code = print(concat!("holdall-init ", env!("CARGO_PKG_VERSION"), "\n"));
            // The one that runs may be another; none is no error.
            client::run(run_dir, json, verb).unwrap_or(code)
        }
        verb => client::run(run_dir, json, verb).unwrap_or_else(|error| {
            if !error.is_broken_pipe() {
                say(&error);
            }
            FAILURE
        }),
    }
}

fn print(text: &str) -> u8 {
    match stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => FAILURE,
    }
}

/// An error with its causes, on stderr.
pub(crate) fn say(error: &dyn std::error::Error) {
    let mut text = format!("holdall-init: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    // Without a stderr there is nobody to tell.
    let _ = writeln!(stderr(), "{text}");
}
