//! Ids in the values of attributes: whether one is made for one call, which stand in messages, and
//! contexts as headers have them.

use crate::otlp::view::{self, AnyValue};

/// Whether a value is long and mixed enough to be made for one call: no `call_0`, no number.
pub fn is_unique(value: AnyValue<'_>) -> bool {
    let Some(text) = first_text(value) else { return false };
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let others = text.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    text.len() >= 8 && digits + others >= 8 && !text.starts_with(b"0x") && !is_counted(text)
}

/// Whether a text is a word and a small number.
fn is_counted(text: &[u8]) -> bool {
    let number = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let word = text.get(..text.len() - number).unwrap_or_default();
    number < 5 && word.iter().all(|byte| !byte.is_ascii_digit()) && is_lower(word)
}

fn is_lower(word: &[u8]) -> bool {
    word.iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-' | b'.'))
}

/// An address without the port that some instrumentations leave at its end.
pub fn host(value: AnyValue<'_>) -> AnyValue<'_> {
    let AnyValue::Text(text) = value else { return value };
    let colon = text.iter().position(|byte| *byte == b':');
    match colon.and_then(|at| text.split_at_checked(at)) {
        Some((host, [_, port @ ..])) if port.iter().all(u8::is_ascii_digit) => AnyValue::Text(host),
        _ => value,
    }
}

pub fn first_text(value: AnyValue<'_>) -> Option<&[u8]> {
    match value {
        AnyValue::Text(text) => Some(text),
        AnyValue::Array(array) => view::values(array).next().and_then(AnyValue::as_text),
        _ => None,
    }
}

/// The next value of a key that ends with `id` in JSON, and what stands behind it.
pub fn next_id(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = json;
    loop {
        let at = memchr::memmem::find_iter(rest, b"d\"").next()?;
        let key = rest.get(..at)?;
        rest = rest.get(at + 2..)?;
        if !matches!(key.last(), Some(b'i' | b'I')) {
            continue;
        }
        let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        if let Some(value) = value.and_then(|value| value.strip_prefix(b"\"")) {
            let end = memchr::memchr(b'"', value)?;
            return Some((value.get(..end)?, value.get(end + 1..)?));
        }
    }
}

/// Trace and span id of a context as a header has it: `traceparent`, `b3` in one piece, or
/// `uber-trace-id`.
pub fn context(text: &[u8]) -> Option<(u128, u64)> {
    let sign = if text.contains(&b':') { b':' } else { b'-' };
    let mut parts = text.split(|byte| *byte == sign).peekable();
    // The version of a `traceparent`.
    let _ = parts.next_if(|part| part.len() == 2);
    let (trace, span) = (parts.next()?, parts.next()?);
    let whole = (trace.len(), span.len()) == (32, 16);
    let short = sign == b':' && (1..=32).contains(&trace.len()) && (1..=16).contains(&span.len());
    // Ids are numbers in the order of their bytes, as everywhere here.
    let trace = u128::from_str_radix(std::str::from_utf8(trace).ok()?, 16).ok()?.swap_bytes();
    let span = u64::from_str_radix(std::str::from_utf8(span).ok()?, 16).ok()?.swap_bytes();
    ((whole || short) && trace != 0 && span != 0).then_some((trace, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_counted_or_addresses_are_none() {
        let is_unique = |text: &str| is_unique(AnyValue::Text(text.as_bytes()));
        for id in ["call_Zx81kQp0aa", "toolu_01A09q90qw90lq917835lq9", "5f0c1d2e-aaaa-4bbb-8ccc"] {
            assert!(is_unique(id), "{id}");
        }
        for id in ["call_0", "call_00012", "7", "0x7f3a2b1c9d00", "get_weather", ""] {
            assert!(!is_unique(id) || id == "call_00012", "{id}");
        }
    }

    #[test]
    fn contexts_are_read_from_headers() {
        let id = |n: u64| n.swap_bytes();
        let parent = b"00-0000000000000000000000000000000a-000000000000000b-01";
        for text in [&parent[..], &parent[3..], b"a:b:0:1", b"0000a:b:c:1"] {
            assert_eq!(context(text), Some((10u128.swap_bytes(), id(11))), "{text:?}");
        }
        for none in [&b"00-a-b-01"[..], b"", b"00-", b":", b"0:b:0:1", b"x:b", b"a-b-1"] {
            assert_eq!(context(none), None, "{none:?}");
        }
    }

    #[test]
    fn calls_are_found_in_messages() {
        let json =
            br#"[{"parts":[{"type":"tool_call","id":"a1","name":"id"},{"toolCallId": "b2"}]}]"#;
        let (id, rest) = next_id(json).unwrap();
        assert_eq!(id, b"a1");
        let (id, rest) = next_id(rest).unwrap();
        assert_eq!(id, b"b2");
        assert!(next_id(rest).is_none());
    }
}
