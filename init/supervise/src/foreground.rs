//! The foreground command: the box ends with it.
//!
//! | state | event | becomes | and |
//! |---|---|---|---|
//! | held | go | spawning | `SpawnForeground` |
//! | | stop | gone | it never ran |
//! | spawning | spawned | running | stopping already: TERM, or killed |
//! | | failed | gone | the box ends with its code |
//! | | exited | clearing | as from running |
//! | running | stop | running | TERM |
//! | | kill | killing | `KillForeground` |
//! | | exited | clearing | `KillForeground`; the box ends with its code |
//! | killing | exited | clearing | it is under way already |
//! | | cleared | unreaped | |
//! | unreaped | exited | gone | |
//! | clearing | cleared | gone | |
//!
//! What the table does not name changes nothing.

use std::collections::VecDeque;

use holdall_protocol::Signal;
use holdall_protocol::control::Exit;

use crate::{Action, Note};

/// Where the foreground command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreground {
    /// There is none, or nothing of it is left.
    Gone,
    /// Not started yet.
    Held,
    /// Its process is being made. It is to be stopped once it is there.
    Spawning {
        stop: Stop,
    },
    Running,
    /// All its processes are being killed; nothing is told yet.
    Killing,
    /// None is left; how the command ended is not told yet.
    Unreaped,
    /// The command is gone; what it left behind is being killed.
    Clearing,
}

/// What is wanted of a command that is being spawned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    Polite,
    Kill,
}

/// What can happen to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Go,
    Stop,
    Kill,
    Spawned,
    Failed { reason: String, code: u8 },
    Exited { exit: Exit },
    Cleared,
}

impl Foreground {
    /// Whether a process of it exists or may exist.
    pub(crate) fn occupied(self) -> bool {
        match self {
            Self::Gone | Self::Held => false,
            Self::Spawning { .. }
            | Self::Running
            | Self::Killing
            | Self::Unreaped
            | Self::Clearing => true,
        }
    }

    /// Takes in what happened. Gives the code with which it ended, once.
    pub(crate) fn step(&mut self, actions: &mut VecDeque<Action>, input: Input) -> Option<u8> {
        let (state, code) = match *self {
            Self::Gone => (Self::Gone, None),
            Self::Held => (held(actions, &input), None),
            Self::Spawning { stop } => spawning(actions, stop, input),
            Self::Running => running(actions, &input),
            Self::Killing => killing(&input),
            Self::Unreaped => match input {
                Input::Exited { exit } => (Self::Gone, Some(exit.code())),
                Input::Go
                | Input::Stop
                | Input::Kill
                | Input::Spawned
                | Input::Failed { .. }
                | Input::Cleared => (Self::Unreaped, None),
            },
            Self::Clearing => match input {
                Input::Cleared => (Self::Gone, None),
                Input::Go
                | Input::Stop
                | Input::Kill
                | Input::Spawned
                | Input::Failed { .. }
                | Input::Exited { .. } => (Self::Clearing, None),
            },
        };
        *self = state;
        code
    }
}

fn held(actions: &mut VecDeque<Action>, input: &Input) -> Foreground {
    match input {
        Input::Go => {
            actions.push_back(Action::SpawnForeground);
            Foreground::Spawning { stop: Stop::No }
        }
        Input::Stop | Input::Kill => Foreground::Gone,
        Input::Spawned | Input::Failed { .. } | Input::Exited { .. } | Input::Cleared => {
            Foreground::Held
        }
    }
}

fn spawning(actions: &mut VecDeque<Action>, stop: Stop, input: Input) -> (Foreground, Option<u8>) {
    match input {
        Input::Spawned => match stop {
            Stop::No => (Foreground::Running, None),
            Stop::Polite => running(actions, &Input::Stop),
            Stop::Kill => running(actions, &Input::Kill),
        },
        Input::Failed { reason, code } => {
            actions.push_back(Action::Note(Note::ForegroundFailed { reason }));
            (Foreground::Gone, Some(code))
        }
        Input::Exited { .. } => running(actions, &input),
        Input::Stop if stop == Stop::No => (Foreground::Spawning { stop: Stop::Polite }, None),
        Input::Kill => (Foreground::Spawning { stop: Stop::Kill }, None),
        Input::Go | Input::Stop | Input::Cleared => (Foreground::Spawning { stop }, None),
    }
}

fn running(actions: &mut VecDeque<Action>, input: &Input) -> (Foreground, Option<u8>) {
    match input {
        Input::Stop => {
            actions.push_back(Action::SignalForeground {
                signal: Signal::TERM,
            });
            (Foreground::Running, None)
        }
        Input::Kill => {
            actions.push_back(Action::KillForeground);
            (Foreground::Killing, None)
        }
        Input::Exited { exit } => {
            actions.push_back(Action::KillForeground);
            (Foreground::Clearing, Some(exit.code()))
        }
        Input::Go | Input::Spawned | Input::Failed { .. } | Input::Cleared => {
            (Foreground::Running, None)
        }
    }
}

fn killing(input: &Input) -> (Foreground, Option<u8>) {
    match input {
        Input::Exited { exit } => (Foreground::Clearing, Some(exit.code())),
        Input::Cleared => (Foreground::Unreaped, None),
        Input::Go | Input::Stop | Input::Kill | Input::Spawned | Input::Failed { .. } => {
            (Foreground::Killing, None)
        }
    }
}
