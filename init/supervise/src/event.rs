//! Everything that the supervisor is told.

use holdall_protocol::ServiceName;
use holdall_protocol::control::Exit;

use crate::ServiceId;
use crate::notice::Notice;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Init is set up: bring everything up. Once, first.
    Boot,
    /// [`crate::Action::Spawn`] worked: the service's main process exists.
    Spawned {
        /// Which.
        service: ServiceId,
        /// Its process.
        pid: u32,
    },
    /// [`crate::Action::Spawn`] failed, before or in `exec`: no process is left
    /// of it.
    SpawnFailed {
        /// Which.
        service: ServiceId,
        /// Why, for people: `cannot execute /usr/bin/x: no such file`.
        reason: String,
        /// A shell's code for it: 127 missing, 126 not executable, 125 else.
        code: u8,
    },
    /// The main process was reaped. Comes once for every `Spawned`, after it.
    Exited {
        /// Whose.
        service: ServiceId,
        /// How it ended.
        exit: Exit,
        /// Processes of the service that the kernel killed for want of memory
        /// since its start.
        oom_kills: u64,
    },
    /// The answer to [`crate::Action::KillAll`]: no process of the service is
    /// left.
    Cleared {
        /// Which.
        service: ServiceId,
    },
    /// The probe of [`crate::Action::Probe`] came to an end (also by its
    /// timeout, which is a failure).
    Probed {
        /// Of which.
        service: ServiceId,
        /// What it found; the text says why it failed in its first line, and
        /// below it what the probe printed.
        outcome: Result<(), String>,
    },
    /// A service said something of itself. The shell has seen that it came from
    /// one of its own processes.
    Notified {
        /// Which.
        service: ServiceId,
        /// What.
        notice: Notice,
    },
    /// The command of [`crate::Action::StopCommand`] came to an end, or could
    /// not be started.
    StopCommandEnded {
        /// Of which.
        service: ServiceId,
        /// Whether it exited with 0; the text says why not.
        outcome: Result<(), String>,
    },
    /// The answer to [`crate::Action::Reload`].
    ReloadEnded {
        /// Of which.
        service: ServiceId,
        /// Whether it was told; the text says why not.
        outcome: Result<(), String>,
    },
    /// What [`crate::Action::AwaitDemand`] waits for: a connection or a
    /// datagram is there for the service.
    Demanded {
        /// For which.
        service: ServiceId,
    },
    /// What the wall clock shows now: before [`Event::Boot`], and whenever it
    /// was set. Without it, our own time is taken for it.
    Clock {
        /// Milliseconds since 1970-01-01 in UTC.
        wall: u64,
    },
    /// The foreground command runs.
    ForegroundSpawned {
        /// Its process.
        pid: u32,
    },
    /// The foreground command can't run; a shell's code for that.
    ForegroundFailed {
        /// Why, for people.
        reason: String,
        /// 127 missing, 126 not executable, 125 else.
        code: u8,
    },
    /// The foreground command was reaped.
    ForegroundExited {
        /// How it ended.
        exit: Exit,
    },
    /// The answer to [`crate::Action::KillForeground`]: no process of the
    /// foreground command is left.
    ForegroundCleared,
    /// An ordered stop is asked for by a signal; the second makes it
    /// immediate.
    Shutdown,
    /// A client asks something that takes time. Answered by one
    /// [`crate::Action::Reply`] with the same number.
    Command {
        /// Chosen by the shell, unique among those under way.
        request: u64,
        /// What.
        command: Command,
        /// To whom; everyone where empty.
        services: Vec<ServiceName>,
    },
    /// The client of that request hung up: no reply is wanted. What it asked
    /// for goes on.
    Abandoned {
        /// Its number.
        request: u64,
    },
}

/// What a client may ask of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Bring up, with what they depend on; done when ready. A job runs now.
    Start,
    /// Take down, dependants first; done when no process is left.
    Stop,
    /// Down and up again, just these; done when ready.
    Restart,
    /// Make them read their files again, by their `reload`; those without one
    /// are restarted. Done when they were told (restarted: when ready).
    Reload,
}
