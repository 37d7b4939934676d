//! The rules of ARCHITECTURE.md and of the house, held by tests: what a
//! compiler or clippy does not hold already.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a missing key fails the test")]

mod crates;
mod edges;
mod errors;
mod help;
mod rust;
mod sources;
mod supply;
mod workspace;
