//! `schedule`: when a job runs.

use std::fmt;
use std::str::FromStr;

use crate::{Millis, cron};

/// When a job runs: `"@every 30s"`, or a cron expression, `"*/5 * * * *"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// Each time so long after the last start was due.
    Every(Millis),
    /// At these minutes, in UTC.
    Cron(cron::Expression),
}

/// The shortest span of `@every`: a job that is due more often is a daemon.
const SHORTEST: Millis = Millis(1000);

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The span behind `@every` is none.
    #[error(transparent)]
    Span(#[from] crate::millis::MillisError),
    /// The span behind `@every` is too short.
    #[error("a job can't run every {0}: 1s is the shortest")]
    TooOften(Millis),
    /// It is no cron expression.
    #[error(transparent)]
    Cron(#[from] cron::CronError),
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let Some(span) = text.trim().strip_prefix("@every ") else {
            return Ok(Self::Cron(text.parse()?));
        };
        let span: Millis = span.parse()?;
        if span < SHORTEST {
            return Err(ScheduleError::TooOften(span));
        }
        Ok(Self::Every(span))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(span) => write!(f, "@every {span}"),
            Self::Cron(expression) => expression.fmt(f),
        }
    }
}
