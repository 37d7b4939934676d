//! The one place of this crate that reads the clock.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

/// A point of time on the wall clock, in microseconds since 1970-01-01 UTC;
/// shown as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub u64);

impl WallTime {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the clock home of the runtime")]
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // A clock before 1970 shows as 1970.
        Self(since.map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        }))
    }

    /// How long ago that was; zero when the clock jumped back.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Duration::from_micros(Self::now().0.saturating_sub(self.0))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file may name a time that no calendar reaches.
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(self.0.min(LAST));
        humantime::format_rfc3339_micros(time).fmt(f)
    }
}

/// The end of the year 9999, in microseconds; RFC 3339 has no later one.
const LAST: u64 = 253_402_300_799_999_999;

/// A point of time to wait for, unmoved by jumps of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// So far from now.
    #[expect(clippy::disallowed_methods, reason = "the clock home of the runtime")]
    pub(crate) fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// What is left of it.
    #[expect(clippy::disallowed_methods, reason = "the clock home of the runtime")]
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_rfc_3339() {
        for (micros, shown) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_700_000_000_123_456, "2023-11-14T22:13:20.123456Z"),
            (4_102_444_799_000_000, "2099-12-31T23:59:59.000000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(WallTime(micros).to_string(), shown);
        }
    }
}
