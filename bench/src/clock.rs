//! The crate's one home of the clock.

use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock home: time is what this program measures"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds of the machine's monotonic clock, comparable between processes.
pub(crate) fn monotonic_ns() -> nix::Result<i64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// Seconds since the epoch, for the page's date.
pub(crate) fn wall_seconds() -> nix::Result<i64> {
    Ok(clock_gettime(ClockId::CLOCK_REALTIME)?.tv_sec())
}

/// Lets `time` (at most 65 s) pass. Measuring idleness, and looking at what
/// gives no event, has no other way.
pub(crate) fn pass(time: Duration) {
    let millis = u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
    // A signal ends it early; the callers look again.
    poll(&mut [], PollTimeout::from(millis)).ok();
}
