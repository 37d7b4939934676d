//! What a box is doing: pure.
//!
//! One small file (`life.json`) tells how a box's newest run went. It is
//! written by whoever starts a box and by its monitor; everything else is
//! derived from it and from what the kernel says about one process.
//!
//! | life       | its process                     | state   | what a command does first |
//! |------------|---------------------------------|---------|---------------------------|
//! | (none)     |                                 | created | nothing                   |
//! | running    | same boot, pid and start time   | running | [`Care::Adopt`] if nobody minds it |
//! | running    | gone, and somebody minds it     | running | nothing: the monitor is writing the exit down |
//! | running    | gone, and nobody minds it       | exited, [`LOST`] | [`Care::Bury`]   |
//! | exited     |                                 | exited  | nothing                   |
//!
//! A pid alone names nobody: after a reboot, or when the numbers wrap, it is
//! another's. Boot id, pid and start time together never come again.

use serde::{Deserialize, Serialize};

use crate::clock::WallTime;
use crate::ports::PublishedPort;
use crate::process::Identity;

/// The exit code of a box whose real one nobody saw: the host went down, or
/// everything that minded the box was killed with it. Docker's number.
pub const LOST: u8 = 255;

/// How the newest run of a box went, as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "life", rename_all = "snake_case")]
pub enum Life {
    /// It was started, and its end isn't written down yet.
    Running(Run),
    /// It ended.
    Exited {
        /// The run that ended.
        run: Run,
        /// Its exit code, 128 + n where a signal ended it.
        code: u8,
        /// When.
        at: WallTime,
    },
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The box's first process.
    pub process: Identity,
    /// When it was started.
    pub since: WallTime,
    /// What is published.
    pub ports: Vec<PublishedPort>,
}

/// What the kernel says about the process of a [`Run`] and about the box's
/// guard lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// The very process is there and no zombie.
    pub alive: bool,
    /// A monitor or a keeper holds the box's guard.
    pub minded: bool,
}

/// What a box is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BoxState {
    /// It has never run.
    Created,
    /// It runs.
    Running {
        /// Since when.
        since: WallTime,
        /// Its first process, in the host's numbering.
        pid: u32,
        /// What is published.
        ports: Vec<PublishedPort>,
    },
    /// It ended.
    Exited {
        /// Its exit code, 128 + n where a signal ended it; [`LOST`] where
        /// nobody saw it.
        code: u8,
        /// When; none where nobody saw it.
        at: Option<WallTime>,
    },
}

impl BoxState {
    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match self {
            Self::Running { .. } => true,
            Self::Created | Self::Exited { .. } => false,
        }
    }
}

/// What must be done for a box before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Nothing.
    None,
    /// It runs and nobody minds it: give it a new monitor and keeper.
    Adopt,
    /// It is gone and nobody wrote that down: write it, remove what is left.
    Bury,
}

/// What the box is doing, from what is written and what is seen.
#[must_use]
pub fn state(life: Option<&Life>, observed: Observed) -> BoxState {
    match life {
        None => BoxState::Created,
        Some(Life::Exited { code, at, .. }) => BoxState::Exited {
            code: *code,
            at: Some(*at),
        },
        Some(Life::Running(run)) => match (observed.alive, observed.minded) {
            (true, _) | (false, true) => BoxState::Running {
                since: run.since,
                pid: run.process.pid.get(),
                ports: run.ports.clone(),
            },
            (false, false) => BoxState::Exited {
                code: LOST,
                at: None,
            },
        },
    }
}

/// What must be done for it.
#[must_use]
pub fn care(life: Option<&Life>, observed: Observed) -> Care {
    match life {
        None | Some(Life::Exited { .. }) => Care::None,
        Some(Life::Running(_)) => match (observed.alive, observed.minded) {
            (_, true) => Care::None,
            (true, false) => Care::Adopt,
            (false, false) => Care::Bury,
        },
    }
}

/// The life after the end of a run was seen. The first who saw it wins: a
/// monitor that was killed while it cleaned up leaves the true code behind.
#[must_use]
pub(crate) fn ended(life: Option<Life>, run: &Run, code: u8, at: WallTime) -> Life {
    match life {
        Some(Life::Exited {
            run: known,
            code,
            at,
        }) if known.process == run.process => Life::Exited {
            run: known,
            code,
            at,
        },
        None | Some(Life::Exited { .. } | Life::Running(_)) => Life::Exited {
            run: run.clone(),
            code,
            at,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use proptest::prelude::*;

    fn run(pid: u32) -> Run {
        let pid = NonZeroU32::new(pid).expect("not zero");
        Run {
            process: Identity {
                boot: "b".into(),
                pid,
                started: 7,
            },
            since: WallTime(5),
            ports: Vec::new(),
        }
    }

    #[test]
    fn a_running_box_that_nobody_minds_is_adopted() {
        let life = Life::Running(run(4));
        let seen = Observed {
            alive: true,
            minded: false,
        };
        assert!(state(Some(&life), seen).is_running());
        assert_eq!(care(Some(&life), seen), Care::Adopt);
    }

    #[test]
    fn a_box_that_vanished_with_everyone_shows_as_exited() {
        let life = Life::Running(run(4));
        let seen = Observed {
            alive: false,
            minded: false,
        };
        assert_eq!(
            state(Some(&life), seen),
            BoxState::Exited {
                code: LOST,
                at: None
            }
        );
        assert_eq!(care(Some(&life), seen), Care::Bury);
    }

    #[test]
    fn a_box_is_running_until_its_monitor_has_written_its_end_down() {
        let life = Life::Running(run(4));
        let seen = Observed {
            alive: false,
            minded: true,
        };
        assert!(state(Some(&life), seen).is_running());
        assert_eq!(care(Some(&life), seen), Care::None);
    }

    #[test]
    fn a_box_that_never_ran_or_has_ended_is_not_running_whatever_is_seen() {
        let ended = ended(None, &run(4), 1, WallTime(9));
        for life in [None, Some(&ended)] {
            for (alive, minded) in [(false, false), (false, true), (true, false), (true, true)] {
                let seen = Observed { alive, minded };
                assert!(!state(life, seen).is_running(), "{life:?}, {seen:?}");
            }
        }
    }

    #[test]
    fn the_first_code_that_was_seen_stays() {
        let first = ended(Some(Life::Running(run(4))), &run(4), 3, WallTime(9));
        let second = ended(Some(first.clone()), &run(4), LOST, WallTime(10));
        assert_eq!(first, second);
        let next = ended(Some(first), &run(5), 0, WallTime(11));
        assert_eq!(
            next,
            Life::Exited {
                run: run(5),
                code: 0,
                at: WallTime(11)
            }
        );
    }

    proptest! {
        #[test]
        fn a_box_needs_care_exactly_when_nobody_minds_its_run(
            kind in 0..3, alive: bool, minded: bool,
        ) {
            let life = match kind {
                0 => None,
                1 => Some(Life::Running(run(4))),
                _ => Some(ended(None, &run(4), 1, WallTime(9))),
            };
            let seen = Observed { alive, minded };
            let needs = kind == 1 && !minded;
            prop_assert_eq!(care(life.as_ref(), seen) != Care::None, needs);
            // Alive and running agree, whoever minds it.
            if kind == 1 && alive {
                prop_assert!(state(life.as_ref(), seen).is_running());
            }
            // Life on disk reads back as it was.
            let text = serde_json::to_string(&life).expect("text");
            prop_assert_eq!(serde_json::from_str::<Option<Life>>(&text).expect("life"), life);
        }
    }
}
