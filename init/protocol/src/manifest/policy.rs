//! The small tables of `[service.NAME]`: `backoff`, `give_up` and `stop`.

use super::values::positive;
use super::{Backoff, GiveUp, Stop};
use crate::decode::{Problems, Table, Value};

/// Reads `backoff`.
pub(super) fn backoff(mut table: Table<'_>, default: Backoff, problems: &mut Problems) -> Backoff {
    let initial = table
        .take("initial")
        .and_then(|value| value.duration(problems));
    let max = table.take("max");
    let max_span = max.as_ref().map(Value::span);
    let max = max.and_then(|value| value.duration(problems));
    let initial = initial.unwrap_or(default.initial);
    // Where only a longer first wait is said, it is the longest one too.
    let read = Backoff {
        initial,
        max: max.unwrap_or(default.max.max(initial)),
    };
    if let Some(span) = max_span
        && read.max < read.initial
    {
        let Backoff { initial, max } = read;
        problems.add(
            span,
            format!("the longest wait, {max}, is below the first, {initial}"),
        );
    }
    table.finish(&[], problems);
    read
}

/// Reads `give_up`.
pub(super) fn give_up(mut table: Table<'_>, default: GiveUp, problems: &mut Problems) -> GiveUp {
    let failures = table
        .take("failures")
        .and_then(|value| value.integer(0..=1000, problems));
    let within = table
        .take("within")
        .and_then(|value| positive(&value, problems));
    table.finish(&[], problems);
    GiveUp {
        failures: failures.unwrap_or(default.failures),
        within: within.unwrap_or(default.within),
    }
}

/// Reads `stop`.
pub(super) fn stop(mut table: Table<'_>, default: Stop, problems: &mut Problems) -> Stop {
    let signal = table
        .take("signal")
        .and_then(|value| value.parsed(problems));
    let timeout = table
        .take("timeout")
        .and_then(|value| value.duration(problems));
    table.finish(&[], problems);
    Stop {
        signal: signal.unwrap_or(default.signal),
        timeout: timeout.unwrap_or(default.timeout),
    }
}
