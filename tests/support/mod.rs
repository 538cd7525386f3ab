//! What end-to-end tests are written with: the real binary on free ports (`Daemon`), a backend that
//! remembers what it was sent (`Sink`), a proxy that fails as networks do (`Proxy`), a client that
//! says exactly what it is told (`client`), clients that never tire (`Agents`), and spans in short
//! (`spans`). Everything blocks, so that a test reads from top to bottom; whatever waits gives up
//! after `PATIENCE` with what it saw so far. Nothing here asserts a duration.
#![allow(dead_code, unused_imports, reason = "each test file uses its share of this")]

pub mod agents;
pub mod client;
pub mod conservation;
pub mod daemon;
pub mod proxy;
pub mod python;
pub mod sink;
pub mod spans;
pub mod storage;
pub mod tls;

use std::time::{Duration, Instant};

pub use agents::Agents;
pub use daemon::Daemon;
pub use proxy::{Fault, Proxy};
pub use python::python;
pub use sink::{Answer, Received, Sink};
pub use spans::{Seen, event, request, span};

/// How long a test waits for what must happen. Long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `ready` until it has an answer. None when patience ends.
pub fn eventually<T>(mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ready() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
