//! `health`: how a service is asked whether it is well.

use super::probe::{self, Probe};
use super::values::positive;
use crate::Millis;
use crate::decode::{Problems, Value};

/// `health`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Health {
    /// How to ask.
    pub probe: Probe,
    /// Between two probes; 10 s unless said. Before the first success a
    /// service is asked more often, so that it is found ready soon.
    pub interval: Millis,
    /// A probe that takes longer has failed; 3 s unless said.
    pub timeout: Millis,
    /// Failures in a row until it is unhealthy; 3 unless said.
    pub retries: u32,
    /// Successes in a row until it is healthy, at first and again; 1 unless
    /// said.
    pub successes: u32,
    /// Failures in this time after the start don't count; 0 unless said.
    pub start_period: Millis,
}

impl Health {
    /// Asks so, everything else as where nothing is said.
    #[must_use]
    pub fn by(probe: Probe) -> Self {
        Self {
            probe,
            interval: Millis::from_secs(10),
            timeout: Millis::from_secs(3),
            retries: 3,
            successes: 1,
            start_period: Millis::ZERO,
        }
    }
}

/// Reads `health = { exec | http | tcp | file = …, interval, timeout, retries,
/// successes, start_period }`.
pub(super) fn read(value: &Value<'_>, problems: &mut Problems) -> Option<Health> {
    let mut table = value.table(problems)?;
    let help = "add exec = \"command\", http = \":8000/healthz\" or tcp = 6379";
    let asked = probe::take(&mut table, &[], "health", help, problems);
    let probe = asked.and_then(|asked| probe::read(&asked, problems));
    let interval = table
        .take("interval")
        .and_then(|value| positive(&value, problems));
    let timeout = table
        .take("timeout")
        .and_then(|value| positive(&value, problems));
    let retries = table
        .take("retries")
        .and_then(|value| value.integer(1..=1000, problems));
    let successes = table
        .take("successes")
        .and_then(|value| value.integer(1..=1000, problems));
    let start_period = table
        .take("start_period")
        .and_then(|value| value.duration(problems));
    table.finish(&[], problems);
    let usual = Health::by(probe?);
    Some(Health {
        interval: interval.unwrap_or(usual.interval),
        timeout: timeout.unwrap_or(usual.timeout),
        retries: retries.unwrap_or(usual.retries),
        successes: successes.unwrap_or(usual.successes),
        start_period: start_period.unwrap_or(usual.start_period),
        ..usual
    })
}

/// As TOML.
pub(super) fn write(health: &Health) -> String {
    let Health {
        probe,
        interval,
        timeout,
        retries,
        successes,
        start_period,
    } = health;
    let probe = probe::write(probe);
    let successes = match successes {
        1 => String::new(),
        more => format!("successes = {more}, "),
    };
    format!(
        "{{ {probe}, interval = \"{interval}\", timeout = \"{timeout}\", retries = {retries}, \
         {successes}start_period = \"{start_period}\" }}"
    )
}
