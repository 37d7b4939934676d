//! OCI images on disk: a verified content store, layers, archives.
//!
//! **Invariant:** everything that comes from an image or an archive is
//! hostile: every blob is verified when written and when read, every path
//! goes through a [`root::RootDir`]. This crate never speaks to a network,
//! never runs a program, never mounts, and reads of the machine it is on nothing
//! but the id of the boot: no clock, no environment.

#![deny(unsafe_code)]

pub mod archive;
pub mod boot;
pub mod compress;
pub mod digest;
pub mod document;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod layer;
pub mod reference;
pub mod root;
pub mod store;
#[expect(
    unsafe_code,
    reason = "the crate's one home for system calls that nix lacks"
)]
mod sys;
pub mod tree;

pub use digest::{Digest, Hasher};
pub use document::Descriptor;
pub use layer::{LayerError, PackedLayer};
pub use reference::Reference;
pub use root::RootDir;
pub use store::{Image, Store, StoreError};
pub use tree::Tree;
