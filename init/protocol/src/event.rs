//! What happens to services: one record for each change of a state, as it
//! travels and as it is printed.

use serde::{Deserialize, Serialize};

use crate::control::{Exit, State};
use crate::{Moment, ServiceName};

/// One service came from one state into another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Which event since the boot, from 0: without a choice of services, a gap
    /// is what a slow reader has missed.
    pub number: u64,
    /// When.
    pub time: Moment,
    /// Which, with the number of its instance behind an `@`.
    pub service: ServiceName,
    /// That number, of one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
    /// Its state before.
    pub from: State,
    /// Its state now.
    pub to: State,
    /// Why, for people: lower case, no period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How its main process ended, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The kernel had killed it, or some process of it, for want of memory by
    /// then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub out_of_memory: bool,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl std::fmt::Display for EventRecord {
    /// `2026-11-22T21:05:00.123456Z web ready → stopping: it ended (exit 3)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            time,
            service,
            from,
            to,
            reason,
            exit,
            out_of_memory,
            ..
        } = self;
        write!(f, "{time} {service} {} → {}", from.word(), to.word())?;
        if let Some(reason) = reason {
            write!(f, ": {reason}")?;
        }
        match exit {
            Some(exit) => write!(f, " ({})", exit.with(*out_of_memory)),
            None => Ok(()),
        }
    }
}
