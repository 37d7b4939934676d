//! A point of the wall clock, written as RFC 3339 in UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01 UTC; in text `2026-11-22T21:05:00.123456Z`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(pub u64);

/// Why a text is no [`Moment`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: write it as \"2026-11-22T21:05:00.123456Z\"")]
pub struct MomentError(String);

const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

/// The last microsecond of the year 9999; RFC 3339 has no later one.
const LAST: u64 = 253_402_300_799_999_999;

/// A moment as a calendar and a clock on the wall show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Of our era.
    pub year: u64,
    /// From 1.
    pub month: u64,
    /// From 1.
    pub day: u64,
    /// From Sunday, 0.
    pub weekday: u64,
    /// From 0.
    pub hour: u64,
    /// From 0.
    pub minute: u64,
    /// From 0.
    pub second: u64,
    /// Of the second.
    pub micros: u64,
}

impl Moment {
    /// In UTC.
    #[must_use]
    pub fn civil(self) -> Civil {
        let Self(micros) = Self(self.0.min(LAST));
        let (days, of_day) = (micros / DAY, micros % DAY);
        let (year, month, day) = date(days);
        let seconds = of_day / SECOND;
        Civil {
            year,
            month,
            day,
            // 1970-01-01 was a Thursday.
            weekday: (days + 4) % 7,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: of_day % SECOND,
        }
    }
}

/// Year, month and day of the month, of a day since 1970-01-01 (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
pub(crate) fn date(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    // Years of that count begin in March.
    let year = era * 400 + year + u64::from(month <= 2);
    (year, month, of_month)
}

/// The day since 1970-01-01 of a date (`days_from_civil`); none before that.
fn day(year: u64, month: u64, of_month: u64) -> Option<u64> {
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, of_era) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + of_month - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    days.checked_sub(719_468)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
            micros,
            ..
        } = self.civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        read(text).ok_or_else(|| MomentError(text.to_owned()))
    }
}

/// Reads the form that is written, with any number of digits of a second.
fn read(text: &str) -> Option<Moment> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, of_month] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let fits = (1..=12).contains(&month) && (1..=31).contains(&of_month) && year <= 9999;
    if !fits || hour > 23 || minute > 59 || second > 59 || fraction.is_empty() {
        return None;
    }
    let mut micros = 0;
    for digit in fraction.chars().chain("000000".chars()).take(6) {
        micros = micros * 10 + u64::from(digit.to_digit(10)?);
    }
    let days = day(year, month, of_month)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let moment = Moment(seconds * SECOND + micros);
    // A day that its month does not have would be another day.
    (moment.civil().day == of_month).then_some(moment)
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let mut parts = text.split(between).map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u64>().ok().filter(|_| digits)
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

impl TryFrom<String> for Moment {
    type Error = MomentError;

    fn try_from(text: String) -> Result<Self, MomentError> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_is_written_as_rfc_3339() {
        assert_eq!(Moment(0).to_string(), "1970-01-01T00:00:00.000000Z");
        let leap = Moment(1_709_210_096_000_007);
        assert_eq!(leap.to_string(), "2024-02-29T12:34:56.000007Z");
        assert_eq!(leap.civil().weekday, 4, "a Thursday");
        // The last day of an era: the fourth century has one day more.
        let last = Moment(951_782_400_000_000);
        assert_eq!(last.to_string(), "2000-02-29T00:00:00.000000Z");
        assert_eq!(Moment(u64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for bad in [
            "",
            "2026-11-22",
            "2026-11-22T21:05:00",
            "2026-11-22T21:05:00+01:00",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T21:60:00Z",
            "2026-11-22T21:05:60Z",
            "2026--1-22T21:05:00Z",
            "2026-+1-22T21:05:00Z",
            "2026-11-22T21:05:00.Z",
            "2026-11-22T21:05:0xZ",
            "+026-11-22T21:05:00Z",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad:?}");
        }
        assert_eq!("1970-01-01T00:00:01.5Z".parse(), Ok(Moment(1_500_000)));
        let last = "1970-01-01T23:59:59Z".parse();
        assert_eq!(last, Ok(Moment(86_399 * SECOND)));
    }

    proptest! {
        #[test]
        fn a_moment_reads_back_and_is_the_one_of_another_calendar(micros in 0..=LAST) {
            let moment = Moment(micros);
            prop_assert_eq!(moment.to_string().parse(), Ok(moment));
            let other = chrono::DateTime::from_timestamp_micros(i64::try_from(micros).expect("small"));
            let other = other.expect("in range").format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
            prop_assert_eq!(moment.to_string(), other);
        }
    }
}
