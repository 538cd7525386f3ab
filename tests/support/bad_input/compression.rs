//! Compression, size and count.

use super::wire::{GZIP, JSON, PROTOBUF, call, framed, of_size, one_span, post};
use super::{Checked, Row, Target, row};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

pub const ROWS: &[Row] = &[
    row("B16", "a gzip bomb of 10 GiB", |t| {
        let bomb = Bytes::from(gzip(&vec![0; 64 << 20]).repeat(160));
        both(t, bomb, 413, 8)
    }),
    row("B16", "a gzip bomb of one member", |t| both(t, gzip(&vec![0; 200 << 20]), 413, 8)),
    row("B17", "Content-Encoding: gzip, gzip", |t| {
        let twice = gzip(&gzip(&one_span()));
        post(t, "/v1/traces", &[PROTOBUF, ("content-encoding", "gzip, gzip")], twice.clone(), 415)?;
        post(t, "/v1/traces", &[PROTOBUF, GZIP, GZIP], twice, 415)
    }),
    row("B18", "gzip that is none", |t| both(t, one_span(), 400, 3)),
    row("B18", "gzip that is cut off", |t| {
        let whole = gzip(&one_span());
        both(t, whole[..whole.len() - 1].to_vec(), 400, 3)
    }),
    row("B19", "gzip of several members", |t| {
        let whole = one_span();
        let (a, b) = whole.split_at(10);
        both(t, [gzip(a), gzip(b)].concat(), 200, 0)
    }),
    row("B20", "gzip of nothing", |t| {
        both(t, "", 400, 3)?;
        both(t, gzip(b""), 200, 0)
    }),
    row("B21", "the largest request, and one byte more", |t| {
        for (size, status, code) in [(64 << 20, 200, 0), ((64 << 20) + 1, 413, 8)] {
            let body = of_size(size);
            post(t, "/v1/traces", &[PROTOBUF], body.clone(), status)?;
            call(t, &[], framed(false, &body), code)?;
            both(t, gzip(&body), status, code)?;
        }
        Ok(())
    }),
    row("B21", "more bytes than were announced", |t| {
        let head = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                    Content-Type: application/x-protobuf\r\n";
        let declared = format!("{head}Content-Length: 99999999999\r\n\r\n");
        super::wire::raw(t, declared.as_bytes(), &[413])
    }),
    row("B22", "two million empty spans", |t| {
        let spans = [0x12, 0].repeat(2_000_000);
        let scope = field(2, &spans);
        let body = field(1, &scope);
        post(t, "/v1/traces", &[PROTOBUF], body.clone(), 413)?;
        call(t, &[], framed(false, &body), 8).map(drop)
    }),
    row("B23", "1.4 million empty spans in JSON", |t| {
        let spans = vec!["{}"; 1_400_000].join(",");
        let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
        post(t, "/v1/traces", &[JSON], text, 413)
    }),
    row("B24", "an attribute of 60 MiB", |t| {
        let body = of_size(60 << 20);
        post(t, "/v1/traces", &[PROTOBUF], body.clone(), 200)?;
        call(t, &[], framed(false, &body), 0).map(drop)
    }),
    row("B25", "a message of 2^31 bytes in ten", |t| {
        let body = [&[0x0a, 0x80, 0x80, 0x80, 0x80, 0x08][..], &[0; 4]].concat();
        post(t, "/v1/traces", &[PROTOBUF], body.clone(), 400)?;
        call(t, &[], framed(false, &body), 3).map(drop)
    }),
    row("B40", "200 MiB of white space", |t| {
        post(t, "/v1/traces", &[JSON, GZIP], gzip(&vec![b' '; 200 << 20]), 413)
    }),
];

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// A length-delimited field below 16.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(body.len() as u64, &mut out);
    [out, body.to_vec()].concat()
}

/// The same gzip body over HTTP and over gRPC.
fn both(target: &Target, body: impl Into<Bytes>, status: u16, code: u32) -> Checked {
    let body = body.into();
    post(target, "/v1/traces", &[PROTOBUF, GZIP], body.clone(), status)?;
    call(target, &[("grpc-encoding", "gzip")], framed(true, &body), code).map(drop)
}
