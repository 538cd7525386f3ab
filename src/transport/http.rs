//! What OTLP/HTTP says in headers and in the bodies of errors.

use super::grpc::Status;
use super::media::Media;
use crate::moment::Moment;
use std::time::{Duration, SystemTime};

/// The delay that `Retry-After` names: seconds, also with a fraction, or a date. `None` if it is
/// neither. A date that has passed is no delay.
pub fn retry_after(value: &str, now: Moment) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(now.unix_nanos);
    Some(date.duration_since(now).unwrap_or_default())
}

/// The body of an error: `status` in the encoding of the request, `media`.
pub fn error_body(media: Media, status: &Status) -> Vec<u8> {
    match media {
        Media::Json => status.encode_json(),
        _ => status.encode(),
    }
}

/// The status in the body of an error, in either encoding. What cannot be read is left empty.
pub fn read_error_body(media: Media, body: &[u8]) -> Status {
    if media != Media::Json {
        return Status::decode(body);
    }
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let code = json.get("code").and_then(serde_json::Value::as_u64).unwrap_or_default();
    let message = json.get("message").and_then(serde_json::Value::as_str).unwrap_or_default();
    let code = u32::try_from(code).unwrap_or_default();
    Status { code, message: message.to_owned(), retry_delay: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::code;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06 08:49:37 UTC.
        let now = Moment { unix_nanos: 784_111_777_000_000_000, ..Moment::default() };
        let cases = [
            ("1", Some(1000)),
            (" 2 ", Some(2000)),
            ("0.5", Some(500)),
            ("Sun, 06 Nov 1994 08:49:40 GMT", Some(3000)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
            ("-1", None),
            ("NaN", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
        ];
        for (value, millis) in cases {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(retry_after(value, now), expected, "{value}");
        }
    }

    #[test]
    fn an_error_body_is_a_status_in_the_encoding_of_the_request() {
        let message = "a \"quoted\" text".to_owned();
        let status = Status { code: code::INVALID_ARGUMENT, message, retry_delay: None };
        for media in [Media::Json, Media::Protobuf, Media::Other] {
            let body = error_body(media, &status);
            assert_eq!(read_error_body(media, &body), status);
        }
        assert_eq!(error_body(Media::Json, &status).first(), Some(&b'{'));
        assert_eq!(read_error_body(Media::Json, b"<html>"), Status::default());
    }
}
