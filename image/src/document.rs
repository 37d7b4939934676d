//! The JSON documents of an image: index, manifest, config (OCI image-spec
//! 1.1, with docker's `Healthcheck`), and docker's image manifest v2 schema 2
//! as far as loading needs it.
//!
//! Documents are hostile: [`decode`] bounds their size, and refuses a key
//! that is written twice and a manifest that is also an index
//! (CVE-2021-41190), so that no two readers see two different images.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Largest document that is read or written, in bytes: 4 MiB, the bound that
/// the distribution-spec recommends to registries for manifests.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// Media types, as image-spec media-types.md and docker name them.
pub mod media {
    /// OCI image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image config.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// Layer as a plain tar.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// Layer as a gzip-compressed tar.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// Layer as a zstd-compressed tar.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image manifest v2 schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker image config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, plain tar.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker layer, gzip-compressed tar.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

    /// The OCI name of a layer's media type; `None` where it is no layer that
    /// we can unpack (foreign layers, encrypted ones, artifacts).
    #[must_use]
    pub fn oci_layer(media_type: &str) -> Option<&'static str> {
        match media_type {
            LAYER | DOCKER_LAYER => Some(LAYER),
            LAYER_GZIP | DOCKER_LAYER_GZIP => Some(LAYER_GZIP),
            LAYER_ZSTD => Some(LAYER_ZSTD),
            _ => None,
        }
    }
}

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

/// Image config (config.md): what runs, and of which layers it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339 time of the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// GOARCH, e.g. `amd64`.
    pub architecture: String,
    /// e.g. `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// GOOS, e.g. `linux`.
    pub os: String,
    /// Defaults of a container made from it.
    #[serde(default, deserialize_with = "or_default")]
    pub config: RunConfig,
    /// Its layers' diff IDs.
    pub rootfs: RootFs,
    /// How it was made, one entry a step.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
}

impl ImageConfig {
    /// Reads a config.
    pub fn decode(bytes: &[u8]) -> Result<ImageConfig, DocumentError> {
        decode("image config", bytes)
    }
}

/// The layers' digests, uncompressed, bottom first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type")]
    kind: Layers,
    /// Digest of each layer's uncompressed tar, bottom first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

impl RootFs {
    /// A root made of these layers, bottom first.
    #[must_use]
    pub fn new(diff_ids: Vec<Digest>) -> RootFs {
        RootFs {
            kind: Layers::Layers,
            diff_ids,
        }
    }
}

/// The only `rootfs.type` there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Layers {
    #[default]
    Layers,
}

/// Defaults of a container (config.md, `config`; docker's names).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// `user[:group]`, names or numbers; empty is root.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `80/tcp`.
    #[serde(default, with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// First words of the command.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entrypoint: Vec<String>,
    /// Its arguments, which a user replaces.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cmd: Vec<String>,
    /// Paths that are volumes.
    #[serde(default, with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// Absolute path; empty is `/`.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Free text.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// e.g. `SIGTERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker's field; OCI has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
}

/// Docker's health check. Times are nanoseconds, 0 for the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", "…"]` or `["NONE"]`.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Between two probes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// Of one probe.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// While failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// Failures in a row that make it unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u64,
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It changed no file, so no layer belongs to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
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

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Go writes an empty list or map as `null`.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

mod keys;
mod unique;
