//! OCI images on disk: a verified content store, layers, archives.
//!
//! **Invariant:** everything that comes from an image or an archive is
//! hostile: every blob is verified when written and when read, every path
//! goes through a [`root::RootDir`].

pub mod archive;
pub mod digest;
pub mod document;
pub mod layer;
pub mod reference;
pub mod root;
pub mod store;
mod sys;

pub use digest::Digest;
pub use reference::Reference;
pub use root::RootDir;
pub use store::Store;
