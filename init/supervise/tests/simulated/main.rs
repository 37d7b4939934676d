//! The supervisor in a simulated world: fake children, a simulated clock.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly shall fail"
)]

mod explore;
mod properties;
mod scale;
mod scenarios;
mod world;
