//! Cron expressions: five fields, as crontab(5) of Debian's cron has them.
//!
//! Times are UTC: a box has no time zone of its own, and a job that ran at
//! half past two would run twice, or not at all, on one night of a year.
//!
//! Written by hand, since the crates for it bring a calendar library along:
//! the tests hold it against one of them, `croner`.

use std::fmt;
use std::str::FromStr;

use crate::moment;

/// A cron expression: the minutes at which something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expression {
    minutes: u64,
    hours: u32,
    days: u32,
    months: u16,
    weekdays: u8,
    /// The day of the month, or of the week, is given as a star: then the
    /// other alone decides; where neither is, one of them suffices.
    any_day: bool,
    any_weekday: bool,
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields and no known name.
    #[error(
        "{0:?} is no schedule: write five fields, minute hour day month weekday, or \"@every 30s\""
    )]
    Fields(String),
    /// One of the fields can't be understood.
    #[error(
        "{text:?} can't be the {field} of a schedule: write numbers from {from} to {to}, lists, ranges, or steps such as */5"
    )]
    Field {
        /// Which.
        field: &'static str,
        /// What stands there.
        text: String,
        /// The lowest number of the field.
        from: u32,
        /// The highest.
        to: u32,
    },
    /// There is no such day.
    #[error("{0:?} never comes: no month it names has such a day")]
    Never(String),
}

/// One of the five fields.
struct Field {
    name: &'static str,
    from: u32,
    to: u32,
    /// Words for its numbers, from `from` on.
    words: &'static [&'static str],
}

const MINUTE: Field = Field {
    name: "minute",
    from: 0,
    to: 59,
    words: &[],
};
const HOUR: Field = Field {
    name: "hour",
    from: 0,
    to: 23,
    words: &[],
};
const DAY: Field = Field {
    name: "day",
    from: 1,
    to: 31,
    words: &[],
};
const MONTH: Field = Field {
    name: "month",
    from: 1,
    to: 12,
    words: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
/// Sunday is 0 and 7.
const WEEKDAY: Field = Field {
    name: "weekday",
    from: 0,
    to: 7,
    words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Field {
    /// The numbers of a field, as bits.
    fn parse(&self, text: &str) -> Option<u64> {
        let mut bits = 0;
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
                None => (item, None),
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (self.from, self.to),
                Some((first, last)) => (self.value(first)?, self.value(last)?),
                // "5/10" is "5-59/10", as in Vixie's cron.
                None if step.is_some() => (self.value(range)?, self.to),
                None => (self.value(range)?, self.value(range)?),
            };
            if first > last {
                return None;
            }
            let step = usize::try_from(step.unwrap_or(1)).ok()?;
            for value in (first..=last).step_by(step) {
                bits |= 1 << value;
            }
        }
        Some(bits)
    }

    fn value(&self, text: &str) -> Option<u32> {
        let lower = text.to_ascii_lowercase();
        let word = self.words.iter().position(|word| *word == lower);
        let value = match word.and_then(|at| u32::try_from(at).ok()) {
            Some(at) => at + self.from,
            None => number(text)?,
        };
        (self.from..=self.to).contains(&value).then_some(value)
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// What the short names stand for.
const NAMED: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

impl FromStr for Expression {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let named = NAMED.iter().find(|(name, _)| *name == text.trim());
        let expression = named.map_or(text, |(_, expression)| expression);
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(CronError::Fields(text.to_owned()));
        };
        let read = |field: Field, text: &str| {
            field.parse(text).ok_or_else(|| CronError::Field {
                field: field.name,
                text: text.to_owned(),
                from: field.from,
                to: field.to,
            })
        };
        let weekdays = read(WEEKDAY, weekday)?;
        let narrow = |bits: u64| u32::try_from(bits).unwrap_or(u32::MAX);
        let parsed = Self {
            minutes: read(MINUTE, minute)?,
            hours: narrow(read(HOUR, hour)?),
            days: narrow(read(DAY, day)?),
            months: u16::try_from(read(MONTH, month)?).unwrap_or(u16::MAX),
            weekdays: u8::try_from((weekdays | (weekdays >> 7)) & 0x7f).unwrap_or(0x7f),
            any_day: day.starts_with('*'),
            any_weekday: weekday.starts_with('*'),
        };
        // Every day of every month comes within eight years (29 February, over
        // a year that is none, such as 2100).
        if parsed.next_after(0).is_none() {
            return Err(CronError::Never(text.to_owned()));
        }
        Ok(parsed)
    }
}

/// Minutes of a day.
const DAY_MINUTES: u64 = 24 * 60;

/// Days within which anything comes that comes at all.
const HORIZON: u64 = 9 * 366;

impl Expression {
    /// The first due minute after `minute`, both counted since 1970-01-01
    /// 00:00 UTC.
    #[must_use]
    pub fn next_after(&self, minute: u64) -> Option<u64> {
        let start = minute.checked_add(1)?;
        let today = start / DAY_MINUTES;
        let days = today..today.checked_add(HORIZON)?;
        for day in days.filter(|day| self.on_day(*day)) {
            let first = if day == today { start % DAY_MINUTES } else { 0 };
            let due = (first..DAY_MINUTES)
                .find(|at| has(self.hours.into(), at / 60) && has(self.minutes, at % 60));
            if let Some(due) = due {
                return day.checked_mul(DAY_MINUTES)?.checked_add(due);
            }
        }
        None
    }

    /// How many due minutes lie after `from` up to `to`, but no more than
    /// `limit`.
    #[must_use]
    pub fn count_between(&self, from: u64, to: u64, limit: u32) -> u32 {
        let mut count = 0;
        let mut at = from;
        while count < limit {
            match self.next_after(at).filter(|next| *next <= to) {
                Some(next) => (count, at) = (count + 1, next),
                None => break,
            }
        }
        count
    }

    fn on_day(&self, day: u64) -> bool {
        let (_, month, of_month) = moment::date(day);
        // 1970-01-01 was a Thursday.
        let weekday = (day + 4) % 7;
        let by_day = has(self.days.into(), of_month);
        let by_weekday = has(self.weekdays.into(), weekday);
        let on = match (self.any_day, self.any_weekday) {
            (true, _) | (_, true) => by_day && by_weekday,
            (false, false) => by_day || by_weekday,
        };
        on && has(self.months.into(), month)
    }
}

fn has(bits: u64, number: u64) -> bool {
    (bits >> number) & 1 == 1
}

impl fmt::Display for Expression {
    /// In numbers; as a list where it is no plain range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = |bits: u64, from: u32, to: u32| -> String {
            let all: Vec<u32> = (from..=to).filter(|at| has(bits, (*at).into())).collect();
            match all.as_slice() {
                whole if whole.len() == (from..=to).count() => "*".to_owned(),
                few => few.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            }
        };
        // A star says more than all its numbers: which of two days decides.
        let day = |any: bool, bits: u64, from: u32, to: u32| {
            let all = field(bits, from, to);
            match (any, all.as_str()) {
                (true, "*") => all,
                // A star with a step begins with the lowest number, so that this
                // adds none.
                (true, _) => format!("*/31,{all}"),
                (false, "*") => format!("{from}-{to}"),
                (false, _) => all,
            }
        };
        let minute = field(self.minutes, 0, 59);
        let hour = field(self.hours.into(), 0, 23);
        let of_month = day(self.any_day, self.days.into(), 1, 31);
        let month = field(self.months.into(), 1, 12);
        let weekday = day(self.any_weekday, self.weekdays.into(), 0, 6);
        write!(f, "{minute} {hour} {of_month} {month} {weekday}")
    }
}
