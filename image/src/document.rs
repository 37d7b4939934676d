//! The JSON documents of an image: index, manifest, config (OCI image-spec
//! 1.1, with docker's `Healthcheck`), and docker's image manifest v2 schema 2
//! as far as loading needs it.
//!
//! Documents are hostile: [`decode`] bounds their size, and refuses a key
//! that is written twice and a manifest that is also an index
//! (CVE-2021-41190), so that no two readers see two different images.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Largest document that is read or written, in bytes: 4 MiB, the bound that
/// the distribution-spec recommends to registries for manifests.
pub const MAX_DOCUMENT: u64 = 4 << 20;

mod config;
mod keys;
pub mod media;
mod unique;

pub use config::{Healthcheck, History, ImageConfig, RootFs, RunConfig};

/// Annotation of an index entry: the image's name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation that containerd and docker 25 write: the image's full name.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Why a document was refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Over [`MAX_DOCUMENT`].
    #[error("{what} has {size} bytes, more than the {MAX_DOCUMENT} allowed")]
    TooLarge {
        /// Kind of document.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
    },
    /// No JSON, or not of the document's shape, or a key written twice.
    #[error("cannot decode {what}")]
    Decode {
        /// Kind of document.
        what: &'static str,
        /// serde's reason, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// `mediaType` contradicts what the document is used as.
    #[error("{what} says it is a {found:?}")]
    MediaType {
        /// Kind of document.
        what: &'static str,
        /// What it says.
        found: String,
    },
    /// `schemaVersion` is not 2.
    #[error("{what} has schema version {found}, not 2")]
    SchemaVersion {
        /// Kind of document.
        what: &'static str,
        /// What it says.
        found: u64,
    },
    /// A document with the members of a manifest and of an index.
    #[error("{what} is a manifest and an index at once")]
    Ambiguous {
        /// Kind of document.
        what: &'static str,
    },
    /// A layer that is no tar, or is to be fetched from elsewhere.
    #[error("layer {digest} has media type {media_type:?}, which cannot be unpacked")]
    LayerType {
        /// The layer.
        digest: Digest,
        /// What it says.
        media_type: String,
    },
    /// Manifest and config disagree on the number of layers.
    #[error("manifest has {layers} layers but the config names {diff_ids}")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
}

/// Pointer to a blob (image-spec descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Free text about it; index entries carry their image's name here.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the manifest runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// What an image of an index runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// GOARCH, e.g. `amd64`.
    pub architecture: String,
    /// GOOS, e.g. `linux`.
    pub os: String,
    /// e.g. `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Whether it is this machine's.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.os == "linux" && self.architecture == host_architecture()
    }
}

/// This machine's architecture in Go's words, as images have it.
#[must_use]
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// Image index (image-index.md); also `index.json` of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    /// The images.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// An index of these images.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: Some(media::INDEX.to_owned()),
            manifests,
        }
    }

    /// Reads an OCI index or a docker manifest list.
    pub fn decode(bytes: &[u8]) -> Result<Index, DocumentError> {
        let what = "image index";
        check_shape(what, bytes, &[media::INDEX, media::DOCKER_LIST])?;
        decode(what, bytes)
    }
}

/// Image manifest (manifest.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    /// The [`ImageConfig`].
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Free text.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// A manifest of this config and these layers, bottom first.
    #[must_use]
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: Some(media::MANIFEST.to_owned()),
            config,
            layers,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads an OCI manifest, or docker's v2 schema 2, which it converts:
    /// the media types change and nothing else, so the image's id stays.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, DocumentError> {
        let what = "image manifest";
        check_shape(what, bytes, &[media::MANIFEST, media::DOCKER_MANIFEST])?;
        let mut manifest: Manifest = decode(what, bytes)?;
        manifest.media_type = Some(media::MANIFEST.to_owned());
        match manifest.config.media_type.as_str() {
            media::CONFIG => {}
            media::DOCKER_CONFIG => manifest.config.media_type = media::CONFIG.to_owned(),
            found => {
                return Err(DocumentError::MediaType {
                    what: "image config",
                    found: found.to_owned(),
                });
            }
        }
        for layer in &mut manifest.layers {
            let Some(oci) = media::oci_layer(&layer.media_type) else {
                return Err(DocumentError::LayerType {
                    digest: layer.digest,
                    media_type: layer.media_type.clone(),
                });
            };
            layer.media_type = oci.to_owned();
        }
        Ok(manifest)
    }
}

/// Size bound, no duplicate key anywhere, then the shape.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DocumentError> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(DocumentError::TooLarge {
            what,
            size: bytes.len() as u64,
        });
    }
    let _: unique::Unique =
        serde_json::from_slice(bytes).map_err(|source| DocumentError::Decode { what, source })?;
    serde_json::from_slice(bytes).map_err(|source| DocumentError::Decode { what, source })
}

/// What all documents of a layout share, read before the rest is believed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

fn check_shape(
    what: &'static str,
    bytes: &[u8],
    media_types: &[&str],
) -> Result<(), DocumentError> {
    let shape: Shape = decode(what, bytes)?;
    if shape.schema_version != 2 {
        return Err(DocumentError::SchemaVersion {
            what,
            found: shape.schema_version,
        });
    }
    if shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some()) {
        return Err(DocumentError::Ambiguous { what });
    }
    match shape.media_type {
        Some(found) if !media_types.contains(&found.as_str()) => {
            Err(DocumentError::MediaType { what, found })
        }
        _ => Ok(()),
    }
}

/// Go writes an empty list or map as `null`.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}
