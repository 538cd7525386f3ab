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
    // 60 MiB in one attribute take a busy machine longer than an attempt usually has.
    let patient = format!(
        "{}\", timeout: 2m, compression: none, \
         sending_queue: {{limit_mib: 256}}",
        sink.endpoint()
    );
    let yaml = daemon::to_sink(&sink).replace(&format!("{}\"", sink.endpoint()), &patient);
    let daemon = Daemon::start(&yaml.replace(http, &short));
    let mut daemon = daemon;
    bad_input::check(&Target { grpc: daemon.grpc(), http: daemon.http() });
    // As many as the kinds of frames, and one whose answers nobody read.
    let floods = daemon.metric("spanloom_receiver_floods", "transport=\"grpc\"");
    assert!(floods >= 4.0, "{floods}");
    let peak = daemon.peak_resident_kib();
    assert!(peak < RESIDENT_KIB, "{} MiB at the peak", peak >> 10);
    assert!(daemon.is_running());
}

#[test]
fn two_million_empty_spans_cost_little_more_than_their_bytes() {
    let sink = Sink::start();
    let daemon = Daemon::start(&daemon::to_sink(&sink));
    let address = daemon.http();
    let before = daemon.resident_kib();
    // Empty spans in one scope group in one resource group: decoded, they would take 526 MiB.
    let spans = [0x12, 0].repeat(2 << 20);
    let within = |number: u8, body: &[u8]| {
        let mut field = vec![number << 3 | 2];
        prost::encoding::encode_varint(body.len() as u64, &mut field);
        field.extend_from_slice(body);
        field
    };
    let body = within(1, &within(2, &spans));
    let kind = [("content-type", "application/x-protobuf")];
    let reply = support::client::post(&address, "/v1/traces", &kind, body);
    assert_eq!(reply.status, 413, "{}", reply.text());
    let risen = daemon.peak_resident_kib().saturating_sub(before);
    assert!(risen < 40 << 10, "resident memory rose by {} MiB", risen >> 10);
}
