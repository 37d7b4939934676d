//! Media types, as image-spec media-types.md and docker name them.

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
