//! Everything that the supervisor wants done.

use holdall_protocol::control::{ErrorKind, Exit};
use holdall_protocol::{Millis, Signal};

use crate::{Changed, ServiceId};

/// One thing to do, now and without waiting. A failed action comes back as an
/// event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start the service's main process. Answered by `Spawned` or
    /// `SpawnFailed`.
    Spawn {
        /// Which.
        service: ServiceId,
    },
    /// Signal the service's process group, then send CONT, so that a stopped
    /// process hears it.
    Signal {
        /// Which.
        service: ServiceId,
        /// What.
        signal: Signal,
    },
    /// Run the service's stop command, with its main process in MAINPID.
    /// Answered by `StopCommandEnded`, unless `KillAll` comes first, which
    /// ends it too.
    StopCommand {
        /// Which.
        service: ServiceId,
    },
    /// Make the service read its files again, by the signal or the command of
    /// its `reload`. Answered by `ReloadEnded`.
    Reload {
        /// Which.
        service: ServiceId,
    },
    /// End every process of the service, whatever it did to get away. Answered
    /// by `Cleared` once none is left (and by `Exited` too, if the main process
    /// was alive).
    KillAll {
        /// Which.
        service: ServiceId,
    },
    /// Ask the service for its health, once, bounded by its own timeout.
    /// Answered by `Probed`. There is never a second one under way for the same
    /// service.
    Probe {
        /// Which.
        service: ServiceId,
        /// What.
        question: Question,
    },
    /// Forget the probe that is under way: end its processes; no answer comes
    /// after this.
    CancelProbe {
        /// Of which.
        service: ServiceId,
    },
    /// Tell once a connection or a datagram waits at one of the service's
    /// sockets (`Demanded`); where they can't be opened or watched, at once.
    AwaitDemand {
        /// Which.
        service: ServiceId,
    },
    /// No longer: after this nothing is told.
    ForgetDemand {
        /// Of which.
        service: ServiceId,
    },
    /// Close the descriptors that the service has stored: it is down, and
    /// nothing starts it again by itself. Only of a service that is ready by
    /// `notify`.
    ReleaseStore {
        /// Whose.
        service: ServiceId,
    },
    /// Start the foreground command. Answered by `ForegroundSpawned` or
    /// `ForegroundFailed`.
    SpawnForeground,
    /// Signal the foreground command's group, then send CONT.
    SignalForeground {
        /// What.
        signal: Signal,
    },
    /// End every process of the foreground command, as
    /// [`KillAll`](Self::KillAll) does for a service. Answered by
    /// `ForegroundCleared` once none is left (and by `ForegroundExited` too, if
    /// it was alive).
    KillForeground,
    /// Answer a client.
    Reply {
        /// The number of its request.
        request: u64,
        /// How it went.
        result: Result<(), Refusal>,
    },
    /// Say what happened, in the log.
    Note(Note),
    /// Tell who follows the states of services.
    Tell(Changed),
    /// Nothing is left to do and no child is left alive (but those of which
    /// [`Note::LeftBehind`] told): exit. The last action.
    Exit {
        /// With this code.
        code: u8,
    },
}

/// Which probe is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// That of `ready`.
    Ready,
    /// That of `health`.
    Health,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// For programs.
    pub kind: ErrorKind,
    /// For people: lower case, no period.
    pub message: String,
}

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Note {
    /// The service became ready.
    Ready {
        /// Which.
        service: ServiceId,
        /// Since its start.
        after: Millis,
    },
    /// Its main process ended.
    Exited {
        /// Whose.
        service: ServiceId,
        /// How.
        exit: Exit,
        /// After how long.
        after: Millis,
        /// It was asked to.
        expected: bool,
    },
    /// It will be started again.
    Restarting {
        /// Which.
        service: ServiceId,
        /// After this wait.
        delay: Millis,
        /// Restarts so far, this one included.
        restarts: u32,
    },
    /// It could not be started.
    SpawnFailed {
        /// Which.
        service: ServiceId,
        /// Why.
        reason: String,
    },
    /// Its probe failed as often as allowed, its watchdog was not heard, or it
    /// was not ready in time.
    Unhealthy {
        /// Which.
        service: ServiceId,
        /// Why, in one line.
        reason: String,
    },
    /// Its probe succeeds again, or its watchdog is heard again.
    Recovered {
        /// Which.
        service: ServiceId,
    },
    /// It is given up. The shell prints the last lines of its log with this.
    GivenUp {
        /// Which.
        service: ServiceId,
        /// How it ended last.
        exit: Exit,
        /// How many failures.
        failures: u32,
        /// The box stops for it.
        essential: bool,
    },
    /// It did not end in time and is killed.
    KillAfterTimeout {
        /// Which.
        service: ServiceId,
    },
    /// Times at which the job was due have passed without a run.
    Missed {
        /// Which.
        service: ServiceId,
        /// How many.
        count: u32,
        /// Why.
        because: Because,
    },
    /// Its stop command failed: it is sent its signal instead.
    StopCommandFailed {
        /// Which.
        service: ServiceId,
        /// Why.
        reason: String,
    },
    /// A new manifest holds from now on.
    Reconfigured {
        /// What it changes; nothing where empty.
        changes: Vec<crate::Change>,
    },
    /// An ordered stop begins.
    Stopping,
    /// It could not be killed by the end of the bound (a process that hangs in
    /// the kernel): init exits without it.
    LeftBehind {
        /// Which; none for the foreground command.
        service: Option<ServiceId>,
    },
    /// The foreground command could not be started.
    ForegroundFailed {
        /// Why.
        reason: String,
    },
    /// Every essential service is ready: said at each change to ready.
    BoxReady {
        /// Since the boot.
        after: Millis,
    },
}

/// Why a job did not run when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Because {
    /// Its last run had not ended.
    ItRan,
    /// The wall clock was set past it.
    ClockWasSet,
}
