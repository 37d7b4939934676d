//! `-v`, as docker writes it, and what becomes of it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::BoxName;

/// What a user asks for: `NAME:/path[:ro]` (a named volume),
/// `/host/path:/path[:ro]` (a folder or file of the host) or `/path` (a volume
/// of the box's own).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where from.
    pub source: VolumeSource,
    /// Where to in the box: absolute, without `.` and `..`.
    pub target: String,
    /// The box may not write to it.
    pub read_only: bool,
}

/// Where the content of a [`Volume`] lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// Below the folder of volumes, shared by every box that names it. It
    /// outlives them.
    Named(VolumeName),
    /// A path of the host.
    Host(PathBuf),
    /// With the box, removed with it.
    Own,
}

/// A volume's name: the rules of [`BoxName`].
pub type VolumeName = BoxName;

/// Why a text is no [`Volume`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// Too many parts, or none.
    #[error("cannot read volume {0:?}: write NAME:/path, /host/path:/path or /path, and :ro")]
    Malformed(String),
    /// The place in the box isn't an absolute, plain path.
    #[error("cannot read volume {text:?}: {target:?} is not an absolute path in the box")]
    Target {
        /// The whole.
        text: String,
        /// The wrong part.
        target: String,
    },
    /// The root can't be a volume.
    #[error("cannot read volume {0:?}: the root of the box can't be a volume")]
    Root(String),
    /// Neither `ro` nor `rw`.
    #[error("cannot read volume {text:?}: option {option:?} is neither ro nor rw")]
    Option {
        /// The whole.
        text: String,
        /// The wrong part.
        option: String,
    },
    /// Neither a name nor an absolute path.
    #[error(
        "cannot read volume {text:?}: {name:?} is neither a volume's name nor an absolute path"
    )]
    Source {
        /// The whole.
        text: String,
        /// The wrong part.
        name: String,
    },
}

/// An absolute path without `.`, `..` and doubled slashes; `None` where that
/// would change its meaning or it isn't absolute.
pub(crate) fn plain_path(text: &str) -> Option<String> {
    if !text.starts_with('/') || text.contains('\0') {
        return None;
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    (!parts.contains(&"..")).then(|| format!("/{}", parts.join("/")))
}

impl FromStr for Volume {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, option) = match parts.as_slice() {
            [target] => (None, *target, None),
            [source, target] => (Some(*source), *target, None),
            [source, target, option] => (Some(*source), *target, Some(*option)),
            _ => return Err(VolumeError::Malformed(text.into())),
        };
        let read_only = match option {
            None | Some("rw") => false,
            Some("ro") => true,
            Some(option) => {
                return Err(VolumeError::Option {
                    text: text.into(),
                    option: option.into(),
                });
            }
        };
        let plain = plain_path(target).ok_or_else(|| VolumeError::Target {
            text: text.into(),
            target: target.into(),
        })?;
        if plain == "/" {
            return Err(VolumeError::Root(text.into()));
        }
        let wrong = |name: &str| VolumeError::Source {
            text: text.into(),
            name: name.into(),
        };
        let source = match source {
            None => VolumeSource::Own,
            Some(path) if path.starts_with('/') => VolumeSource::Host(path.into()),
            Some(name) => VolumeSource::Named(name.parse().map_err(|_| wrong(name))?),
        };
        Ok(Self {
            source,
            target: plain,
            read_only,
        })
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            VolumeSource::Named(name) => write!(f, "{name}:")?,
            VolumeSource::Host(path) => write!(f, "{}:", path.display())?,
            VolumeSource::Own => {}
        }
        write!(f, "{}", self.target)?;
        if self.read_only {
            write!(f, ":ro")
        } else {
            Ok(())
        }
    }
}

/// A mount of a box, as its record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxMount {
    /// Where its content lies.
    pub source: MountSource,
    /// Where to in the box.
    pub target: String,
    /// The box may not write to it.
    #[serde(default)]
    pub read_only: bool,
}

/// Where the content of a [`BoxMount`] lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MountSource {
    /// A named volume.
    Volume {
        /// Which.
        name: VolumeName,
    },
    /// A path of the host.
    Bind {
        /// Which.
        path: PathBuf,
    },
    /// A volume of the box's own, by number.
    Own {
        /// Which.
        number: u32,
    },
}

/// Lays the volumes that a user asked for over those of the image, by target.
pub(crate) fn merge<'a>(
    asked: &[Volume],
    image: impl Iterator<Item = &'a String>,
) -> Vec<BoxMount> {
    let mut own = 0;
    let mut next_own = || {
        own += 1;
        MountSource::Own { number: own }
    };
    let mut mounts: Vec<BoxMount> = Vec::new();
    for volume in asked {
        let source = match &volume.source {
            VolumeSource::Named(name) => MountSource::Volume { name: name.clone() },
            VolumeSource::Host(path) => MountSource::Bind { path: path.clone() },
            VolumeSource::Own => next_own(),
        };
        mounts.retain(|mount| mount.target != volume.target);
        mounts.push(BoxMount {
            source,
            target: volume.target.clone(),
            read_only: volume.read_only,
        });
    }
    // A path in an image's config that is none is nobody's volume.
    for target in image
        .filter_map(|path| plain_path(path))
        .filter(|path| path != "/")
    {
        if !mounts.iter().any(|mount| mount.target == target) {
            mounts.push(BoxMount {
                source: next_own(),
                target,
                read_only: false,
            });
        }
    }
    // A mount on /a must not hide one on /a/b.
    mounts.sort_by_key(|mount| mount.target.matches('/').count());
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dockers_forms_are_read() {
        for text in ["data:/data", "/srv/data:/data:ro", "/data", "data:/data:ro"] {
            assert_eq!(text.parse::<Volume>().expect(text).to_string(), text);
        }
        let volume: Volume = "data://a/./b/".parse().expect("read");
        assert_eq!(volume.target, "/a/b");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            (
                "a:b:c:d",
                "cannot read volume \"a:b:c:d\": write NAME:/path, /host/path:/path or /path, and :ro",
            ),
            (
                "data:data",
                "cannot read volume \"data:data\": \"data\" is not an absolute path in the box",
            ),
            (
                "data:/a/../b",
                "cannot read volume \"data:/a/../b\": \"/a/../b\" is not an absolute path in the box",
            ),
            (
                "data:/",
                "cannot read volume \"data:/\": the root of the box can't be a volume",
            ),
            (
                "data:/a:z",
                "cannot read volume \"data:/a:z\": option \"z\" is neither ro nor rw",
            ),
            (
                "./data:/a",
                "cannot read volume \"./data:/a\": \"./data\" is neither a volume's name nor an absolute path",
            ),
        ] {
            assert_eq!(text.parse::<Volume>().expect_err(text).to_string(), message);
        }
    }

    #[test]
    fn a_users_volume_replaces_the_images_and_parents_come_first() {
        let asked = ["data:/data/deep", "/data"].map(|text| text.parse().expect(text));
        let image = [
            "/data/deep/".to_owned(),
            "/cache".to_owned(),
            "nonsense".to_owned(),
        ];
        let mounts = merge(&asked, image.iter());
        let targets: Vec<&str> = mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(targets, ["/data", "/cache", "/data/deep"]);
        assert!(matches!(
            mounts.last().expect("one").source,
            MountSource::Volume { .. }
        ));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[a-z:/.]{0,24}") {
            if let Ok(volume) = text.parse::<Volume>() {
                prop_assert_eq!(volume.to_string().parse(), Ok(volume.clone()));
                prop_assert!(volume.target.starts_with('/'));
                prop_assert!(volume.target.split('/').all(|part| part != ".."));
            }
        }
    }
}
