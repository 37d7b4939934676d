//! The foreground command and init's own terminal.

use std::io::{IsTerminal, stdin};

use holdall_protocol::Signal;
use nix::unistd::{getpgrp, getpid, getsid, tcgetpgrp};

use crate::spawn::Stdio;
use crate::sys;

/// What becomes of init's terminal, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrangement {
    /// There is none on stdin.
    None,
    /// Init leads the terminal's session, as in a container: it gives the
    /// terminal up, and the command takes it for a session of its own. Without
    /// that there is no job control.
    Handed,
    /// Init was started by a shell, which leads the session: the command
    /// becomes the terminal's foreground group.
    Lent,
}

impl Arrangement {
    /// Looks, and gives the terminal up where it is init's.
    pub(crate) fn make() -> Self {
        if !stdin().is_terminal() {
            return Self::None;
        }
        let leads = getsid(None) == Ok(getpid());
        match tcgetpgrp(stdin()) {
            // It may also be nobody's: then there is nothing to give up.
            Ok(_) | Err(_) if leads => {
                let _ = sys::leave_terminal(0);
                // It told its foreground group, us, of the hangup. Ignoring a
                // signal also discards it where it is pending.
                for signal in [Signal::HUP, Signal::CONT] {
                    sys::ignore_signal(signal);
                    sys::restore_signal(signal);
                }
                Self::Handed
            }
            Ok(group) if group == getpgrp() => Self::Lent,
            Ok(_) | Err(_) => Self::None,
        }
    }

    /// Where the command gets its stdio and session from.
    pub(crate) fn stdio(self) -> Stdio<'static> {
        match self {
            Self::None => Stdio::Inherited,
            Self::Handed => Stdio::OwnTerminal,
            Self::Lent => Stdio::Foreground,
        }
    }
}
