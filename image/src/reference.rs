//! `[registry/]repository[:tag][@digest]`, as docker reads and shortens it
//! (distribution/reference grammar).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

mod closest;
pub(crate) use closest::closest;

/// The registry of a name that gives none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Docker Hub's namespace for names of one component.
const OFFICIAL: &str = "library/";
/// Longest repository with its registry, as in distribution/reference.
const MAX_NAME: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;

/// The name of an image.
///
/// Two spellings of one name are equal: `shop`, `docker.io/library/shop` and
/// `index.docker.io/library/shop` differ in nothing. [`Display`](fmt::Display)
/// gives the short form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("an image name is empty")]
    Empty,
    /// Over 255 bytes.
    #[error("image name {0:?}… is longer than {MAX_NAME} characters")]
    TooLong(String),
    /// Docker and registries allow lower case only.
    #[error("image name {0:?} has upper-case letters")]
    UpperCase(String),
    /// A component breaks the grammar.
    #[error("image name {name:?} is malformed at {component:?}")]
    Component {
        /// All of it.
        name: String,
        /// What is wrong.
        component: String,
    },
    /// The part before the first `/` looks like a host and is none.
    #[error("image name {name:?} has a malformed registry {registry:?}")]
    Registry {
        /// All of it.
        name: String,
        /// What is wrong.
        registry: String,
    },
    /// The part after `:` is no tag.
    #[error("image name {name:?} has a malformed tag {tag:?}")]
    Tag {
        /// All of it.
        name: String,
        /// What is wrong.
        tag: String,
    },
    /// The part after `@` is no digest.
    #[error("image name {0:?} has a malformed digest")]
    Digest(String),
    /// 64 hex digits are an image id, never a repository.
    #[error("image name {0:?} could be an image id")]
    LooksLikeId(String),
}

impl ReferenceError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            ReferenceError::Empty => "give a name such as shop:latest".to_owned(),
            ReferenceError::TooLong(_) => "shorten the name".to_owned(),
            ReferenceError::UpperCase(name) => {
                format!("write it as {:?}", name.to_ascii_lowercase())
            }
            ReferenceError::Component { .. } => {
                "use lower-case letters and digits, single ., _ or - between them, and / between \
                 components"
                    .to_owned()
            }
            ReferenceError::Registry { .. } => {
                "a registry is HOST or HOST:PORT, e.g. registry.example.org:5000".to_owned()
            }
            ReferenceError::Tag { .. } => {
                "a tag is up to 128 letters, digits, _, . and -, and starts with none of the last \
                 two"
                .to_owned()
            }
            ReferenceError::Digest(_) => {
                "a digest is sha256: and 64 lower-case hex digits".to_owned()
            }
            ReferenceError::LooksLikeId(_) => "add a tag or a registry to the name".to_owned(),
        }
    }
}

impl Reference {
    /// The registry's host and port; `docker.io` where none was given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry, in full (`library/debian`).
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, where one was given.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// This name with nothing left out: `docker.io/library/shop:latest`.
    #[must_use]
    pub fn full(&self) -> String {
        let short = self.to_string();
        let after = self.tag.as_ref().map_or(0, |tag| tag.len() + 1)
            + self
                .digest
                .as_ref()
                .map_or(0, |digest| digest.to_string().len() + 1);
        let suffix = short.get(short.len() - after..).unwrap_or_default();
        format!("{}/{}{suffix}", self.registry, self.repository)
    }

    /// This name, with tag `latest` where it has neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// This name with nothing after the repository.
    #[must_use]
    pub fn without_tag(mut self) -> Reference {
        self.tag = None;
        self.digest = None;
        self
    }
}

impl Reference {
    /// This name without its digest.
    #[must_use]
    pub fn without_digest(mut self) -> Reference {
        self.digest = None;
        self
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_NAME + MAX_TAG + 80 {
            return Err(ReferenceError::TooLong(text.chars().take(40).collect()));
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| ReferenceError::Digest(text.to_owned()))?;
                (rest, Some(digest))
            }
        };
        // A colon before the last slash belongs to the registry's port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (head, tail) = rest.split_at(name_end);
        let (name, tag) = match tail.split_once(':') {
            None => (rest.to_owned(), None),
            Some((last, tag)) => (format!("{head}{last}"), Some(tag.to_owned())),
        };
        if let Some(tag) = &tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag {
                name: text.to_owned(),
                tag: tag.clone(),
            });
        }
        if name.len() > MAX_NAME {
            return Err(ReferenceError::TooLong(name.chars().take(40).collect()));
        }
        let (registry, repository) = split_registry(text, &name)?;
        if registry.is_none()
            && tag.is_none()
            && digest.is_none()
            && Digest::from_hex(&repository).is_ok()
        {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(text.to_owned()));
        }
        for component in repository.split('/') {
            if !is_component(component) {
                return Err(ReferenceError::Component {
                    name: text.to_owned(),
                    component: component.to_owned(),
                });
            }
        }
        let registry = match registry.as_deref() {
            None | Some("index.docker.io") => DEFAULT_REGISTRY.to_owned(),
            Some(other) => other.to_owned(),
        };
        let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("{OFFICIAL}{repository}")
        } else {
            repository
        };
        Ok(Reference {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

/// Docker's rule: the part before the first slash is a registry if it has a
/// dot, a port or an upper-case letter, or is `localhost`.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':', '['])
        || first == "localhost"
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// The registry, where the name begins with one, and the rest.
fn split_registry(text: &str, name: &str) -> Result<(Option<String>, String), ReferenceError> {
    let Some((first, rest)) = name.split_once('/') else {
        return Ok((None, name.to_owned()));
    };
    if !is_host(first) {
        return Ok((None, name.to_owned()));
    }
    if !is_registry(first) {
        return Err(ReferenceError::Registry {
            name: text.to_owned(),
            registry: first.to_owned(),
        });
    }
    Ok((Some(first.to_owned()), rest.to_owned()))
}

/// `host[:port]` or `[ipv6][:port]`.
fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[') {
        Some(v6) => {
            let Some((address, port)) = v6.split_once(']') else {
                return false;
            };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        }
        None => match registry.split_once(':') {
            None => (registry, None),
            Some((host, port)) => (host, Some(port)),
        },
    };
    port.is_none_or(is_port)
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// Lower-case letters and digits, between them one `.`, one or two `_`, or
/// any number of `-`.
fn is_component(component: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separator = Vec::new();
    let mut started = false;
    for byte in component.bytes() {
        if word(byte) {
            let allowed = match separator.as_slice() {
                [] => true,
                [b'.'] | [b'_'] | [b'_', b'_'] => started,
                dashes => started && dashes.iter().all(|dash| *dash == b'-'),
            };
            if !allowed {
                return false;
            }
            separator.clear();
            started = true;
        } else if matches!(byte, b'.' | b'_' | b'-') {
            separator.push(byte);
        } else {
            return false;
        }
    }
    started && separator.is_empty()
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= MAX_TAG
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && !tag.is_empty()
        && !tag.starts_with(['.', '-'])
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.registry == DEFAULT_REGISTRY {
            let short = self
                .repository
                .strip_prefix(OFFICIAL)
                .filter(|name| !name.contains('/'))
                .unwrap_or(&self.repository);
            // A short form that would be read as another registry's, or as an
            // id, keeps its own.
            let bare = self.tag.is_none() && self.digest.is_none();
            if short
                .split_once('/')
                .is_some_and(|(first, _)| is_host(first))
                || (bare && Digest::from_hex(short).is_ok())
            {
                write!(f, "{DEFAULT_REGISTRY}/{}", self.repository)?;
            } else {
                f.write_str(short)?;
            }
        } else {
            write!(f, "{}/{}", self.registry, self.repository)?;
        }
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}
