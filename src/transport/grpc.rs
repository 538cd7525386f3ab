//! Unary gRPC by hand: the message prefix, the status and its details in headers.
//!
//! Shapes: a message is one byte (1 if compressed), four bytes of length (big endian), and the
//! bytes. `google.rpc.Status` is `{code = 1, message = 2, details = 3}`, a detail is
//! `google.protobuf.Any` `{type_url = 1, value = 2}`; the details that matter here are
//! `RetryInfo {retry_delay = 1}`, a `Duration {seconds = 1, nanos = 2}`, and, written only,
//! `BadRequest {field_violations = 1}` with `{field = 1, description = 2}`.

use crate::otlp::wire::{self, Field, put_bytes_field, put_message_field, put_varint_field};
use crate::verdict::code;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// Bytes before each message.
pub const PREFIX: usize = 5;

pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// Where Python looks for the delay.
const RETRY_INFO: HeaderName = HeaderName::from_static("google.rpc.retryinfo-bin");
/// Where gRPC's own retries look for it.
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

const RETRY_INFO_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST_TYPE: &str = "type.googleapis.com/google.rpc.BadRequest";

/// Longest status text that is sent. Proxies cap headers at 8 KiB.
const MESSAGE_BYTES: usize = 2048;

/// base64 as gRPC has it: written without padding, read with and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What stands before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub compressed: bool,
    /// Bytes of the message as sent.
    pub len: usize,
}

impl Prefix {
    /// Reads the first five bytes of `bytes`. `None` if there are fewer, or if the first is
    /// neither 0 nor 1.
    pub fn parse(bytes: &[u8]) -> Option<Prefix> {
        let [flag, len @ ..] = *bytes.first_chunk::<PREFIX>()?;
        let len = usize::try_from(u32::from_be_bytes(len)).ok()?;
        (flag <= 1).then_some(Prefix { compressed: flag == 1, len })
    }

    /// The five bytes. Messages are far below 4 GiB: the limits see to it.
    pub fn bytes(self) -> [u8; PREFIX] {
        let [a, b, c, d] = u32::try_from(self.len).unwrap_or(u32::MAX).to_be_bytes();
        [u8::from(self.compressed), a, b, c, d]
    }
}

/// A `google.rpc.Status`, with the delay of its `RetryInfo` if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// One of [`code`].
    pub code: u32,
    pub message: String,
    pub retry_delay: Option<Duration>,
}

impl Status {
    /// As protobuf.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![];
        if self.code != 0 {
            put_varint_field(&mut out, 1, u64::from(self.code));
        }
        if !self.message.is_empty() {
            put_bytes_field(&mut out, 2, self.message.as_bytes());
        }
        let mut detail = |name: &str, value: &[u8]| {
            put_message_field(&mut out, 3, |out| {
                put_bytes_field(out, 1, name.as_bytes());
                put_bytes_field(out, 2, value);
            });
        };
        if let Some(delay) = self.retry_delay {
            detail(RETRY_INFO_TYPE, &retry_info(delay));
        }
        if self.code == code::INVALID_ARGUMENT {
            detail(BAD_REQUEST_TYPE, &bad_request(&self.message));
        }
        out
    }

    /// Reads what it can of `bytes`, which come from the other side: what is broken is skipped.
    pub fn decode(bytes: &[u8]) -> Status {
        let mut status = Status::default();
        for field in wire::Message::root(bytes).fields() {
            match field.number {
                1 => status.code = u32::try_from(field.number_value()).unwrap_or(code::UNKNOWN),
                2 => status.message = String::from_utf8_lossy(field.bytes()).into_owned(),
                3 => status.retry_delay = status.retry_delay.or(delay_of_detail(field)),
                _ => {}
            }
        }
        status
    }

    /// As JSON, the way protobuf maps it.
    pub fn encode_json(&self) -> Vec<u8> {
        let mut out = serde_json::json!({"code": self.code, "message": self.message});
        let mut details = vec![];
        if let Some(delay) = self.retry_delay {
            let delay = format!("{}s", delay.as_secs_f64());
            details.push(serde_json::json!({"@type": RETRY_INFO_TYPE, "retryDelay": delay}));
        }
        if self.code == code::INVALID_ARGUMENT {
            let violations = serde_json::json!([{"description": self.message}]);
            let detail =
                serde_json::json!({"@type": BAD_REQUEST_TYPE, "fieldViolations": violations});
            details.push(detail);
        }
        if let Some(map) = out.as_object_mut().filter(|_| !details.is_empty()) {
            map.insert("details".to_owned(), details.into());
        }
        out.to_string().into_bytes()
    }

    /// Puts the status into trailers, or into the headers of an answer that has only those. With
    /// a delay all three headers that carry it are written, since clients read one each.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(STATUS, HeaderValue::from(self.code));
        let message = cut(&self.message, MESSAGE_BYTES);
        insert(headers, MESSAGE, percent_encode(message));
        if let Some(delay) = self.retry_delay {
            let status = Status { message: message.to_owned(), ..self.clone() };
            insert(headers, DETAILS, BASE64.encode(status.encode()));
            insert(headers, RETRY_INFO, BASE64.encode(retry_info(delay)));
            let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            headers.insert(PUSHBACK, HeaderValue::from(millis));
        }
    }

    /// The status in trailers (or headers, where an answer has only those). `None` without
    /// `grpc-status`. The delay is that of `RetryInfo` in whichever header carries it; the
    /// pushback header alone is none, since OTLP ties retries to `RetryInfo`.
    pub fn read(headers: &HeaderMap) -> Option<Status> {
        let text = |name: &HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
        let code = text(&STATUS)?.trim().parse().unwrap_or(code::UNKNOWN);
        let message = text(&MESSAGE).map(percent_decode).unwrap_or_default();
        let binary = |name: &HeaderName| text(name).and_then(decode_binary);
        let details = binary(&DETAILS).map(|bytes| Status::decode(&bytes));
        let delay = details.and_then(|status| status.retry_delay);
        let elsewhere = || binary(&RETRY_INFO).and_then(|bytes| delay_of(&bytes));
        Some(Status { code, message, retry_delay: delay.or_else(elsewhere) })
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// The longest beginning of `text` of at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes);
    text.get(..end).unwrap_or_default()
}

/// `BadRequest` about all of the request: what is wrong is found in its bytes, which have no field
/// by name.
fn bad_request(description: &str) -> Vec<u8> {
    let mut out = vec![];
    put_message_field(&mut out, 1, |out| put_bytes_field(out, 2, description.as_bytes()));
    out
}

/// `RetryInfo` with this delay.
fn retry_info(delay: Duration) -> Vec<u8> {
    let mut out = vec![];
    put_message_field(&mut out, 1, |out| {
        if delay.as_secs() != 0 {
            put_varint_field(out, 1, delay.as_secs());
        }
        if delay.subsec_nanos() != 0 {
            put_varint_field(out, 2, u64::from(delay.subsec_nanos()));
        }
    });
    out
}

fn delay_of_detail(field: Field<'_>) -> Option<Duration> {
    let any = field.message()?;
    let name = any.field(1)?.bytes();
    let is_retry_info = name.ends_with(b"/google.rpc.RetryInfo");
    is_retry_info.then(|| any.field(2).map_or(&[][..], Field::bytes)).and_then(delay_of)
}

/// The delay of `RetryInfo`; zero if it names none, `None` if it is negative.
fn delay_of(retry_info: &[u8]) -> Option<Duration> {
    let info = wire::Message::root(retry_info);
    let Some(delay) = info.field(1).and_then(Field::message) else {
        return Some(Duration::ZERO);
    };
    let number = |k: u32| delay.field(k).map(Field::number_value).unwrap_or_default() as i64;
    let (seconds, nanos) = (u64::try_from(number(1)).ok()?, u32::try_from(number(2)).ok()?);
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into())))
}

/// The bytes of a header whose name ends in `-bin`.
pub fn decode_binary(value: &str) -> Option<Vec<u8>> {
    BASE64.decode(value.trim()).ok()
}

/// `text` as `grpc-message` wants it: printable ASCII, `%XX` for the rest and for `%`.
pub fn percent_encode(text: &str) -> String {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |byte: u8| HEX.get(usize::from(byte & 15)).copied().unwrap_or('0');
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.extend(['%', digit(byte >> 4), digit(byte)]),
        }
    }
    out
}

/// The text in a `grpc-message`. What is not a valid escape stands for itself.
pub fn percent_decode(value: &str) -> String {
    let hex = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
    let mut out = vec![];
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: [Option<Duration>; 4] = [
        None,
        Some(Duration::ZERO),
        Some(Duration::from_secs(1)),
        Some(Duration::from_millis(2_500)),
    ];

    fn status(message: &str, retry_delay: Option<Duration>) -> Status {
        Status { code: code::UNAVAILABLE, message: message.to_owned(), retry_delay }
    }

    #[test]
    fn a_prefix_comes_back_and_other_flags_are_refused() {
        for len in [0usize, 1, 300, 64 << 20] {
            for compressed in [false, true] {
                let prefix = Prefix { compressed, len };
                assert_eq!(Prefix::parse(&prefix.bytes()), Some(prefix));
            }
        }
        assert_eq!(Prefix::parse(&[2, 0, 0, 0, 0]), None);
        assert_eq!(Prefix::parse(&[0, 0, 0, 0]), None);
    }

    #[test]
    fn a_status_survives_protobuf_and_headers() {
        for delay in DELAYS {
            for message in ["", "busy", "100 %: Größe\n"] {
                let status = status(message, delay);
                assert_eq!(Status::decode(&status.encode()), status);
                let mut headers = HeaderMap::new();
                status.write(&mut headers);
                assert_eq!(Status::read(&headers), Some(status));
            }
        }
    }

    #[test]
    fn the_delay_stands_in_all_three_headers() {
        let mut headers = HeaderMap::new();
        status("busy", Some(Duration::from_millis(1500))).write(&mut headers);
        assert_eq!(headers.get("grpc-retry-pushback-ms").unwrap(), "1500");
        for kept in [&DETAILS, &RETRY_INFO] {
            let mut headers = headers.clone();
            for name in [&DETAILS, &RETRY_INFO, &PUSHBACK] {
                if name != kept {
                    headers.remove(name);
                }
            }
            let delay = Status::read(&headers).unwrap().retry_delay;
            assert_eq!(delay, Some(Duration::from_millis(1500)), "{kept}");
        }
        let mut headers = HeaderMap::new();
        status("too large", None).write(&mut headers);
        assert_eq!(headers.len(), 2, "{headers:?}");
    }

    #[test]
    fn details_are_read_with_and_without_padding() {
        let bytes = status("busy!", Some(Duration::from_secs(1))).encode();
        for value in [BASE64.encode(&bytes), base64::prelude::BASE64_STANDARD.encode(&bytes)] {
            assert_eq!(decode_binary(&value), Some(bytes.clone()), "{value}");
        }
        assert_eq!(decode_binary("not base64!"), None);
    }

    #[test]
    fn a_hostile_status_is_read_as_far_as_it_goes() {
        let negative = {
            let mut out = vec![];
            put_message_field(&mut out, 1, |out| put_varint_field(out, 1, u64::MAX));
            out
        };
        assert_eq!(delay_of(&negative), None);
        assert_eq!(Status::decode(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]), Status::default());
        let long = status(&"é".repeat(5000), Some(Duration::ZERO));
        let mut headers = HeaderMap::new();
        long.write(&mut headers);
        let bytes: usize = headers.values().map(HeaderValue::len).sum();
        assert!(bytes < 12 << 10, "{bytes}");
    }

    #[test]
    fn messages_are_percent_encoded_and_broken_escapes_stand() {
        assert_eq!(percent_encode("50% of 5\u{20ac}\n"), "50%25 of 5%E2%82%AC%0A");
        for (value, text) in [("50%25 of%0a", "50% of\n"), ("5% %zz %4", "5% %zz %4")] {
            assert_eq!(percent_decode(value), text);
        }
    }
}
