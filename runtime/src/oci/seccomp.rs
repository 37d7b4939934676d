//! System call filters.
pub mod profile;
