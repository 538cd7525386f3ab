//! From when to when a certificate is valid, read from its DER: the one thing about a certificate
//! that its owner must be told and that rustls tells only those who connect.

/// Whether a certificate is valid at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    Valid,
    Expired,
    NotYet,
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The validity at `now`, in seconds of Unix. What cannot be read is taken for valid: whoever
/// connects decides.
pub(super) fn at(certificate: &[u8], now: u64) -> Validity {
    match bounds(certificate) {
        Some((_, end)) if now > end => Validity::Expired,
        Some((start, _)) if now < start => Validity::NotYet,
        _ => Validity::Valid,
    }
}

/// `notBefore` and `notAfter` (RFC 5280, 4.1.2.5) in seconds of Unix.
fn bounds(certificate: &[u8]) -> Option<(u64, u64)> {
    let (certificate, _) = tagged(certificate, SEQUENCE)?;
    let (mut rest, _) = tagged(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (validity, _) = tagged(rest, SEQUENCE)?;
    let (tag, start, rest) = element(validity)?;
    let (end_tag, end, _) = element(rest)?;
    Some((time(tag, start)?, time(end_tag, end)?))
}

/// Tag, content and what follows of the first element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (len, rest) = match first {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            if bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// Content and what follows of the first element, if it has this tag.
fn tagged(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// A time of X.509 in seconds of Unix: `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn time(tag: u8, text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: u64 = digits.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits.get(2..)?)
        }
        GENERALIZED_TIME => (digits.get(..4)?.parse().ok()?, digits.get(4..)?),
        _ => return None,
    };
    let part = |k: usize| rest.get(2 * k..2 * k + 2)?.parse::<u64>().ok();
    let (month, day) = (part(0)?, part(1)?);
    let seconds = part(2)? * 3600 + part(3)? * 60 + part(4)?;
    // Days since 1970 of the proleptic Gregorian calendar, with years that begin in March.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    Some(days.saturating_sub(719_469) * 86_400 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_certificates_are_read() {
        let cases = [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "000229235959Z", Some(951_868_799)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20261121001500Z", Some(1_795_220_100)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "2611Z", None),
            (UTC_TIME, "26112100150", None),
            (0x0c, "261121001500Z", None),
        ];
        for (tag, text, expected) in cases {
            assert_eq!(time(tag, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_left_to_others() {
        for der in [&b""[..], b"\x30", b"\x30\x82", b"\x30\x80", b"\x30\xff\xff", &[0x30; 50]] {
            assert_eq!(at(der, 0), Validity::Valid, "{der:?}");
        }
    }
}
