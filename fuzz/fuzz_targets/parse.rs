//! Any bytes: the check judges as prost does, and what it passes every other function takes.
#![no_main]

#[path = "../../tests/bytes/views.rs"]
mod views;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use spanloom::batch::Signal;
use spanloom::otlp::check::{Bounds, Malformed, check};
use spanloom::otlp::join::{join, split};
use spanloom::otlp::json::{from_json, to_json};
use spanloom::otlp::merge::merge;
use spanloom::otlp::text;

/// prost gives up at 100 messages within each other, and a map takes three.
const BOUNDS: Bounds = Bounds { items: 1 << 19, elements: 1 << 22, value_nesting: 28 };

fn meaning(signal: Signal, bytes: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Logs => ExportLogsServiceRequest::decode(bytes)?.encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(bytes)?.encode_to_vec(),
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let signal = Signal::ALL[usize::from(*first) % 3];
    let message = signal.message();
    let theirs = meaning(signal, bytes);
    // Whatever the bytes, walking and printing end.
    let _ = text::print(message, bytes);
    let tally = match check(message, bytes, &BOUNDS) {
        Ok(tally) => tally,
        Err(Malformed::TooDeep { .. }) => return,
        // Groups within each other are where the two bounds differ.
        Err(Malformed::Bytes { what, .. }) if what.contains("group") => return,
        Err(error) => return assert!(theirs.is_err(), "refused: {error}"),
    };
    let theirs = theirs.unwrap_or_else(|error| panic!("accepted: {error}"));
    let merged = if tally.repeated_singular { merge(message, bytes) } else { bytes.to_vec() };
    let again = check(message, &merged, &BOUNDS).unwrap();
    assert!(!again.repeated_singular);
    assert_eq!(meaning(signal, &merged).unwrap(), theirs);
    let printed = text::print(message, &merged);
    let parsed = text::parse(&printed).unwrap();
    if signal == Signal::Traces {
        let _ = views::traces(&merged);
        assert_eq!(text::print(message, &parsed).lines().count(), printed.lines().count());
    } else if signal == Signal::Logs {
        let _ = views::logs(&merged);
    }
    let json = to_json(message, &merged);
    // What a list of numbers holds counts in JSON only.
    if let Ok(back) = from_json(message, &json, &BOUNDS) {
        // Not held against prost's encoder here: it leaves out -0.0, which is no default.
        let written = from_json(message, &to_json(message, &back), &BOUNDS);
        assert_eq!(written.as_ref(), Ok(&back));
        assert_eq!(check(message, &back, &BOUNDS).unwrap().items, again.items);
    } else {
        panic!("JSON of our own is refused: {}", String::from_utf8_lossy(&json));
    }
    let max = usize::from(*first) * 8;
    let parts = split(message, &Bytes::from(merged.clone()), max);
    for part in &parts {
        assert_eq!(check(message, &part.bytes, &BOUNDS).unwrap().items, part.items);
    }
    let joined = join(&parts.iter().map(|part| part.bytes.clone()).collect::<Vec<_>>());
    assert_eq!(check(message, &joined, &BOUNDS).unwrap().items, again.items);
    assert!(joined.len() <= 2 * merged.len());
});
