//! What happened, in words.

use std::fmt::Write;

use holdall_protocol::control::{Exit, HealthState, ServiceStatus, Status};
use holdall_protocol::{Millis, ServiceName, Signal};
use holdall_supervise::{Because, Note, ServiceId};

/// Whom a note is about, and its line.
pub(crate) fn words(note: &Note) -> (Option<ServiceId>, String) {
    match note {
        Note::Ready { service, after } => (Some(*service), format!("ready after {}", span(*after))),
        Note::Exited {
            service,
            exit,
            after,
            expected,
        } => {
            let how = if *expected { "stopped" } else { "ended" };
            (
                Some(*service),
                format!("{how} with {exit} after {}", span(*after)),
            )
        }
        Note::Restarting {
            service,
            delay,
            restarts,
        } => {
            let when = if delay.0 == 0 {
                "now".to_owned()
            } else {
                format!("in {}", span(*delay))
            };
            (
                Some(*service),
                format!("restarts {when} (restart {restarts})"),
            )
        }
        Note::SpawnFailed { service, reason } => (Some(*service), reason.clone()),
        Note::Unhealthy { service, reason } => (Some(*service), format!("unhealthy: {reason}")),
        Note::Recovered { service } => (Some(*service), "healthy again".to_owned()),
        Note::GivenUp {
            service,
            exit,
            failures,
            essential,
        } => {
            let times = if *failures == 1 {
                "1 failure".into()
            } else {
                format!("{failures} failures")
            };
            let then = if *essential {
                ", and the box stops: it is essential"
            } else {
                ""
            };
            (
                Some(*service),
                format!("given up after {times}, the last with {exit}{then}"),
            )
        }
        Note::KillAfterTimeout { service } => (
            Some(*service),
            "did not stop in time and is killed".to_owned(),
        ),
        Note::LeftBehind { service } => (
            *service,
            "a process can't be killed (it hangs in the kernel) and is left".to_owned(),
        ),
        Note::ForegroundFailed { reason } => (None, reason.clone()),
        Note::Missed {
            service,
            count,
            because,
        } => {
            let times = match count {
                1 => "one time".to_owned(),
                count => format!("{count} times"),
            };
            let why = match because {
                Because::ItRan => "its last run had not ended",
                Because::ClockWasSet => "the clock was set past it",
            };
            (Some(*service), format!("missed {times}: {why}"))
        }
        Note::StopCommandFailed { service, reason } => (
            Some(*service),
            format!("its stop command failed ({reason}), and it is sent its signal"),
        ),
        Note::Reconfigured { changes } => {
            let services = if changes.len() == 1 {
                "service"
            } else {
                "services"
            };
            (
                None,
                format!("reloaded: {} {services} changed", changes.len()),
            )
        }
        Note::Stopping => (None, "stopping".to_owned()),
        Note::BoxReady { after } => (None, format!("ready after {}", span(*after))),
    }
}

/// A span for people: two digits that matter, and no more.
pub(crate) fn span(span: Millis) -> String {
    let seconds = span.0 / 1000;
    match seconds {
        0 => format!("{} ms", span.0),
        1..10 => format!("{}.{} s", seconds, (span.0 % 1000) / 100),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Why a service is as it is, line by line.
pub(crate) fn why(service: &ServiceStatus) -> Vec<String> {
    let name = &service.name;
    let state = format!("{:?}", service.state).to_lowercase();
    let mut lines = vec![format!("{name} is {state}, since {}", span(service.since))];
    if !service.waits_for.is_empty() {
        let names: Vec<&str> = service.waits_for.iter().map(ServiceName::as_str).collect();
        lines.push(format!("it waits for {}", names.join(", ")));
    }
    if let Some(next) = service.next_start {
        lines.push(format!("it starts in {}", span(next)));
    }
    if let Some(exit) = service.last_exit {
        let why = match (service.out_of_memory, exit) {
            (false, _) => "",
            (true, Exit::Signal(Signal::KILL)) => {
                ": the kernel killed it for want of memory (`limits.memory`)"
            }
            (true, Exit::Signal(_) | Exit::Code(_)) => {
                ": the kernel had killed a process of it for want of memory (`limits.memory`)"
            }
        };
        lines.push(format!("it ended last with {exit}{why}"));
    }
    if let Some(words) = &service.status {
        lines.push(format!("it says: {words}"));
    }
    let mut words = service.message.iter().flat_map(|message| message.lines());
    lines.extend(words.next().map(str::to_owned));
    // What its probe printed.
    lines.extend(words.map(|line| format!("  {line}")));
    lines.push(format!("it was started again {} times", service.restarts));
    match service.counts.oom_kills {
        0 => {}
        1 => lines.push("the kernel killed 1 process of it for want of memory so far".to_owned()),
        count => lines.push(format!(
            "the kernel killed {count} processes of it for want of memory so far"
        )),
    }
    match service.log_dropped {
        0 => {}
        1 => lines.push("1 line of its log did not arrive".to_owned()),
        count => lines.push(format!("{count} lines of its log did not arrive")),
    }
    lines
}

/// The columns of `ps`; the last only where a service says something.
const HEADINGS: [&str; 8] = [
    "SERVICE",
    "STATE",
    "HEALTH",
    "PID",
    "RESTARTS",
    "UPTIME",
    "LAST EXIT",
    "STATUS",
];

/// The services as a table, one line each after the headings.
pub(crate) fn table(status: &Status) -> Vec<String> {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    let said = status.services.iter().any(|s| s.status.is_some());
    if let Some([.., heading]) = rows.first_mut().filter(|_| !said) {
        heading.clear();
    }
    for service in &status.services {
        let state = format!("{:?}", service.state).to_lowercase();
        let state = match service.next_start {
            Some(next) => format!("{state} ({})", span(next)),
            None => state,
        };
        let health = service.health.map_or("-", |health| match health {
            HealthState::Starting => "starting",
            HealthState::Healthy => "healthy",
            HealthState::Unhealthy => "unhealthy",
        });
        let dash = || "-".to_owned();
        rows.push([
            service.name.to_string(),
            state,
            health.to_owned(),
            service.pid.map_or_else(dash, |pid| pid.to_string()),
            service.restarts.to_string(),
            service.pid.map_or_else(dash, |_| span(service.since)),
            service.last_end().unwrap_or_else(dash),
            service.status.clone().unwrap_or_default(),
        ]);
    }
    let mut widths = [0; HEADINGS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |row: &[String; 8]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String can't fail.
            let _ = write!(line, "{cell:width$}   ");
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_protocol::control::{Counts, State};

    #[test]
    fn spans_are_said_as_people_say_them() {
        let said =
            [0, 640, 1300, 42_000, 300_000, 10_800_000, 864_000_000].map(|n| span(Millis(n)));
        assert_eq!(
            said,
            ["0 ms", "640 ms", "1.3 s", "42 s", "5 min", "3 h", "10 days"]
        );
    }

    #[test]
    fn the_table_is_aligned() {
        let service = |name: &str, state, pid: Option<u32>| ServiceStatus {
            name: name.parse().expect("a name"),
            state,
            health: Some(HealthState::Healthy).filter(|_| pid.is_some()),
            pid,
            since: Millis(3_000),
            restarts: 2,
            last_exit: Some(Exit::Signal(Signal::KILL)),
            out_of_memory: pid.is_none(),
            next_start: Some(Millis(1500)).filter(|_| pid.is_none()),
            message: None,
            status: None,
            waits_for: Vec::new(),
            log_dropped: 0,
            counts: Counts::default(),
        };
        let services = vec![
            service("redis", State::Ready, Some(12)),
            service("web", State::Backoff, None),
        ];
        let status = Status {
            ready: true,
            has_been_ready: true,
            stopping: false,
            services,
            more: None,
        };
        assert_eq!(
            table(&status),
            [
                "SERVICE   STATE             HEALTH    PID   RESTARTS   UPTIME   LAST EXIT",
                "redis     ready             healthy   12    2          3.0 s    SIGKILL",
                "web       backoff (1.5 s)   -         -     2          -        SIGKILL, out of memory",
            ]
        );
    }
}
