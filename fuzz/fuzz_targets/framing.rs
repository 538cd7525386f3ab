//! Any bytes as what travels around a message: compressed bodies, gRPC prefixes, statuses and their
//! details. Nothing exceeds its limit, and what is written reads as itself.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use spanloom::transport::compress::{Inflate, deflate, inflate, inflated_size};
use spanloom::transport::grpc::{PREFIX, Prefix, percent_decode, percent_encode};
use spanloom::transport::http::read_error_body;
use spanloom::transport::{Encoding, Media, Status};
use std::io::Read;

const ENCODINGS: [Encoding; 4] =
    [Encoding::Identity, Encoding::Gzip, Encoding::Zstd, Encoding::Deflate];

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let encoding = ENCODINGS[usize::from(*first) % 4];
    let limit = 1 << (usize::from(*first) / 4 % 21);
    read(encoding, body, limit);
    written(encoding, body);
    framed(body);
});

/// A body in this encoding, as it claims.
fn read(encoding: Encoding, body: &[u8], limit: usize) {
    assert!(inflated_size(encoding, body, limit) <= limit);
    match inflate(encoding, body, limit) {
        Ok(bytes) => {
            assert!(bytes.len() <= limit);
            if encoding == Encoding::Gzip {
                let mut theirs = vec![];
                let mut reader = flate2::bufread::MultiGzDecoder::new(body);
                reader.read_to_end(&mut theirs).expect("another decoder reads it too");
                assert_eq!(bytes, theirs);
            }
            // A limit of exactly its size is enough, and one below it is not.
            assert_eq!(inflate(encoding, body, bytes.len()), Ok(bytes.clone()));
            if let Some(less) = bytes.len().checked_sub(1) {
                assert_eq!(inflate(encoding, body, less), Err(Inflate::TooLarge { limit: less }));
            }
        }
        Err(Inflate::TooLarge { limit: named }) => assert_eq!(named, limit),
        Err(Inflate::Broken { .. }) => {}
    }
}

/// The bytes written in this encoding, in two segments.
fn written(encoding: Encoding, body: &[u8]) {
    let (a, b) = body.split_at(body.len() / 3);
    let deflated = deflate(encoding, &[Bytes::copy_from_slice(a), Bytes::copy_from_slice(b)]);
    if !deflated.is_empty() {
        assert_eq!(inflate(encoding, &deflated, body.len()).as_deref(), Ok(body));
    }
}

fn framed(body: &[u8]) {
    if let Some(prefix) = Prefix::parse(body) {
        assert_eq!(prefix.bytes()[..], body[..PREFIX]);
    }
    let status = Status::decode(body);
    assert_eq!(Status::decode(&status.encode()), status);
    let mut headers = http::HeaderMap::new();
    status.write(&mut headers);
    let read = Status::read(&headers).expect("it has a code");
    assert_eq!((read.code, read.retry_delay), (status.code, status.retry_delay));
    assert!(status.message.starts_with(&read.message));
    for media in [Media::Json, Media::Protobuf] {
        let _ = read_error_body(media, body);
    }
    let json = read_error_body(Media::Json, &status.encode_json());
    assert_eq!((json.code, json.message), (status.code, status.message));
    let text = String::from_utf8_lossy(body);
    assert_eq!(percent_decode(&percent_encode(&text)), text);
}
