//! When a service that ended is started again, and when it is given up.

use std::collections::VecDeque;

use holdall_protocol::Millis;
use holdall_protocol::manifest::{Backoff, GiveUp};

use crate::Timestamp;

/// Ready this long, a service counts as well again: its next wait is the first
/// one. Shorter, and a service that dies each minute would be restarted
/// without pause; longer, and one bad deploy in the morning would slow down
/// restarts all day.
const WELL_AFTER: Millis = Millis(60_000);

/// The part of a wait that jitter may take away, one in this many: services
/// that died together don't all come back in the same millisecond. The longest
/// wait stays the longest.
const JITTER: u64 = 10;

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start it again after this.
    Wait(Millis),
    /// No more.
    GiveUp,
}

/// The failures of one service so far.
#[derive(Debug, Clone)]
pub(crate) struct Restarts {
    /// How often the wait has doubled.
    step: u32,
    /// The newest failures, no more of them than `give_up` counts. Only time
    /// and a client take them away: a service that is ready between two
    /// crashes still crashes.
    failures: VecDeque<Timestamp>,
    /// Starts in a row that failed, of a service that has `start_retries`.
    starts: u32,
    random: u64,
}

impl Restarts {
    /// None so far. `seed` makes the jitter.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            step: 0,
            failures: VecDeque::new(),
            starts: 0,
            random: seed,
        }
    }

    /// Forgets everything: a client asks for a new beginning.
    pub(crate) fn reset(&mut self) {
        self.step = 0;
        self.failures.clear();
        self.starts = 0;
    }

    /// How many failures count at this time.
    pub(crate) fn failures(&self) -> u32 {
        let failures = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        failures.max(self.starts)
    }

    /// Takes in a start that came to nothing, of a service that may try again
    /// so often: after one second, then after two, and so on, as supervisord
    /// does.
    pub(crate) fn start_failed(&mut self, retries: u32) -> Verdict {
        self.starts = self.starts.saturating_add(1);
        if self.starts > retries {
            return Verdict::GiveUp;
        }
        Verdict::Wait(Millis::from_secs(u64::from(self.starts)))
    }

    /// A start came to something.
    pub(crate) fn came_up(&mut self) {
        self.starts = 0;
    }

    /// Takes in one failure, after the service was `ready` for so long.
    pub(crate) fn failed(
        &mut self,
        now: Timestamp,
        ready: Millis,
        backoff: Backoff,
        give_up: GiveUp,
    ) -> Verdict {
        while self
            .failures
            .front()
            .is_some_and(|at| now.since(*at) >= give_up.within)
        {
            self.failures.pop_front();
        }
        if give_up.failures > 0 {
            self.failures.push_back(now);
            if self.failures() >= give_up.failures {
                return Verdict::GiveUp;
            }
        }
        if ready >= WELL_AFTER {
            self.step = 0;
        }
        let doubled = backoff
            .initial
            .0
            .checked_shl(self.step)
            .filter(|wait| wait.checked_shr(self.step) == Some(backoff.initial.0));
        let wait = doubled.map_or(backoff.max.0, |wait| wait.min(backoff.max.0));
        self.step = self.step.saturating_add(1).min(63);
        let jitter = self.draw() % (wait / JITTER + 1);
        Verdict::Wait(Millis(wait - jitter))
    }

    /// The next number of splitmix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        initial: Millis(1000),
        max: Millis(30_000),
    };
    const FIVE: GiveUp = GiveUp {
        failures: 5,
        within: Millis(60_000),
    };
    const NEVER: GiveUp = GiveUp {
        failures: 0,
        within: Millis(60_000),
    };

    fn waits(count: usize, ready: Millis) -> Vec<u64> {
        let mut restarts = Restarts::new(7);
        let wait = |_| match restarts.failed(Timestamp(0), ready, BACKOFF, NEVER) {
            Verdict::Wait(wait) => wait.0,
            Verdict::GiveUp => panic!("never"),
        };
        (0..count).map(wait).collect()
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit_less_a_tenth_at_most() {
        let full = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        for (wait, full) in waits(7, Millis::ZERO).into_iter().zip(full) {
            assert!(wait <= full && wait >= full - full / 10, "{wait} of {full}");
        }
        assert_eq!(waits(200, Millis::ZERO).len(), 200, "and never overflows");
    }

    #[test]
    fn a_minute_ready_brings_the_wait_back_to_its_beginning() {
        assert!(waits(5, WELL_AFTER).into_iter().all(|wait| wait <= 1000));
    }

    #[test]
    fn a_start_is_tried_again_a_second_later_each_time_and_a_good_one_forgets_it() {
        let mut restarts = Restarts::new(0);
        for seconds in 1..=3 {
            let wait = Verdict::Wait(Millis::from_secs(seconds));
            assert_eq!(restarts.start_failed(3), wait);
        }
        assert_eq!(restarts.start_failed(3), Verdict::GiveUp);
        assert_eq!(restarts.failures(), 4);
        restarts.came_up();
        assert_eq!(restarts.start_failed(1), Verdict::Wait(Millis(1000)));
        assert_eq!(Restarts::new(0).start_failed(0), Verdict::GiveUp);
    }

    #[test]
    fn the_same_seed_draws_the_same_jitter() {
        assert_eq!(waits(9, Millis::ZERO), waits(9, Millis::ZERO));
    }

    #[test]
    fn five_failures_within_a_minute_are_too_many_and_four_are_not() {
        let mut restarts = Restarts::new(0);
        let mut at =
            |seconds: u64| restarts.failed(Timestamp(seconds * 1000), Millis::ZERO, BACKOFF, FIVE);
        for seconds in [0, 20, 40, 59] {
            assert!(matches!(at(seconds), Verdict::Wait(_)));
        }
        assert!(
            matches!(at(60), Verdict::Wait(_)),
            "the first is a minute ago"
        );
        assert_eq!(at(70), Verdict::GiveUp);
    }

    #[test]
    fn a_reset_forgets_failures_and_waits() {
        let mut restarts = Restarts::new(0);
        for _ in 0..4 {
            restarts.failed(Timestamp(0), Millis::ZERO, BACKOFF, FIVE);
        }
        restarts.reset();
        assert_eq!(restarts.failures(), 0);
        let Verdict::Wait(wait) = restarts.failed(Timestamp(0), Millis::ZERO, BACKOFF, FIVE) else {
            panic!("one failure is not five")
        };
        assert!(wait.0 <= 1000);
    }

    #[test]
    fn the_jitter_is_drawn_by_splitmix64() {
        // The first numbers of its reference implementation from seed 0.
        let mut restarts = Restarts::new(0);
        let drawn = [restarts.draw(), restarts.draw(), restarts.draw()];
        assert_eq!(
            drawn,
            [
                0xe220_a839_7b1d_cdaf,
                0x6e78_9e6a_a1b9_65f4,
                0x06c4_5d18_8009_454f
            ]
        );
    }
}
