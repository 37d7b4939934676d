//! When a job is due.
//!
//! Due times are counted up to where they were looked at last, so that those
//! which pass while the job runs (it never overlaps itself) or while the clock
//! jumps are told of, and never made up for.

use holdall_protocol::manifest::Schedule;

use crate::Timestamp;

/// Milliseconds of a minute.
const MINUTE: u64 = 60_000;

/// The most missed times that are counted: "1000 times" says enough, and a
/// clock that jumps by a century must not be counted minute by minute.
const MOST: u32 = 1000;

/// What the wall clock shows, as far as decisions go: how far ahead of our own
/// time it is, in milliseconds. Set anew by [`crate::Event::Clock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Calendar(pub(crate) i128);

impl Calendar {
    /// Set so that it shows `wall` (milliseconds since 1970 in UTC) at `now`.
    pub(crate) fn showing(wall: u64, now: Timestamp) -> Self {
        Self(i128::from(wall) - i128::from(now.0))
    }

    /// The minute of the wall clock, since 1970 in UTC.
    pub(crate) fn minute(self, at: Timestamp) -> u64 {
        let wall = (i128::from(at.0) + self.0).max(0);
        u64::try_from(wall).unwrap_or(u64::MAX) / MINUTE
    }

    /// When a minute begins.
    fn begins(self, minute: u64) -> Option<Timestamp> {
        let wall = i128::from(minute) * i128::from(MINUTE);
        u64::try_from((wall - self.0).max(0)).ok().map(Timestamp)
    }
}

/// The times of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Times {
    /// `@every` counts from here: when the job was brought up.
    anchor: Timestamp,
    /// Due times up to this one are taken or told of.
    seen: Timestamp,
}

impl Times {
    /// From now on.
    pub(crate) fn from(now: Timestamp) -> Self {
        Self {
            anchor: now,
            seen: now,
        }
    }

    /// The job runs: what was due up to now is taken.
    pub(crate) fn take(&mut self, now: Timestamp) {
        self.seen = self.seen.max(now);
    }

    /// The first time after `now`.
    pub(crate) fn next(
        &self,
        schedule: Schedule,
        calendar: Calendar,
        now: Timestamp,
    ) -> Option<Timestamp> {
        match schedule {
            Schedule::Every(span) => {
                let span = span.0.max(1);
                let passed = now.since(self.anchor).0 / span;
                let at = passed.checked_add(1)?.checked_mul(span)?;
                self.anchor.0.checked_add(at).map(Timestamp)
            }
            Schedule::Cron(expression) => {
                calendar.begins(expression.next_after(calendar.minute(now))?)
            }
        }
    }

    /// How many times have passed since the last that was taken.
    pub(crate) fn missed(&mut self, schedule: Schedule, calendar: Calendar, now: Timestamp) -> u32 {
        let seen = self.seen;
        self.take(now);
        if now <= seen {
            return 0;
        }
        match schedule {
            Schedule::Every(span) => {
                let times = |at: Timestamp| at.since(self.anchor).0 / span.0.max(1);
                u32::try_from(times(now) - times(seen))
                    .unwrap_or(MOST)
                    .min(MOST)
            }
            Schedule::Cron(expression) => {
                let (from, to) = (calendar.minute(seen), calendar.minute(now));
                expression.count_between(from, to, MOST)
            }
        }
    }
}

/// The times that a clock which was set forward has jumped over.
pub(crate) fn jumped(schedule: Schedule, old: Calendar, new: Calendar, now: Timestamp) -> u32 {
    match schedule {
        Schedule::Every(_) => 0,
        Schedule::Cron(expression) => {
            // What is due in the very minute that the clock now shows, is due.
            let (from, to) = (old.minute(now), new.minute(now));
            expression.count_between(from, to, MOST)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(span: &str) -> Schedule {
        span.parse().expect("a schedule")
    }

    #[test]
    fn every_so_often_counts_from_the_beginning_and_not_from_the_last_run() {
        let times = Times::from(Timestamp(500));
        let next = |now| times.next(every("@every 10s"), Calendar::default(), Timestamp(now));
        assert_eq!(next(500), Some(Timestamp(10_500)));
        assert_eq!(next(10_499), Some(Timestamp(10_500)));
        assert_eq!(next(10_500), Some(Timestamp(20_500)));
    }

    #[test]
    fn a_cron_job_is_due_when_its_minute_begins_whatever_our_own_time_is() {
        let calendar = Calendar::showing(1_700_000_030_000, Timestamp(30_000));
        let times = Times::from(Timestamp(30_000));
        let next = times.next(every("* * * * *"), calendar, Timestamp(30_000));
        let wall = 1_700_000_000_000 + next.expect("each minute").0;
        assert_eq!(wall % 60_000, 0);
        assert!(wall > 1_700_000_030_000 && wall <= 1_700_000_090_000);
    }

    #[test]
    fn times_that_passed_are_counted_once() {
        let mut times = Times::from(Timestamp(0));
        let schedule = every("@every 1s");
        let calendar = Calendar::default();
        assert_eq!(times.missed(schedule, calendar, Timestamp(3500)), 3);
        assert_eq!(times.missed(schedule, calendar, Timestamp(3500)), 0);
        assert_eq!(times.missed(schedule, calendar, Timestamp(4000)), 1);
    }

    #[test]
    fn a_clock_that_jumps_a_century_is_not_counted_to_its_end() {
        let old = Calendar::showing(0, Timestamp(0));
        let new = Calendar::showing(100 * 365 * 86_400_000, Timestamp(0));
        let missed = jumped(every("* * * * *"), old, new, Timestamp(0));
        assert_eq!(missed, MOST);
        assert_eq!(jumped(every("* * * * *"), new, old, Timestamp(0)), 0);
    }
}
