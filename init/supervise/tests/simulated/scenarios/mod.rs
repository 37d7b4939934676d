//! Decisions, one by one, each named for what is decided.

mod clients;
mod demand;
mod ending;
mod foreground;
mod health;
mod jobs;
mod readiness;
mod reconfigure;
mod restarts;
mod retries;
mod starting;
mod stopping;
mod told;

use holdall_protocol::Manifest;
use holdall_protocol::control::Exit;
use holdall_supervise::{Action, Event, Note, Options};

use crate::world::{Program, World};

/// No foreground command.
const PLAIN: Options = Options {
    foreground: false,
    after_ready: false,
    seed: 1,
};

/// A booted box in which every program behaves well but for `odd`.
fn boot(manifest: &Manifest, odd: &[(&str, Program)]) -> World {
    boot_with(manifest, odd, PLAIN)
}

fn boot_with(manifest: &Manifest, odd: &[(&str, Program)], options: Options) -> World {
    let programs = vec![Program::default(); manifest.services.len() + 1];
    let mut world = World::new(manifest, programs, options);
    for (name, program) in odd {
        *world.program(name) = program.clone();
    }
    world.tell(Event::Boot);
    world
}

/// A program that ends by itself after so long with this code.
fn ends(after: u64, code: u8) -> Program {
    Program {
        ends: Some((after, Exit::Code(code))),
        ..Program::default()
    }
}

/// A program that does not hear signals.
fn deaf() -> Program {
    Program {
        obeys: None,
        ..Program::default()
    }
}

fn is_note(pick: impl Fn(&Note) -> bool) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Note(note) if pick(note))
}
