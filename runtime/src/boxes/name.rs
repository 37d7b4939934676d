//! What a box is called.

use std::fmt;
use std::io::Read as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: it is also the box's host name, whose labels
/// end there.
pub(crate) const MAX_NAME: usize = 63;

/// Digits of a [`BoxId`]: 48 random bits. Ids meet only within one root, and
/// a clash is found when the box's folder is made.
const ID_DIGITS: usize = 12;

/// A box's name: letters, digits, `-`, `_` and `.`, beginning with a letter or
/// digit, at most 63 bytes. Safe as a file name and before the slash
/// of `BOX/SERVICE`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BoxName(Box<str>);

/// Why a text is no name of a box.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoxNameError {
    /// The text is empty.
    #[error("box name is empty")]
    Empty,
    /// The text is longer than 63 bytes.
    #[error("box name is longer than {MAX_NAME} bytes")]
    TooLong,
    /// A character that isn't allowed there.
    #[error("box name {text:?} has {found:?} where only {allowed} may stand")]
    Character {
        /// The whole.
        text: String,
        /// The character found.
        found: char,
        /// What may stand in its place.
        allowed: &'static str,
    },
}

impl BoxName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made from the last part of an image's repository: what can't
    /// stand in a name becomes `-`.
    #[must_use]
    pub fn from_image(image: &str) -> Self {
        let path = image.split('@').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let repository = last.split(':').next().unwrap_or_default();
        let mut name: String = repository
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .skip_while(|c| !c.is_ascii_alphanumeric())
            .collect();
        // Room for the number that makes it unique.
        name.truncate(MAX_NAME - 7);
        name.parse().unwrap_or_else(|_| Self("box".into()))
    }

    /// The first of `NAME`, `NAME-2`, `NAME-3`… that isn't taken.
    pub(crate) fn unique(self, taken: impl Fn(&Self) -> bool) -> Self {
        if !taken(&self) {
            return self;
        }
        let mut number: u32 = 2;
        loop {
            let next = Self(format!("{self}-{number}").into());
            if !taken(&next) {
                return next;
            }
            number += 1;
        }
    }
}

impl FromStr for BoxName {
    type Err = BoxNameError;

    fn from_str(text: &str) -> Result<Self, BoxNameError> {
        if text.is_empty() {
            return Err(BoxNameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(BoxNameError::TooLong);
        }
        for (at, found) in text.chars().enumerate() {
            let plain = found.is_ascii_alphanumeric();
            if plain || (at > 0 && matches!(found, '-' | '_' | '.')) {
                continue;
            }
            let allowed = if at == 0 {
                "a letter or digit"
            } else {
                "letters, digits, '-', '_' and '.'"
            };
            return Err(BoxNameError::Character {
                text: text.into(),
                found,
                allowed,
            });
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for BoxName {
    type Error = BoxNameError;

    fn try_from(text: String) -> Result<Self, BoxNameError> {
        text.parse()
    }
}

impl From<BoxName> for String {
    fn from(name: BoxName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for BoxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for BoxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A box's own id: random, lower-case hexadecimal, the name of its folder, its
/// cgroup and its container.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BoxId(Box<str>);

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a box: it has {ID_DIGITS} lower-case hexadecimal digits")]
pub struct BoxIdError(String);

impl BoxId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fresh one.
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; ID_DIGITS / 2];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                .into(),
        ))
    }
}

impl FromStr for BoxId {
    type Err = BoxIdError;

    fn from_str(text: &str) -> Result<Self, BoxIdError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == ID_DIGITS && text.bytes().all(digit) {
            return Ok(Self(text.into()));
        }
        Err(BoxIdError(text.to_owned()))
    }
}

impl TryFrom<String> for BoxId {
    type Error = BoxIdError;

    fn try_from(text: String) -> Result<Self, BoxIdError> {
        text.parse()
    }
}

impl From<BoxId> for String {
    fn from(id: BoxId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for BoxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for BoxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_comes_from_the_image() {
        for (image, name) in [
            ("shop", "shop"),
            ("shop:1.2", "shop"),
            ("registry.local:5000/team/shop:1", "shop"),
            ("shop@sha256:00", "shop"),
            ("", "box"),
            ("__", "box"),
        ] {
            assert_eq!(BoxName::from_image(image).as_str(), name, "{image:?}");
        }
    }

    #[test]
    fn a_taken_name_gets_the_next_number() {
        let mut taken = BTreeSet::new();
        for expected in ["shop", "shop-2", "shop-3"] {
            let name = BoxName::from_image("shop").unique(|name| taken.contains(name));
            assert_eq!(name.as_str(), expected);
            taken.insert(name);
        }
    }

    #[test]
    fn a_name_that_would_leave_its_folder_is_refused() {
        for bad in ["", ".", "..", "a/b", "-a", "a b", "é", &"a".repeat(64)] {
            assert!(bad.parse::<BoxName>().is_err(), "{bad:?}");
        }
        let error = "a/b".parse::<BoxName>().expect_err("a slash");
        assert_eq!(
            error.to_string(),
            "box name \"a/b\" has '/' where only letters, digits, '-', '_' and '.' may stand"
        );
    }

    #[test]
    fn a_fresh_id_reads_back() {
        let id = BoxId::random().expect("random");
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_ne!(BoxId::random().expect("random"), id);
    }

    proptest! {
        #[test]
        fn any_image_gives_a_name_that_can_be_read(image in ".{0,100}") {
            let name = BoxName::from_image(&image).unique(|name| !name.as_str().ends_with("-3"));
            prop_assert_eq!(name.as_str().parse(), Ok(name.clone()));
        }
    }
}
