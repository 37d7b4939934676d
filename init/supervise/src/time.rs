//! Time as integers, so that a test can write it down.

use std::ops::Add;

use holdall_protocol::Millis;

/// A point of the monotonic clock, in milliseconds since some start that never
/// changes while init lives. Only the shell reads a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The span since `earlier`; zero where that lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Timestamp {
    type Output = Self;

    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}
