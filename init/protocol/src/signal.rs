//! Signals by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal number, 1 to 64, read and written by name (`TERM`, `SIGTERM`,
/// `RTMIN+3`) or as a number. Linux numbering, the same on all architectures
/// that holdall supports (x86_64, aarch64).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

/// The first real-time signal as glibc counts (it keeps 32 and 33).
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Why a text is no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a signal: write a name such as \"TERM\" or a number from 1 to 64")]
pub struct SignalError(String);

impl Signal {
    /// Hang-up.
    pub const HUP: Self = Self(1);
    /// Interrupt (Ctrl-C).
    pub const INT: Self = Self(2);
    /// Quit.
    pub const QUIT: Self = Self(3);
    /// Kill: can't be caught.
    pub const KILL: Self = Self(9);
    /// A pipe that nobody reads.
    pub const PIPE: Self = Self(13);
    /// The polite request to end.
    pub const TERM: Self = Self(15);
    /// Continue a stopped process.
    pub const CONT: Self = Self(18);

    /// The signal of this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        if number >= 1 && number <= RTMAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The signal's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        let err = || SignalError(text.to_owned());
        let upper = text.trim().to_ascii_uppercase();
        if let Ok(number) = upper.parse::<u8>() {
            return Self::from_number(number).ok_or_else(err);
        }
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(at) = NAMES.iter().position(|known| *known == name) {
            return u8::try_from(at + 1)
                .ok()
                .and_then(Self::from_number)
                .ok_or_else(err);
        }
        let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(""), _) => Some(RTMIN),
            (_, Some("")) => Some(RTMAX),
            (Some(tail), _) => offset(tail, '+').and_then(|n| RTMIN.checked_add(n)),
            (_, Some(tail)) => offset(tail, '-').and_then(|n| RTMAX.checked_sub(n)),
            (None, None) => None,
        };
        number
            .filter(|n| (RTMIN..=RTMAX).contains(n))
            .and_then(Self::from_number)
            .ok_or_else(err)
    }
}

fn offset(tail: &str, sign: char) -> Option<u8> {
    tail.strip_prefix(sign)?.parse().ok()
}

impl TryFrom<String> for Signal {
    type Error = SignalError;

    fn try_from(text: String) -> Result<Self, SignalError> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

impl fmt::Display for Signal {
    /// The name without `SIG`, as holdall.toml writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.pad(name),
            None if self.0 >= RTMIN => write!(f, "RTMIN+{}", self.0 - RTMIN),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIG{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_reads_back_from_its_own_name() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).expect("in range");
            assert_eq!(signal.to_string().parse(), Ok(signal));
        }
    }

    #[test]
    fn names_are_read_as_people_write_them() {
        assert_eq!("SIGTERM".parse(), Ok(Signal::TERM));
        assert_eq!("term".parse(), Ok(Signal::TERM));
        assert_eq!("RTMIN+3".parse().map(Signal::number), Ok(37));
        assert_eq!("RTMAX-27".parse().map(Signal::number), Ok(37));
        assert_eq!(
            "RTMAX-27".parse().map(|s: Signal| s.to_string()),
            Ok("RTMIN+3".to_owned())
        );
        for bad in ["", "0", "65", "TERMINATE", "RTMIN+31", "RTMIN-1", "SIG"] {
            assert!(bad.parse::<Signal>().is_err(), "{bad:?}");
        }
    }
}
