//! The only place that reads time.
//!
//! The monotonic reading is tokio's, so that a test that pauses the runtime's clock pauses this
//! one with it.

use crate::moment::Moment;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

static START: OnceLock<Instant> = OnceLock::new();

/// The current moment.
#[allow(clippy::disallowed_methods, reason = "this is the room that reads the clocks")]
pub fn now() -> Moment {
    let start = *START.get_or_init(Instant::now);
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { monotonic: start.elapsed(), unix_nanos: unix.as_nanos() as u64 }
}
