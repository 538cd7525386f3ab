//! The only place that reads time.

use crate::moment::Moment;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<Instant> = OnceLock::new();

/// The current moment.
#[allow(clippy::disallowed_methods, reason = "this is the room that reads the clocks")]
pub fn now() -> Moment {
    let start = *START.get_or_init(Instant::now);
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { monotonic: start.elapsed(), unix_nanos: unix.as_nanos() as u64 }
}
