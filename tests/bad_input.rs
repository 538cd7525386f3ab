//! The list of bad inputs against the real binary, with its memory watched.

#[path = "support/bad_input/mod.rs"]
mod bad_input;
mod support;

use bad_input::Target;
use support::{Daemon, Sink, daemon};

/// What the process may take at its worst: the requests being received (256 MiB) as sent,
/// inflated and rewritten, what waits in HTTP/2 windows, and what is queued.
const RESIDENT_KIB: u64 = 1 << 20;

#[test]
fn the_binary_survives_bad_input_in_bounded_memory() {
    let sink = Sink::start();
    let http = "http: {endpoint: \"127.0.0.1:0\"}";
    let short = format!("http: {}", bad_input::CONFIG);
    let daemon = Daemon::start(&daemon::to_sink(&sink).replace(http, &short));
    let mut daemon = daemon;
    bad_input::check(&Target { grpc: daemon.grpc(), http: daemon.http() });
    let peak = daemon.peak_resident_kib();
    assert!(peak < RESIDENT_KIB, "{} MiB at the peak", peak >> 10);
    assert!(daemon.is_running());
}
