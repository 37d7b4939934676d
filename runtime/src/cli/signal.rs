//! Signals as people write them: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.

use std::ffi::OsString;
use std::str::FromStr as _;

use nix::sys::signal::Signal;

use super::arguments::UsageError;

/// A signal's number.
pub(super) fn parse(word: &OsString) -> Result<i32, UsageError> {
    let text = word.to_string_lossy();
    number(&text).ok_or_else(|| UsageError::Value {
        option: "signal",
        value: text.clone().into_owned(),
    })
}

fn number(text: &str) -> Option<i32> {
    let digits = |text: &str| {
        text.parse::<i32>()
            .ok()
            .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if let Some(number) = digits(text) {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset = if offset.is_empty() {
            0
        } else {
            digits(offset.strip_prefix('+')?)?
        };
        let number = libc::SIGRTMIN().checked_add(offset)?;
        return (number <= libc::SIGRTMAX()).then_some(number);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        let offset = if offset.is_empty() {
            0
        } else {
            digits(offset.strip_prefix('-')?)?
        };
        let number = libc::SIGRTMAX().checked_sub(offset)?;
        return (number >= libc::SIGRTMIN()).then_some(number);
    }
    Signal::from_str(&format!("SIG{name}"))
        .ok()
        .map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same() {
        for text in ["15", "TERM", "SIGTERM", "sigterm"] {
            assert_eq!(number(text), Some(15), "{text}");
        }
        assert_eq!(number("RTMIN+3"), Some(libc::SIGRTMIN() + 3));
        assert_eq!(number("SIGRTMAX-1"), Some(libc::SIGRTMAX() - 1));
        for bad in [
            "",
            "0",
            "-9",
            "+9",
            "99",
            "TERMINATE",
            "RTMIN-1",
            "RTMIN+99",
        ] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }
}
