//! What a backend's answer says: partial success, status texts, and nothing that is secret.

use super::Outcome;
use crate::config::Secret;
use crate::otlp::wire::{Field, Message};
use crate::transport::Media;
use crate::verdict::code;
use serde_json::Value;

/// Longest text of a backend that is repeated in a reason, in bytes.
const TEXT: usize = 300;

/// The outcome of a request that the backend took: `body` is an `Export<Signal>ServiceResponse`.
/// It may hold garbage; then the request was taken all the same, and the message says so.
pub fn taken(media: Media, body: &[u8], secrets: &[Secret]) -> Outcome {
    let partial = match media {
        Media::Json => partial_of_json(body),
        _ => partial_of_proto(body),
    };
    let (rejected, message) = partial.unwrap_or_else(|| {
        let text = "the answer is not one of OTLP; is there an OTLP backend at the endpoint?";
        (0, text.to_owned())
    });
    Outcome::Delivered { rejected, message: clean(&message, secrets) }
}

/// The rejected count and the message; `None` if the bytes are not a message.
fn partial_of_proto(body: &[u8]) -> Option<(u64, String)> {
    let (mut rejected, mut message) = (0, String::new());
    for field in whole(body)? {
        let Some(partial) = field.message().filter(|_| field.number == 1) else { continue };
        for part in whole(partial.bytes)? {
            match part.number {
                1 => rejected = positive(part.number_value() as i64),
                2 => message = String::from_utf8_lossy(part.bytes()).into_owned(),
                _ => {}
            }
        }
    }
    Some((rejected, message))
}

/// The fields of `bytes`, if they make up all of it.
fn whole(bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    let fields: Vec<_> = Message::root(bytes).fields().collect();
    (fields.last().map_or(0, |last| last.end) == bytes.len()).then_some(fields)
}

fn partial_of_json(body: &[u8]) -> Option<(u64, String)> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let answer = answer.as_object()?;
    let Some(partial) = answer.get("partialSuccess").and_then(Value::as_object) else {
        return Some((0, String::new()));
    };
    let rejected = partial.iter().find(|(key, _)| key.starts_with("rejected"));
    let rejected = rejected.and_then(|(_, count)| match count {
        Value::String(count) => count.parse().ok(),
        count => count.as_i64(),
    });
    let message = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    Some((positive(rejected.unwrap_or_default()), message.to_owned()))
}

fn positive(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// A backend's text for a log line: one line, not long, without control characters, and without
/// the values of our headers, which some backends repeat.
pub fn clean(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        // A value such as `1` is no secret, and replacing it would garble the text.
        if secret.expose().len() >= 4 {
            text = text.replace(secret.expose(), crate::config::secret::REDACTED);
        }
    }
    let end = text.floor_char_boundary(TEXT);
    let cut = text.get(..end).unwrap_or_default();
    let line = cut.split(|c: char| c.is_control()).filter(|part| !part.is_empty());
    line.collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Whether RESOURCE_EXHAUSTED with this message is about the size of the request, which parts of
/// it would cure, and not about a quota, which they would not.
pub fn is_about_size(status: u32, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let words = ["larg", "too big", "message size", "max size", "body size", "length limit"];
    status == code::RESOURCE_EXHAUSTED && words.iter().any(|word| message.contains(word))
}

/// The name of a gRPC code, as people know it.
pub fn code_name(status: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    match NAMES.get(status as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("code {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::wire::{put_bytes_field, put_message_field, put_varint_field};

    fn partial(rejected: i64, text: &str) -> Vec<u8> {
        let mut out = vec![];
        put_message_field(&mut out, 1, |out| {
            put_varint_field(out, 1, rejected as u64);
            put_bytes_field(out, 2, text.as_bytes());
        });
        out
    }

    #[track_caller]
    fn check(media: Media, body: &[u8], rejected: u64, message: &str) {
        let expected = Outcome::Delivered { rejected, message: message.to_owned() };
        assert_eq!(taken(media, body, &[]), expected, "{}", String::from_utf8_lossy(body));
    }

    #[test]
    fn answers_to_what_was_taken() {
        let garbage = "the answer is not one of OTLP; is there an OTLP backend at the endpoint?";
        check(Media::Protobuf, b"", 0, "");
        check(Media::Protobuf, &partial(3, "too old"), 3, "too old");
        check(Media::Protobuf, &partial(0, "use TLS"), 0, "use TLS");
        check(Media::Protobuf, &partial(-1, ""), 0, "");
        check(Media::Protobuf, b"<html>", 0, garbage);
        check(Media::Protobuf, &[0x0a, 0x02, 0xff, 0xff], 0, garbage);
        check(Media::Json, b"{}", 0, "");
        check(Media::Json, b"<html>", 0, garbage);
        let json = br#"{"partialSuccess":{"rejectedLogRecords":"4","errorMessage":"old"}}"#;
        check(Media::Json, json, 4, "old");
        check(Media::Json, br#"{"partialSuccess":{"rejectedSpans":2}}"#, 2, "");
        check(Media::Json, br#"{"partialSuccess":null}"#, 0, "");
    }

    #[test]
    fn a_text_of_the_backend_is_one_line_without_our_secrets() {
        let secrets = [Secret::new("Bearer abcdef"), Secret::new("1")];
        let text = "line 1\r\nkey Bearer abcdef\u{1b}[31m";
        assert_eq!(clean(text, &secrets), "line 1 key [REDACTED] [31m");
        assert_eq!(clean(&"ä".repeat(400), &[]).len(), TEXT);
    }

    #[test]
    fn only_a_message_about_size_makes_resource_exhausted_a_matter_of_size() {
        let size = "grpc: received message larger than max (5242880 vs. 4194304)";
        assert!(is_about_size(code::RESOURCE_EXHAUSTED, size));
        assert!(!is_about_size(code::RESOURCE_EXHAUSTED, "quota exceeded"));
        assert!(!is_about_size(code::INTERNAL, size));
    }
}
