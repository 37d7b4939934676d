//! When a service is asked for its health, and what its answers add up to.

use holdall_protocol::Millis;
use holdall_protocol::control::HealthState;
use holdall_protocol::manifest::Health;

use crate::{Question, Timestamp};

/// The wait before the first probe: a service that is up at once is found
/// ready at once, and 20 probes a second are the most that a start costs.
const FIRST: Millis = Millis(50);

/// Before the first success each wait is longer than the last by one in this
/// many, so that a service is found ready soon after it is, in proportion to
/// the time it took.
const GROWTH: u64 = 2;

/// What the manifest says about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) interval: Millis,
    pub(crate) retries: u32,
    pub(crate) successes: u32,
    pub(crate) start_period: Millis,
}

impl From<&Health> for Schedule {
    fn from(health: &Health) -> Self {
        let Health {
            interval,
            retries,
            successes,
            start_period,
            ..
        } = *health;
        // A manifest made by hand may say zero, which would never wait.
        Self {
            interval: interval.max(Millis(1)),
            retries: retries.max(1),
            successes: successes.max(1),
            start_period,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    At(Timestamp),
    UnderWay,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It was good, and as many before it as are wanted.
    Good,
    /// It was good, and not yet often enough.
    Better,
    /// It was bad, and not yet for the last time.
    Bad,
    /// As many were bad in a row as are allowed, or more.
    TooBad,
}

/// The probes of one process.
#[derive(Debug, Clone)]
pub(crate) struct Probing {
    question: Question,
    schedule: Schedule,
    ask: Ask,
    /// The wait before the next probe, until the first success.
    pace: Millis,
    /// Bad answers in a row that count.
    failures: u32,
    /// Good answers in a row, while they count.
    successes: u32,
    /// Bad answers before this don't count, and until the first success no two
    /// within one interval: probes are more frequent then, and would use up
    /// the retries of a slow starter in no time.
    counts_from: Timestamp,
    health: Option<HealthState>,
}

impl Probing {
    /// For a process that was just spawned.
    pub(crate) fn new(question: Question, schedule: Schedule, now: Timestamp) -> Self {
        let first = FIRST.min(schedule.interval);
        Self {
            question,
            schedule,
            ask: Ask::At(now + first),
            pace: first,
            failures: 0,
            successes: 0,
            counts_from: now + schedule.start_period + schedule.interval,
            health: None,
        }
    }

    /// Goes on by another schedule; what is due stays due.
    pub(crate) fn adopt(&mut self, schedule: Schedule) {
        self.schedule = schedule;
        self.pace = self.pace.min(schedule.interval);
    }

    /// What is asked.
    pub(crate) fn question(&self) -> Question {
        self.question
    }

    /// When to ask next; none while a probe is under way.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        match self.ask {
            Ask::At(at) => Some(at),
            Ask::UnderWay => None,
        }
    }

    /// Whether a probe is under way.
    pub(crate) fn under_way(&self) -> bool {
        self.ask == Ask::UnderWay
    }

    /// What its answers add up to: what tells two of one schedule apart, but
    /// for their times.
    pub(crate) fn standing(&self) -> (Question, bool, u32, u32, Option<u8>) {
        let health = self.health.map(|health| match health {
            HealthState::Starting => 0,
            HealthState::Healthy => 1,
            HealthState::Unhealthy => 2,
        });
        let (failures, successes) = (self.failures, self.successes);
        (self.question, self.under_way(), failures, successes, health)
    }

    /// Begins a probe if one is due.
    pub(crate) fn ask(&mut self, now: Timestamp) -> bool {
        let due = self.next().is_some_and(|at| at <= now);
        if due {
            self.ask = Ask::UnderWay;
        }
        due
    }

    /// What the answers say so far.
    pub(crate) fn health(&self) -> Option<HealthState> {
        self.health
    }

    /// Takes in an answer. None if no probe is under way.
    pub(crate) fn answer(&mut self, now: Timestamp, good: bool) -> Option<Finding> {
        if self.ask != Ask::UnderWay {
            return None;
        }
        let Schedule {
            interval,
            retries,
            successes,
            ..
        } = self.schedule;
        let eager = matches!(self.health, None | Some(HealthState::Starting));
        if good {
            self.failures = 0;
            // It has started, as docker sees it too: from here on each counts.
            self.counts_from = self.counts_from.min(now);
            self.successes = self.successes.saturating_add(1).min(successes);
            if self.health != Some(HealthState::Healthy) && self.successes < successes {
                self.health = self.health.or(Some(HealthState::Starting));
                self.ask = Ask::At(now + if eager { self.pace } else { interval });
                return Some(Finding::Better);
            }
            self.health = Some(HealthState::Healthy);
            self.ask = Ask::At(now + interval);
            return Some(Finding::Good);
        }
        self.successes = 0;
        if now >= self.counts_from {
            self.failures = self.failures.saturating_add(1);
            if eager {
                self.counts_from = now + interval;
            }
        }
        if eager {
            self.pace = Millis(self.pace.0 + self.pace.0 / GROWTH)
                .max(Millis(1))
                .min(interval);
            self.health = Some(HealthState::Starting);
            self.ask = Ask::At(now + self.pace);
        } else {
            self.ask = Ask::At(now + interval);
        }
        if self.failures < retries {
            return Some(Finding::Bad);
        }
        self.health = Some(HealthState::Unhealthy);
        Some(Finding::TooBad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(interval: u64, retries: u32, start_period: u64) -> Schedule {
        Schedule {
            interval: Millis(interval),
            retries,
            successes: 1,
            start_period: Millis(start_period),
        }
    }

    /// Asks and answers until `count` answers are given; the time of each.
    fn answers(probing: &mut Probing, good: bool, count: usize) -> Vec<(u64, Finding)> {
        let mut found = Vec::new();
        while found.len() < count {
            let now = probing.next().expect("none is under way");
            assert!(probing.ask(now));
            found.push((now.0, probing.answer(now, good).expect("it was asked")));
        }
        found
    }

    #[test]
    fn a_starting_service_is_asked_soon_and_then_less_and_less_often() {
        let mut probing = Probing::new(Question::Health, schedule(1000, 100, 0), Timestamp(0));
        let times: Vec<u64> = answers(&mut probing, false, 9)
            .iter()
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(times, [50, 125, 237, 405, 657, 1035, 1602, 2452, 3452]);
    }

    #[test]
    fn frequent_probes_do_not_use_up_the_retries_of_a_slow_starter() {
        let mut probing = Probing::new(Question::Health, schedule(1000, 3, 0), Timestamp(0));
        let found = answers(&mut probing, false, 30);
        let (at, _) = found
            .iter()
            .find(|(_, finding)| *finding == Finding::TooBad)
            .expect("at last");
        assert!(
            (3000..5000).contains(at),
            "after three intervals, not at {at}"
        );
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let mut probing = Probing::new(Question::Health, schedule(100, 1, 5000), Timestamp(0));
        let found = answers(&mut probing, false, 100);
        let (at, _) = found
            .iter()
            .find(|(_, finding)| *finding == Finding::TooBad)
            .expect("at last");
        assert!(*at >= 5100, "{at}");
    }

    #[test]
    fn after_a_success_failures_count_though_the_start_period_is_not_over() {
        let mut probing = Probing::new(Question::Health, schedule(100, 2, 60_000), Timestamp(0));
        answers(&mut probing, true, 1);
        let found = answers(&mut probing, false, 2);
        assert_eq!(found.last().map(|(_, f)| *f), Some(Finding::TooBad));
    }

    #[test]
    fn only_failures_in_a_row_make_it_unhealthy() {
        let mut probing = Probing::new(Question::Health, schedule(100, 3, 0), Timestamp(0));
        answers(&mut probing, true, 1);
        for _ in 0..5 {
            assert!(
                answers(&mut probing, false, 2)
                    .iter()
                    .all(|(_, f)| *f == Finding::Bad)
            );
            assert_eq!(
                probing.health(),
                Some(HealthState::Healthy),
                "docker shows it so too"
            );
            answers(&mut probing, true, 1);
        }
        assert_eq!(
            answers(&mut probing, false, 3).last().map(|(_, f)| *f),
            Some(Finding::TooBad)
        );
    }

    #[test]
    fn so_many_successes_in_a_row_make_it_healthy_at_first_and_again() {
        let mut schedule = schedule(1000, 1, 0);
        schedule.successes = 3;
        let mut probing = Probing::new(Question::Health, schedule, Timestamp(0));
        assert_eq!(
            answers(&mut probing, true, 3),
            [
                (50, Finding::Better),
                (100, Finding::Better),
                (150, Finding::Good)
            ],
            "at first it is asked often"
        );
        assert_eq!(answers(&mut probing, false, 1), [(1150, Finding::TooBad)]);
        for (good, finding) in [
            (true, Finding::Better),
            (true, Finding::Better),
            (false, Finding::TooBad),
            (true, Finding::Better),
            (true, Finding::Better),
            (true, Finding::Good),
            (true, Finding::Good),
        ] {
            let found = answers(&mut probing, good, 1);
            assert_eq!(found.first().map(|(_, f)| *f), Some(finding));
        }
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_none() {
        let mut probing = Probing::new(Question::Health, schedule(100, 3, 0), Timestamp(0));
        assert_eq!(probing.answer(Timestamp(1), true), None);
        assert!(!probing.ask(Timestamp(1)), "nor is one due yet");
    }
}
