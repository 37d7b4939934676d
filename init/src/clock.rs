//! The clocks: read here and nowhere else.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use holdall_supervise::Timestamp;

/// The monotonic clock since init began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the licensed home of the clock")]
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Microseconds since 1970-01-01 UTC, for people to read in a log.
#[expect(clippy::disallowed_methods, reason = "the licensed home of the clock")]
pub(crate) fn wall_micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
