//! `/metrics`: the text format 0.0.4 of Prometheus.

use std::fmt::{Display, Write};

use holdall_protocol::Millis;
use holdall_protocol::control::{Counts, Exit, HealthState, ServiceStatus, State};

use super::process::{self, Units};
use super::upstream::Snapshot;

/// A metric: its name without the prefix, its type, and what it says.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) help: &'static str,
}

/// Before every name.
const PREFIX: &str = "holdall_";

const fn metric(name: &'static str, kind: &'static str, help: &'static str) -> Metric {
    Metric { name, kind, help }
}

const BUILD: Metric = metric("build_info", "gauge", "1, with the release of the init");
const READY: Metric = metric("ready", "gauge", "1 while every essential service is ready");
const LIVE: Metric = metric(
    "live",
    "gauge",
    "1 unless an essential service is given up, or hangs and is left alone",
);
const STOPPING: Metric = metric("stopping", "gauge", "1 during the ordered stop of the box");
const STATE: Metric = metric(
    "service_state",
    "gauge",
    "1 for the state that the service is in, 0 for every other",
);
const STATE_SECONDS: Metric = metric(
    "service_state_seconds",
    "gauge",
    "Time since the service came into its state",
);
const SERVICE_READY: Metric = metric("service_ready", "gauge", "1 while the service is ready");
const HEALTHY: Metric = metric(
    "service_healthy",
    "gauge",
    "1 while the health check of the service succeeds; of those with one",
);
const RESTARTS: Metric = metric(
    "service_restarts_total",
    "counter",
    "Times that the service was started again after its first start",
);
const LAST_EXIT: Metric = metric(
    "service_last_exit_code",
    "gauge",
    "How its main process ended last, 128 + n for signal n; of those that did",
);
const OOM_KILLS: Metric = metric(
    "service_oom_kills_total",
    "counter",
    "Processes of it that the kernel killed for want of memory, counted when its main process has ended; of those with `limits.memory`",
);
const UPTIME: Metric = metric(
    "service_process_uptime_seconds",
    "gauge",
    "Time since its main process was made; of those with one",
);
const CPU: Metric = metric(
    "service_process_cpu_seconds_total",
    "counter",
    "Processor time of its main process and the children that it waited for",
);
const MEMORY: Metric = metric(
    "service_process_resident_bytes",
    "gauge",
    "Resident memory of its main process",
);
const PROBES: Metric = metric(
    "service_probes_total",
    "counter",
    "Answers of its probes; of those with one",
);
const PROBE_SECONDS: Metric = metric(
    "service_probe_seconds_total",
    "counter",
    "Time that these probes took, each to the millisecond",
);
const LOG_LINES: Metric = metric("service_log_lines_total", "counter", "Lines that it wrote");
const LOG_BYTES: Metric = metric(
    "service_log_bytes_total",
    "counter",
    "Bytes of these lines, with their ends",
);
const LOG_DROPPED: Metric = metric(
    "service_log_dropped_lines_total",
    "counter",
    "Lines of its log that did not arrive where they were to go",
);

/// Every metric, in the order in which they are said.
#[cfg(test)]
const ALL: [Metric; 19] = [
    BUILD,
    READY,
    LIVE,
    STOPPING,
    STATE,
    STATE_SECONDS,
    SERVICE_READY,
    HEALTHY,
    RESTARTS,
    LAST_EXIT,
    OOM_KILLS,
    UPTIME,
    CPU,
    MEMORY,
    PROBES,
    PROBE_SECONDS,
    LOG_LINES,
    LOG_BYTES,
    LOG_DROPPED,
];

/// A text of metrics under way.
#[derive(Default)]
struct Text(String);

impl Text {
    /// What the metric says; its samples follow.
    fn begin(&mut self, metric: &Metric) {
        let Metric { name, kind, help } = metric;
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "# HELP {PREFIX}{name} {help}");
        let _ = writeln!(self.0, "# TYPE {PREFIX}{name} {kind}");
    }

    fn sample(&mut self, metric: &Metric, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "{PREFIX}{}", metric.name);
        let mut before = '{';
        for (label, value) in labels {
            // Names of services, words and releases: nothing to escape.
            let _ = write!(self.0, "{before}{label}=\"{value}\"");
            before = ',';
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    /// One metric of all services that have it, in kinds: their label, and
    /// what each service has of each.
    fn kinds(
        &mut self,
        metric: &Metric,
        services: &[ServiceStatus],
        label: &str,
        values: impl Fn(&Counts) -> Option<[(&'static str, u64); 2]>,
    ) {
        self.begin(metric);
        for service in services {
            for (kind, value) in values(&service.counts).into_iter().flatten() {
                let labels = [("service", service.name.as_str()), (label, kind)];
                self.sample(metric, &labels, value);
            }
        }
    }

    /// One metric of all services that have it.
    fn services<T: Display>(
        &mut self,
        metric: &Metric,
        services: &[ServiceStatus],
        value: impl Fn(usize, &ServiceStatus) -> Option<T>,
    ) {
        self.begin(metric);
        for (at, service) in services.iter().enumerate() {
            if let Some(value) = value(at, service) {
                self.sample(metric, &[("service", service.name.as_str())], value);
            }
        }
    }
}

/// Everything that there is to say.
pub(crate) fn text(snapshot: &Snapshot, units: Units) -> String {
    let Snapshot {
        status,
        ready,
        live,
        ..
    } = snapshot;
    let mut text = Text::default();
    text.begin(&BUILD);
    text.sample(&BUILD, &[("release", env!("CARGO_PKG_VERSION"))], 1);
    for (metric, so) in [
        (&READY, ready.is_ok()),
        (&LIVE, live.is_ok()),
        (&STOPPING, status.stopping),
    ] {
        text.begin(metric);
        text.sample(metric, &[], u8::from(so));
    }
    let services = status.services.as_slice();
    text.begin(&STATE);
    for service in services {
        for state in State::ALL {
            let labels = [("service", service.name.as_str()), ("state", state.word())];
            text.sample(&STATE, &labels, u8::from(service.state == state));
        }
    }
    text.services(&STATE_SECONDS, services, |_, service| {
        Some(seconds(service.since))
    });
    text.services(&SERVICE_READY, services, |_, service| {
        Some(u8::from(service.state == State::Ready))
    });
    text.services(&HEALTHY, services, |_, service| {
        let health = service.health?;
        Some(u8::from(health == HealthState::Healthy))
    });
    text.services(&RESTARTS, services, |_, service| Some(service.restarts));
    text.services(&LAST_EXIT, services, |_, service| {
        service.last_exit.map(Exit::code)
    });
    text.services(&OOM_KILLS, services, |_, service| {
        Some(service.counts.oom_kills)
    });
    let uptime = process::uptime().unwrap_or_default();
    let look = |service: &ServiceStatus| process::look(service.pid?, uptime, units);
    let processes: Vec<Option<process::Process>> = services.iter().map(look).collect();
    let process = |at: usize| processes.get(at).copied().flatten();
    text.services(&UPTIME, services, |at, _| Some(seconds(process(at)?.age)));
    text.services(&CPU, services, |at, _| Some(seconds(process(at)?.cpu)));
    text.services(&MEMORY, services, |at, _| Some(process(at)?.resident));
    let asked = |counts: &Counts| counts.probes_good + counts.probes_failed > 0;
    text.kinds(&PROBES, services, "result", |counts| {
        let answers = [
            ("good", counts.probes_good),
            ("failed", counts.probes_failed),
        ];
        asked(counts).then_some(answers)
    });
    text.services(&PROBE_SECONDS, services, |_, service| {
        asked(&service.counts).then(|| seconds(service.counts.probe_time))
    });
    text.kinds(&LOG_LINES, services, "stream", |counts| {
        Some([
            ("stdout", counts.stdout_lines),
            ("stderr", counts.stderr_lines),
        ])
    });
    text.kinds(&LOG_BYTES, services, "stream", |counts| {
        Some([
            ("stdout", counts.stdout_bytes),
            ("stderr", counts.stderr_bytes),
        ])
    });
    text.services(&LOG_DROPPED, services, |_, service| {
        Some(service.log_dropped)
    });
    text.0
}

/// As a decimal.
fn seconds(Millis(span): Millis) -> String {
    format!("{}.{:03}", span / 1000, span % 1000)
}

#[cfg(test)]
mod tests;
