//! Generated requests and edits: the bytes must mean what the same edits of structs mean.
#![no_main]

#[path = "../../tests/bytes/edits.rs"]
mod edits;
#[path = "../../tests/bytes/source.rs"]
#[allow(dead_code)]
mod source;
#[path = "../../tests/bytes/wild.rs"]
#[allow(dead_code)]
mod wild;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use source::Source;
use spanloom::otlp::schema::{LOGS, METRICS, TRACES};

fuzz_target!(|data: &[u8]| {
    // Choices and request take bytes from the two ends, so that one can change alone.
    let (choices, data) = data.split_at(data.len() / 3);
    let (source, choices) = (&mut Source::new(data), &mut Source::new(choices));
    match source.below(4) {
        0 => {
            let mut request = source.traces();
            let bytes = wild::rewrite(source, &TRACES, &request.encode_to_vec(), wild::UNKNOWN);
            let bytes = Bytes::from(bytes);
            let edited = edits::edit_traces(choices, &bytes, &mut request).apply(&bytes);
            let decoded = ExportTraceServiceRequest::decode(edited).unwrap();
            assert_eq!(decoded.encode_to_vec(), request.encode_to_vec());
        }
        signal => {
            let (message, bytes) = match signal {
                1 => (&TRACES, source.traces().encode_to_vec()),
                2 => (&LOGS, source.logs().encode_to_vec()),
                _ => (&METRICS, source.metrics().encode_to_vec()),
            };
            let bytes = wild::rewrite(source, message, &bytes, wild::UNKNOWN);
            let (mut edits, expected) = edits::edit_anywhere(choices, message, &bytes);
            assert_eq!(edits.apply(&Bytes::from(bytes)), expected);
        }
    }
});
