//! The supervisor in a simulated world: fake children, a simulated clock.

mod properties;
mod scale;
mod scenarios;
mod world;
