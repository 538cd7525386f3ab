//! The protobuf mapping, duplicates and versions.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::bench::{Bench, same};
use super::table::{Checked, Row, both};
use super::wire::{PROTOBUF, framed, one_span};

/// Fields 999 to 1003: varint, fixed64, bytes, group, fixed32.
const UNKNOWN: &[u8] = &[
    0xb8, 0x3e, 5, 0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8, 0xca, 0x3e, 1, 9, 0xd3, 0x3e, 0x08, 1, 0xd4,
    0x3e, 0xdd, 0x3e, 1, 2, 3, 4,
];

pub const ROWS: &[Row] = &[
    both("C70", "-", "unknown fields are ignored, and kept on the way", |b| {
        let span = field(2, &[&field(5, b"named")[..], UNKNOWN].concat());
        let scope = field(2, &[&span[..], UNKNOWN].concat());
        let bytes = [&field(1, &[&scope[..], UNKNOWN].concat())[..], UNKNOWN].concat();
        b.protobuf(&bytes, true)?;
        let Ok(sink) = b.sink() else { return Ok(()) };
        let received = sink.received();
        let last = received.last().map(|one| one.message.to_vec()).unwrap_or_default();
        same(last, bytes)
    }),
    both("C71", "-", "a singular field that comes twice: the last wins, messages merge", |b| {
        let name = [field(5, b"first"), field(5, b"last")].concat();
        let status = [field(15, &field(2, b"said")), field(15, &[0x18, 2])].concat();
        let bytes = field(1, &field(2, &field(2, &[name, status].concat())));
        let Some(request) =
            b.through::<ExportTraceServiceRequest>("/v1/traces", PROTOBUF, bytes)?
        else {
            return Ok(());
        };
        let span = request.resource_spans[0].scope_spans[0].spans[0].clone();
        let status = span.status.unwrap_or_default();
        same((span.name.as_str(), status.code, status.message.as_str()), ("last", 2, "said"))
    }),
    both("C72", "-", "packed and unpacked numbers", |b| {
        let counts = |unpacked: bool| match unpacked {
            true => [[0x31].to_vec(), 1u64.to_le_bytes().to_vec()].concat().repeat(2),
            false => field(6, &[1u64.to_le_bytes(), 1u64.to_le_bytes()].concat()),
        };
        for unpacked in [false, true] {
            let metric = [field(1, b"h"), field(9, &field(1, &counts(unpacked)))].concat();
            let bytes = field(1, &field(2, &field(2, &metric)));
            let found = b.through::<ExportMetricsServiceRequest>("/v1/metrics", PROTOBUF, bytes)?;
            let Some(found) = found else { continue };
            let data = found.resource_metrics[0].scope_metrics[0].metrics[0].data.clone();
            let Some(Data::Histogram(histogram)) = data else {
                return Err("no histogram arrived".to_owned().into());
            };
            same(histogram.data_points[0].bucket_counts.clone(), vec![1, 1])?;
        }
        Ok(())
    }),
    both("C73", "-", "unknown groups are skipped", |b| {
        let group = [0xd3, 0x3e, 0x0a, 2, 1, 2, 0xd3, 0x3e, 0xd4, 0x3e, 0xd4, 0x3e];
        b.protobuf(&[&one_span()[..], &group].concat(), true)?;
        // One that does not end, and one that ends as another.
        b.protobuf(&[0xd3, 0x3e, 0x08, 1], false)?;
        b.protobuf(&[0xd3, 0x3e, 0xdc, 0x3e], false)
    }),
    both("C74", "-", "field number 0: 400", |b| b.protobuf(&[0x02, 0], false)),
    both("C75", "-", "varints of up to ten bytes, not eleven", |b| {
        let long = |bytes: usize| {
            let kind = [&[0x30][..], &vec![0x80; bytes - 1], &[0]].concat();
            field(1, &field(2, &field(2, &kind)))
        };
        b.protobuf(&long(5), true)?;
        b.protobuf(&long(10), true)?;
        b.protobuf(&long(11), false)
    }),
    both("C76", "-", "invalid UTF-8 in a string: the request is refused", |b| {
        b.protobuf(&field(1, &field(2, &field(2, &field(5, b"\xff\xfe")))), false)
    }),
    both("C77", "-", "lengths beyond the end, and a cut at every byte: 400", |b| {
        b.protobuf(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], false)?;
        let whole = one_span();
        for end in 1..whole.len() {
            b.protobuf(&whole[..end], false)?;
        }
        Ok(())
    }),
    both("C78", "-", "the same request twice is taken twice", |b| {
        for _ in 0..2 {
            b.posted("/v1/traces", &[PROTOBUF], one_span(), 200)?;
            b.call(&[], framed(false, &one_span()), 0)?;
        }
        Ok(())
    }),
    both("C79", "-", "older and newer peers interoperate", newer),
];

/// What an older client sends lacks what is new, and what a newer one sends has fields of which we
/// do not know, here in place of all that we do.
fn newer(b: &Bench) -> Checked {
    for bytes in [UNKNOWN.to_vec(), field(1, UNKNOWN), field(1, &field(2, &field(2, UNKNOWN)))] {
        b.protobuf(&bytes, true)?;
    }
    // Before 1.0 what is a scope group now stood in field 1000.
    b.protobuf(&field(1, &field(1000, &field(2, &field(5, b"old")))), true)
}

/// A length-delimited field.
fn field(number: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut out);
    prost::encoding::encode_varint(body.len() as u64, &mut out);
    [out, body.to_vec()].concat()
}
