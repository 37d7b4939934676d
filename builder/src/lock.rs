//! `holdall.lock`: the exact packages of a `bootstrap:` base.
//!
//! Pure: text to checked values and back. The file is TOML, sorted, and ends
//! where its packages end, so that two resolutions of the same packages are
//! the same bytes.

use std::fmt::Write as _;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 1;

/// More packages than Debian has in a base several times over.
const MAX_PACKAGES: usize = 20_000;

/// Which packages a base is made of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// The release, `bookworm`.
    pub suite: String,
    /// Debian's name of the architecture, `amd64`.
    pub architecture: String,
    /// `packages` of the holdall.toml it was resolved for, sorted.
    pub requested: Vec<String>,
    /// The newest timestamp of the packages themselves, in seconds since 1970:
    /// what the build makes is given this time where SOURCE_DATE_EPOCH says
    /// nothing else. It follows from the packages, not from the day of the
    /// build.
    pub epoch: i64,
    /// Every package, sorted by name.
    #[serde(rename = "package", default)]
    pub packages: Vec<Package>,
}

/// One package of a [`Lock`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, with the epoch if it has one.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// The digest of the .deb, 64 hexadecimal digits.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where it was fetched. Only of use while it is not kept in the store.
    pub url: String,
}

/// Why a text is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The text is not TOML, or has a key that a lock has not.
    #[error("not a lock: {0}")]
    Syntax(String),
    /// Another version.
    #[error("version {0} of the lock format is unknown to this release (it knows {VERSION})")]
    Version(u32),
    /// A value that no resolution writes.
    #[error("package {name:?} has no valid {field}")]
    Package {
        /// Which package.
        name: String,
        /// Which of its values.
        field: &'static str,
    },
    /// A package twice.
    #[error("package {0:?} stands there twice")]
    Twice(String),
    /// No package, or far too many.
    #[error("{0} packages can't be a base")]
    Count(usize),
}

impl Lock {
    /// The lock of packages that were resolved.
    #[must_use]
    pub fn new(
        suite: &str,
        architecture: &str,
        requested: &[String],
        epoch: i64,
        mut packages: Vec<Package>,
    ) -> Self {
        packages.sort();
        Self {
            version: VERSION,
            suite: suite.to_owned(),
            architecture: architecture.to_owned(),
            requested: sorted(requested),
            epoch,
            packages,
        }
    }

    /// Reads and checks one.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn from_toml(text: &str) -> Result<Self, LockError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let syntax = |error: toml::de::Error| LockError::Syntax(error.message().to_owned());
        let head: Head = toml::from_str(text).map_err(syntax)?;
        if head.version != VERSION {
            return Err(LockError::Version(head.version));
        }
        let mut lock: Self = toml::from_str(text).map_err(syntax)?;
        if lock.packages.is_empty() || lock.packages.len() > MAX_PACKAGES {
            return Err(LockError::Count(lock.packages.len()));
        }
        lock.packages.iter().try_for_each(Package::check)?;
        lock.packages.sort();
        for pair in lock.packages.windows(2) {
            if let [a, b] = pair
                && a.name == b.name
            {
                return Err(LockError::Twice(a.name.clone()));
            }
        }
        Ok(lock)
    }

    /// The file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let requested: Vec<String> = self.requested.iter().map(|name| quoted(name)).collect();
        let mut text = String::from(
            "# Written by `holdall build`. Keep it with the holdall.toml: while it is there, the\n\
             # base is made of exactly these packages. Delete it to take the newest ones.\n",
        );
        let _infallible = write!(
            text,
            "version = {}\nsuite = {}\narchitecture = {}\nrequested = [{}]\nepoch = {}\n",
            self.version,
            quoted(&self.suite),
            quoted(&self.architecture),
            requested.join(", "),
            self.epoch,
        );
        for package in &self.packages {
            let _infallible = write!(
                text,
                "\n[[package]]\nname = {}\nversion = {}\narchitecture = {}\nsha256 = {}\nsize = {}\nurl = {}\n",
                quoted(&package.name),
                quoted(&package.version),
                quoted(&package.architecture),
                quoted(&package.sha256),
                package.size,
                quoted(&package.url),
            );
        }
        text
    }

    /// Whether it answers a request for these packages of this release.
    #[must_use]
    pub fn answers(&self, suite: &str, architecture: &str, requested: &[String]) -> bool {
        self.suite == suite
            && self.architecture == architecture
            && self.requested == sorted(requested)
    }

    /// A digest of what decides over the base: not of where a package came
    /// from.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut lines = format!(
            "{}\n{}\n{:?}\n",
            self.suite, self.architecture, self.requested
        );
        for Package {
            name,
            version,
            architecture,
            sha256,
            ..
        } in &self.packages
        {
            let _infallible = writeln!(lines, "{name:?} {version:?} {architecture:?} {sha256}");
        }
        let hash = Sha256::digest(lines);
        hash.iter().fold(String::new(), |mut hex, byte| {
            let _infallible = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl Package {
    /// The values end up in file names and in apt's own index, where a line
    /// break would be a field of its own.
    fn check(&self) -> Result<(), LockError> {
        let wrong = |field| {
            Err(LockError::Package {
                name: self.name.clone(),
                field,
            })
        };
        if !is_package_name(&self.name) {
            return wrong("name");
        }
        let version = |c: char| c.is_ascii_alphanumeric() || ".+-:~".contains(c);
        if self.version.is_empty() || !self.version.chars().all(version) {
            return wrong("version");
        }
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.architecture.is_empty() || !self.architecture.chars().all(word) {
            return wrong("architecture");
        }
        let hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if self.sha256.len() != 64 || !self.sha256.bytes().all(hex) {
            return wrong("sha256");
        }
        if self
            .url
            .chars()
            .any(|c| c.is_whitespace() || c.is_control())
        {
            return wrong("url");
        }
        Ok(())
    }
}

/// Debian Policy 5.6.1, and not what apt would read as an option, a pattern or
/// a removal.
#[must_use]
pub(crate) fn is_package_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() >= 2
        && name.starts_with(letter)
        && !name.ends_with('-')
        && name.chars().all(|c| letter(c) || "+-.".contains(c))
}

/// A TOML basic string. What no checked value has is escaped all the same.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _infallible = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn package() -> impl Strategy<Value = Package> {
        (
            "[a-z0-9][a-z0-9+.]{1,9}",
            "[0-9][0-9a-z.+~:-]{0,9}",
            "amd64|all",
            "[0-9a-f]{64}",
            any::<u32>(),
        )
            .prop_map(|(name, version, architecture, sha256, size)| Package {
                url: format!("http://deb.debian.org/debian/pool/{name}.deb"),
                name,
                version,
                architecture,
                sha256,
                size: u64::from(size),
            })
    }

    proptest! {
        #[test]
        fn a_lock_reads_back_as_it_was_written(
            packages in prop::collection::btree_map("[a-z]{2,6}", package(), 1..20),
            epoch in 0..4_000_000_000_i64,
        ) {
            let named = |(name, package)| Package { name, ..package };
            let packages: Vec<Package> = packages.into_iter().map(named).collect();
            let lock = Lock::new("bookworm", "amd64", &["b".into(), "a".into()], epoch, packages);
            let read = Lock::from_toml(&lock.to_toml()).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(&read, &lock);
            prop_assert_eq!(read.to_toml(), lock.to_toml());
        }
    }

    fn with(old: &str, new: &str) -> String {
        let package = Package {
            name: "redis".into(),
            version: "7".into(),
            architecture: "amd64".into(),
            sha256: "a".repeat(64),
            size: 1,
            url: "http://x/y.deb".into(),
        };
        let lock = Lock::new("bookworm", "amd64", &["redis".into()], 1, vec![package]);
        let text = lock.to_toml();
        assert!(text.contains(old), "{text}");
        Lock::from_toml(&text.replace(old, new)).map_or_else(|e| e.to_string(), |_| "ok".into())
    }

    #[test]
    fn what_no_resolution_writes_is_refused() {
        insta::assert_snapshot!(
            [
                with("version = 1", "version = 2"),
                with("\"redis\"\nversion", "\"../redis\"\nversion"),
                with("version = \"7\"", "version = \"7\\nEssential: yes\""),
                with(&"a".repeat(64), "sha256"),
                with("size = 1", "sise = 1"),
                with("[[package]]", "[[packages]]"),
                with("http://x/y.deb", "http://x/y.deb SHA256:0"),
            ]
            .join("\n"),
            @r#"
        version 2 of the lock format is unknown to this release (it knows 1)
        package "../redis" has no valid name
        package "redis" has no valid version
        package "redis" has no valid sha256
        not a lock: unknown field `sise`, expected one of `name`, `version`, `architecture`, `sha256`, `size`, `url`
        not a lock: unknown field `packages`, expected one of `version`, `suite`, `architecture`, `requested`, `epoch`, `package`
        package "redis" has no valid url
        "#
        );
    }

    #[test]
    fn the_digest_is_that_of_the_packages_not_of_their_mirror() {
        let package = |url: &str, sha256: &str| Package {
            name: "redis".into(),
            version: "7".into(),
            architecture: "amd64".into(),
            sha256: sha256.repeat(64),
            size: 1,
            url: url.into(),
        };
        let digest = |p| Lock::new("bookworm", "amd64", &[], 1, vec![p]).digest();
        assert_eq!(
            digest(package("http://a/", "a")),
            digest(package("http://b/", "a"))
        );
        assert_ne!(
            digest(package("http://a/", "a")),
            digest(package("http://a/", "b"))
        );
    }

    #[test]
    fn a_package_name_is_never_an_option_a_pattern_or_a_removal() {
        for name in ["nginx-light", "libstdc++6", "python3.11", "7zip"] {
            assert!(is_package_name(name), "{name}");
        }
        for name in [
            "",
            "a",
            "-y",
            "nginx-",
            "?essential",
            "nginx=1",
            "Nginx",
            "a b",
            "../x",
        ] {
            assert!(!is_package_name(name), "{name}");
        }
    }
}
