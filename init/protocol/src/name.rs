//! Names of services.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: the limit of a DNS label, so that a service's
/// name can be a host name.
pub const MAX_LEN: usize = 63;

/// The most instances of a service, and so the highest number of one.
pub const MAX_INSTANCES: u32 = 1000;

/// A service's name: lower-case letters, digits, `-`, `_` and `.`, beginning
/// with a letter or digit, at most [`MAX_LEN`] bytes. It is safe as a file
/// name, as a log prefix and after the slash of `BOX/SERVICE`.
///
/// One of several instances has its number behind it, from 1 to
/// [`MAX_INSTANCES`]: `web@2`. A manifest can't give such a name, so an
/// instance never clashes with a service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(Arc<str>);

/// Why a text is no service name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("name is empty")]
    Empty,
    /// The text is longer than [`MAX_LEN`].
    #[error("name is longer than {MAX_LEN} bytes")]
    TooLong,
    /// A character that isn't allowed there.
    #[error("name has {found:?} where only {allowed} may stand")]
    Character {
        /// The character found.
        found: char,
        /// What may stand in its place.
        allowed: &'static str,
    },
    /// What stands behind the `@` is no number of an instance.
    #[error("{0:?} is no number of an instance: write 1 to {MAX_INSTANCES} behind the '@'")]
    Instance(String),
}

impl ServiceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of this service's instance of that number.
    #[must_use]
    pub fn instance(&self, number: u32) -> Self {
        Self(format!("{}@{number}", self.service()).into())
    }

    /// The name without the number of an instance.
    #[must_use]
    pub fn service(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(name, _)| name)
    }

    /// The number, of an instance.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.0.split_once('@')?.1.parse().ok()
    }
}

/// A number as it is written in a name: in one way only.
fn instance_number(text: &str) -> Option<u32> {
    let number = text.parse::<u32>().ok()?;
    let written = (1..=MAX_INSTANCES).contains(&number) && number.to_string() == text;
    written.then_some(number)
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(whole: &str) -> Result<Self, NameError> {
        let (text, number) = match whole.split_once('@') {
            Some((text, number)) => (text, Some(number)),
            None => (whole, None),
        };
        if let Some(number) = number
            && instance_number(number).is_none()
        {
            return Err(NameError::Instance(number.to_owned()));
        }
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_LEN {
            return Err(NameError::TooLong);
        }
        for (at, found) in text.chars().enumerate() {
            let letter = found.is_ascii_lowercase() || found.is_ascii_digit();
            if at == 0 && !letter {
                let allowed = "a lower-case letter or digit";
                return Err(NameError::Character { found, allowed });
            }
            if !letter && !matches!(found, '-' | '_' | '.') {
                let allowed = "lower-case letters, digits, '-', '_' and '.'";
                return Err(NameError::Character { found, allowed });
            }
        }
        Ok(Self(whole.into()))
    }
}

impl TryFrom<String> for ServiceName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
