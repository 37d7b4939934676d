//! A span of time in whole milliseconds, written with its unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A span of time in milliseconds. In text it carries a unit: `"250ms"`,
/// `"2s"`, `"1.5s"`, `"5m"`, `"1h"`, `"1m30s"`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Millis(pub u64);

/// Why a text is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MillisError {
    /// A number without its unit.
    #[error("duration {0:?} has no unit: write \"{0}s\" or \"{0}ms\"")]
    NoUnit(String),
    /// Not a duration at all.
    #[error("{0:?} is not a duration: write \"2s\", \"250ms\", \"5m\" or \"1h\"")]
    Malformed(String),
    /// More than a century.
    #[error("duration {0:?} is longer than a century")]
    TooLong(String),
}

/// A century, in milliseconds. Nobody waits longer and no box is up longer (its
/// uptime travels as such a text); beyond it arithmetic on timestamps could
/// overflow.
const MAX: u64 = 100 * 366 * 24 * 3600 * 1000;

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }
}

impl FromStr for Millis {
    type Err = MillisError;

    fn from_str(text: &str) -> Result<Self, MillisError> {
        let malformed = || MillisError::Malformed(text.to_owned());
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(malformed());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let end = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(|| match scaled(rest, 1) {
                    Some(_) if rest.len() == text.trim().len() => {
                        MillisError::NoUnit(rest.to_owned())
                    }
                    Some(_) | None => malformed(),
                })?;
            let (number, tail) = rest.split_at(end);
            let unit_end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, next) = tail.split_at(unit_end);
            let scale = match unit.trim() {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(malformed()),
            };
            let part = scaled(number, scale).ok_or_else(malformed)?;
            total = total.saturating_add(part);
            rest = next;
        }
        if total > MAX {
            return Err(MillisError::TooLong(text.to_owned()));
        }
        Ok(Self(total))
    }
}

/// `number` (decimal, perhaps with a fraction) times `scale`, in integers.
pub(crate) fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.saturating_mul(scale);
    if fraction.is_empty() {
        return Some(whole);
    }
    let places = u32::try_from(fraction.len()).ok()?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
    let part = u64::try_from(part / 10_u128.pow(places)).ok()?;
    Some(whole.saturating_add(part))
}

impl TryFrom<String> for Millis {
    type Error = MillisError;

    fn try_from(text: String) -> Result<Self, MillisError> {
        text.parse()
    }
}

impl From<Millis> for String {
    fn from(span: Millis) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Millis {
    /// The largest unit that keeps the number whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            n if n.is_multiple_of(3_600_000) => write!(f, "{}h", n / 3_600_000),
            n if n.is_multiple_of(60_000) => write!(f, "{}m", n / 60_000),
            n if n.is_multiple_of(1000) => write!(f, "{}s", n / 1000),
            n => write!(f, "{n}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_back_as_it_was_written() {
        for text in ["0s", "250ms", "2s", "5m", "1h"] {
            assert_eq!(
                text.parse::<Millis>().map(|m| m.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!("1m30s".parse(), Ok(Millis(90_000)));
        assert_eq!("1.5s".parse(), Ok(Millis(1500)));
        assert_eq!("0.123456789s".parse(), Ok(Millis(123)));
        let longest = Millis(MAX);
        assert_eq!(longest.to_string().parse(), Ok(longest));
    }

    #[test]
    fn a_number_without_a_unit_is_told_to_carry_one() {
        assert_eq!("2".parse::<Millis>(), Err(MillisError::NoUnit("2".into())));
        let rest = MillisError::Malformed("2s3".into());
        assert_eq!("2s3".parse::<Millis>(), Err(rest), "not the whole of it");
    }

    #[test]
    fn nonsense_and_overflow_are_refused() {
        for text in [
            "",
            "s",
            "2 apples",
            "1..5s",
            "-1s",
            "+1s",
            "1.+1s",
            ".s",
            ".5s",
            "5.",
            "5.s",
            "2s3",
            "0.1234567890s",
        ] {
            assert!(text.parse::<Millis>().is_err(), "{text:?}");
        }
        assert!(matches!(
            "99999999999999999h".parse::<Millis>(),
            Err(MillisError::TooLong(_))
        ));
    }
}
