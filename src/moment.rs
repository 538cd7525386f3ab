//! A moment as a value: rooms that may not read a clock are told the time.

use std::time::Duration;

/// A reading of both clocks. Durations are taken on the monotonic one, which never jumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Time since the process started.
    pub monotonic: Duration,
    /// Nanoseconds since the Unix epoch, for what is written into telemetry.
    pub unix_nanos: u64,
}

impl Moment {
    /// The moment `later` after this one.
    pub fn plus(self, later: Duration) -> Moment {
        Moment {
            monotonic: self.monotonic.saturating_add(later),
            unix_nanos: self.unix_nanos.saturating_add(later.as_nanos() as u64),
        }
    }

    /// Time since `earlier`; zero if it is not earlier.
    pub fn since(self, earlier: Moment) -> Duration {
        self.monotonic.saturating_sub(earlier.monotonic)
    }
}
