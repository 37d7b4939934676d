//! Values, as supervisord's `datatypes` reads them.

use holdall_protocol::Signal;
use holdall_protocol::manifest::ExitCodes;

use crate::ini::{is_space, strip};

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
    Octal,
    Bytes,
    Signal,
    ExitCodes,
    AutoRestart,
    LogLevel,
}

impl Kind {
    /// What is wrong with a value of this kind.
    pub(crate) fn complaint(self, text: &str) -> Option<&'static str> {
        let (well, wanted) = match self {
            Self::Text => return None,
            Self::Integer => (integer(text).is_some(), "a whole number"),
            Self::Boolean => (boolean(text).is_some(), "true or false"),
            Self::Octal => (octal(text).is_some(), "an octal number such as 022"),
            Self::Bytes => (bytes(text).is_some(), "a size such as 50MB"),
            Self::Signal => (signal(text).is_some(), "a signal such as TERM"),
            Self::ExitCodes => (exit_codes(text).is_some(), "exit codes such as 0,2"),
            Self::AutoRestart => (auto_restart(text).is_some(), "true, false or unexpected"),
            Self::LogLevel => (
                LEVELS.contains(&text.to_lowercase().as_str()),
                "critical, error, warn, info, debug, trace or blather",
            ),
        };
        (!well).then_some(wanted)
    }
}

const LEVELS: [&str; 7] = [
    "critical", "error", "warn", "info", "debug", "trace", "blather",
];

/// Python's `int`.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let text = strip(text);
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let alone = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    if digits.is_empty() || alone || !plain {
        return None;
    }
    let number: i64 = digits.replace('_', "").parse().ok()?;
    Some(if negative { -number } else { number })
}

pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A mode or a mask; Python takes `0o22` as well.
pub(crate) fn octal(text: &str) -> Option<u32> {
    let text = strip(text).to_lowercase();
    let digits = text.strip_prefix("0o").unwrap_or(&text);
    let plain = digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let number = u32::from_str_radix(digits, 8).ok().filter(|_| plain);
    number.filter(|number| *number <= 0o7777)
}

/// Bytes, with KB, MB or GB behind them.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let text = text.to_lowercase();
    let units = [("kb", 10), ("mb", 20), ("gb", 30)];
    let unit = units
        .iter()
        .find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
    let (digits, bits) = unit.unwrap_or((&text, 0));
    let number = u64::try_from(integer(digits)?).ok()?;
    number.checked_mul(1 << bits)
}

/// A signal by a name that Python has, or by the number of one.
pub(crate) fn signal(text: &str) -> Option<Signal> {
    // Of the real-time ones it knows the first and the last.
    let known = |signal: &Signal| matches!(signal.number(), 1..=31 | 34 | 64);
    if let Some(number) = integer(text) {
        let signal = u8::try_from(number).ok().and_then(Signal::from_number);
        return signal.filter(known);
    }
    let upper = strip(text).to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    // Neither `RTMIN+3` nor `SIG9`, which Python has no names for.
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !plain || !name.starts_with(char::is_alphabetic) || name.starts_with("SIG") {
        return None;
    }
    let signal: Signal = match name {
        "CLD" => "CHLD".parse().ok()?,
        "IOT" => "ABRT".parse().ok()?,
        "POLL" => "IO".parse().ok()?,
        name => name.parse().ok()?,
    };
    Some(signal).filter(known)
}

pub(crate) fn exit_codes(text: &str) -> Option<ExitCodes> {
    if text.is_empty() {
        return Some([].into_iter().collect());
    }
    let codes = text
        .split(',')
        .map(|code| integer(code).and_then(|code| u8::try_from(code).ok()));
    codes
        .collect::<Option<Vec<u8>>>()
        .map(|codes| codes.into_iter().collect())
}

/// `autorestart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AutoRestart {
    Never,
    Unexpected,
    Always,
}

pub(crate) fn auto_restart(text: &str) -> Option<AutoRestart> {
    match boolean(text) {
        Some(true) => Some(AutoRestart::Always),
        Some(false) => Some(AutoRestart::Never),
        None => (text.to_lowercase() == "unexpected").then_some(AutoRestart::Unexpected),
    }
}

/// `stdout_logfile` and the like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogFile {
    Auto,
    None,
    Syslog,
    /// The output of supervisord itself, by one of its names.
    Own,
    Path(String),
}

/// Devices and other processes' descriptors are no files that could be begun
/// anew.
const NO_FILES: [&str; 2] = ["/dev/", "/proc/"];

pub(crate) fn log_file(text: &str) -> LogFile {
    match text.to_lowercase().as_str() {
        "none" | "off" => LogFile::None,
        "auto" => LogFile::Auto,
        "syslog" => LogFile::Syslog,
        "/dev/null" => LogFile::None,
        _ if NO_FILES.iter().any(|place| text.starts_with(place)) => LogFile::Own,
        _ => LogFile::Path(text.to_owned()),
    }
}

/// A name of a process or a group; what stands in its way otherwise.
pub(crate) fn name(text: &str) -> Result<&str, char> {
    let name = strip(text);
    name.chars()
        .find(|c| matches!(c, ' ' | ':' | '/'))
        .map_or(Ok(name), Err)
}

/// `a, b,c`.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(|word| word.trim_matches(is_space))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sizes_and_masks_are_read_as_python_does() {
        assert_eq!(
            [" 7 ", "-3", "+1_000"].map(integer),
            [Some(7), Some(-3), Some(1000)]
        );
        for bad in ["", "1.5", "_1", "1__0", "x", "0x1"] {
            assert_eq!(integer(bad), None, "{bad}");
        }
        let sizes = ["50MB", "1kb", "2Gb", "10", "0"].map(bytes);
        assert_eq!(
            sizes,
            [Some(50 << 20), Some(1024), Some(2 << 30), Some(10), Some(0)]
        );
        assert_eq!(["5TB", "MB", "-1"].map(bytes), [None; 3]);
        assert_eq!(
            ["022", "0o700", "9"].map(octal),
            [Some(0o22), Some(0o700), None]
        );
    }

    #[test]
    fn signals_are_those_that_python_knows() {
        let number = |text| signal(text).map(Signal::number);
        assert_eq!(
            ["TERM", "sigkill", "3", "CLD"].map(number),
            [Some(15), Some(9), Some(3), Some(17)]
        );
        assert_eq!(["RTMIN+3", "37", "0", "NONE"].map(number), [None; 4]);
    }

    #[test]
    fn a_device_is_no_file_of_its_own() {
        assert_eq!(log_file("/dev/null"), LogFile::None);
        for own in ["/dev/stdout", "/dev/fd/1", "/proc/1/fd/2"] {
            assert_eq!(log_file(own), LogFile::Own);
        }
        assert_eq!(
            log_file("/var/log/x"),
            LogFile::Path("/var/log/x".to_owned())
        );
    }

    #[test]
    fn codes_and_restarts_are_read_as_supervisord_does() {
        let codes = exit_codes("0, 2,255").expect("codes");
        assert_eq!(codes.iter().collect::<Vec<_>>(), [0, 2, 255]);
        assert_eq!(exit_codes("256"), None);
        assert_eq!(exit_codes("").expect("none").iter().count(), 0);
        assert_eq!(auto_restart("Unexpected"), Some(AutoRestart::Unexpected));
        assert_eq!(auto_restart("1"), Some(AutoRestart::Always));
        assert_eq!(auto_restart("maybe"), None);
    }
}
