//! W3C Baggage: `key=value;property, key=value`, read tolerantly.
//!
//! What arrives comes from outside and may be anything. A bad member is skipped and counted and
//! the others stand; nothing is ever an error. Read are at most 64 members and 8192 bytes, which
//! is what every implementation must carry; a member that stands across the bound is not read in
//! part. Source: W3C Baggage, sections 3.3.1 and 3.3.2.

use crate::limits::{BAGGAGE_BYTES, BAGGAGE_MEMBERS};

/// What was not taken, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// No key, no `=`, or a value that does not decode.
    pub malformed: usize,
    /// Members behind a bound; 1 stands for all that is behind the bound of bytes.
    pub beyond: usize,
}

/// The members of `text`, in order: key and value as written, properties cut off. Duplicates are
/// all there.
pub fn members<'a>(text: &'a [u8], rejected: &mut Rejected) -> impl Iterator<Item = Member<'a>> {
    let mut rest = Some(text);
    if text.len() > BAGGAGE_BYTES {
        let head = text.get(..=BAGGAGE_BYTES).unwrap_or_default();
        let cut = head.iter().rposition(|byte| *byte == b',').unwrap_or(0);
        rest = text.get(..cut);
        rejected.beyond += 1;
    }
    let mut left = BAGGAGE_MEMBERS;
    std::iter::from_fn(move || {
        loop {
            let all = rest?;
            let (member, behind) = split(all, b',');
            rest = behind;
            if trim(member).is_empty() {
                continue;
            }
            let Some(fewer) = left.checked_sub(1) else {
                rejected.beyond += 1;
                continue;
            };
            left = fewer;
            match Member::parse(member) {
                Some(member) => return Some(member),
                None => rejected.malformed += 1,
            }
        }
    })
}

/// One `key=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    pub key: &'a [u8],
    /// Still percent-encoded.
    pub value: &'a [u8],
}

impl<'a> Member<'a> {
    fn parse(text: &'a [u8]) -> Option<Member<'a>> {
        let (pair, _properties) = split(text, b';');
        let (key, value) = split(pair, b'=');
        let (key, value) = (trim(key), trim(value?));
        (!key.is_empty() && key.iter().copied().all(is_token)).then_some(Member { key, value })
    }

    /// Appends the value, decoded, to `out`: UTF-8, with U+FFFD for what is none. False, with
    /// nothing appended, if an escape is not one or the value holds control characters.
    pub fn decode(&self, plus_as_space: bool, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'%' | b'+');
        if self.value.iter().all(is_plain) {
            out.extend_from_slice(self.value);
            return true;
        }
        let mut rest = self.value;
        while let Some((byte, mut behind)) = rest.split_first() {
            let byte = match byte {
                b'%' => {
                    let [high, low, after @ ..] = behind else {
                        out.truncate(start);
                        return false;
                    };
                    behind = after;
                    match (hex(*high), hex(*low)) {
                        (Some(high), Some(low)) => high << 4 | low,
                        // No escape; refused below like the control character that it is not.
                        _ => 0,
                    }
                }
                b'+' if plus_as_space => b' ',
                byte => *byte,
            };
            if byte.is_ascii_control() {
                out.truncate(start);
                return false;
            }
            out.push(byte);
            rest = behind;
        }
        let decoded = out.get(start..).unwrap_or_default();
        if std::str::from_utf8(decoded).is_err() {
            let readable = String::from_utf8_lossy(decoded).into_owned();
            out.truncate(start);
            out.extend_from_slice(readable.as_bytes());
        }
        true
    }
}

/// What stands before the first `at`, and what behind it if there is one.
fn split(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let place = memchr::memchr(at, text);
    let parts = place.and_then(|place| Some((text.get(..place)?, text.get(place + 1..)?)));
    parts.map_or((text, None), |(before, behind)| (before, Some(behind)))
}

/// Without the optional white space of HTTP around it.
fn trim(text: &[u8]) -> &[u8] {
    let mut text = text;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// A character of an RFC 7230 token.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|n| n as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], plus: bool) -> (Vec<(String, String)>, Rejected) {
        let (mut rejected, mut undecoded) = (Rejected::default(), 0);
        let mut read = vec![];
        for member in members(text, &mut rejected) {
            let mut value = vec![];
            match member.decode(plus, &mut value) {
                true => read.push((
                    String::from_utf8_lossy(member.key).into_owned(),
                    String::from_utf8(value).expect("decoded values are UTF-8"),
                )),
                false => undecoded += 1,
            }
        }
        rejected.malformed += undecoded;
        (read, rejected)
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)], malformed: usize) {
        let (found, rejected) = read(text.as_bytes(), false);
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, expected, "{text:?}");
        assert_eq!(rejected, Rejected { malformed, beyond: 0 }, "{text:?}");
    }

    #[test]
    fn members_are_read_and_bad_ones_skipped() {
        check("", &[], 0);
        check(" , ,", &[], 0);
        check("a=1", &[("a", "1")], 0);
        check(" user.id = alice ;p=1;q , b=2", &[("user.id", "alice"), ("b", "2")], 0);
        check("a=x=y", &[("a", "x=y")], 0);
        check("a=", &[("a", "")], 0);
        check("a=1,a=2", &[("a", "1"), ("a", "2")], 0);
        check("a=b%20c%2C%e2%82%ac", &[("a", "b c,€")], 0);
        check("a=%ff", &[("a", "\u{fffd}")], 0);
        check("a=1+2", &[("a", "1+2")], 0);
        check("a", &[], 1);
        check("=1", &[], 1);
        check("a b=1,c=2", &[("c", "2")], 1);
        check("a=%,b=%2,c=%zz,d=%00,e=%0a,f=1", &[("f", "1")], 5);
        check("a=\u{1},b=1", &[("b", "1")], 1);
        assert_eq!(read(b"a=1+2", true).0, [("a".into(), "1 2".into())]);
    }

    #[test]
    fn more_than_anyone_must_carry_is_not_read() {
        let many: Vec<String> = (0..1000).map(|n| format!("k{n}=v")).collect();
        let (found, rejected) = read(many.join(",").as_bytes(), false);
        assert_eq!(found.len(), BAGGAGE_MEMBERS);
        assert_eq!(rejected, Rejected { malformed: 0, beyond: 1000 - BAGGAGE_MEMBERS });

        let long = format!("a=1,b={},c=2", "x".repeat(1 << 20));
        let (found, rejected) = read(long.as_bytes(), false);
        assert_eq!(found, [("a".into(), "1".into())]);
        assert_eq!(rejected, Rejected { malformed: 0, beyond: 1 });
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_value_is_text(text: Vec<u8>, plus: bool) {
            let (found, _) = read(&text, plus);
            prop_assert!(found.len() <= BAGGAGE_MEMBERS);
        }

        #[test]
        fn what_is_encoded_comes_back(value in "\\PC{0,40}") {
            let encoded: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
            let (found, _) = read(format!("k={encoded};p=1").as_bytes(), false);
            prop_assert_eq!(found, [("k".to_owned(), value)]);
        }
    }
}
