//! What init says of itself, asked for at most a few times a second however
//! many ask here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use holdall_protocol::Millis;
use holdall_protocol::control::{HealthKind, Request, Response, Status};
use holdall_supervise::Timestamp;
use nix::sys::time::{TimeVal, TimeValLike};

use crate::client::connection::{ClientError, Connection, unexpected};

/// An answer is good for this long.
const FRESH: Millis = Millis(250);

/// Init answers in far less; one that takes longer hangs. Below the second
/// after which Kubernetes gives a probe up.
const ANSWER_MS: i64 = 800;

/// What init said at one time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    /// In docker's sense: ready until the first time ready, alive after.
    pub(crate) healthy: Result<(), String>,
    pub(crate) ready: Result<(), String>,
    pub(crate) live: Result<(), String>,
}

/// The private connection to init.
pub(crate) struct Upstream {
    init: Connection,
    /// The newest answer, with its number.
    newest: Option<(Timestamp, u64, Result<Snapshot, String>)>,
}

impl Upstream {
    pub(crate) fn over(fd: OwnedFd) -> Result<Self, ClientError> {
        Ok(Self {
            init: Connection::over(fd, TimeVal::milliseconds(ANSWER_MS))?,
            newest: None,
        })
    }

    /// What init says, or why it says nothing; and the number of this answer.
    pub(crate) fn snapshot(&mut self, now: Timestamp) -> (u64, Result<&Snapshot, &str>) {
        let is_fresh = |asked: Timestamp| now.since(asked) < FRESH;
        let number = match &self.newest {
            Some((asked, number, _)) if is_fresh(*asked) => *number,
            newest => {
                let number = newest.as_ref().map_or(0, |(_, number, _)| number + 1);
                let answer = ask(&mut self.init).map_err(|error| error.to_string());
                self.newest = Some((now, number, answer));
                number
            }
        };
        let answer = match &self.newest {
            Some((_, _, Ok(snapshot))) => Ok(snapshot),
            Some((_, _, Err(reason))) => Err(reason.as_str()),
            None => Err("init was not asked"),
        };
        (number, answer)
    }
}

impl AsFd for Upstream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }
}

fn ask(init: &mut Connection) -> Result<Snapshot, ClientError> {
    let status = init.status()?;
    let mut health = |kind| match init.ask(&Request::Health { kind })? {
        Response::Health { healthy: true, .. } => Ok(Ok(())),
        Response::Health { reason, .. } => Ok(Err(reason)),
        other => Err(unexpected(&other)),
    };
    Ok(Snapshot {
        healthy: health(HealthKind::Auto)?,
        ready: health(HealthKind::Ready)?,
        live: health(HealthKind::Live)?,
        status,
    })
}
