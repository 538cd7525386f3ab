//! Numbers in JSON, exactly: 64-bit integers do not pass through a double.

use super::token::{digits, is_number};

/// An integer without a sign, in any of JSON's forms: `10`, `1e1`, `10.0`. `None` if `text` is no
/// number, not integral or out of range.
pub fn unsigned(text: &[u8]) -> Option<u64> {
    match integer(text)? {
        (true, 1..) => None,
        (_, magnitude) => Some(magnitude),
    }
}

/// An integer with a sign; as [`unsigned`].
pub fn signed(text: &[u8]) -> Option<i64> {
    match integer(text)? {
        (false, magnitude) => i64::try_from(magnitude).ok(),
        (true, magnitude) => 0i64.checked_sub_unsigned(magnitude),
    }
}

/// A double: a number within range, or one of proto3's three words.
pub fn double(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        _ if !is_number(text) => None,
        _ => std::str::from_utf8(text).ok()?.parse().ok().filter(|n: &f64| n.is_finite()),
    }
}

/// Whether there is a minus, and the magnitude.
fn integer(text: &[u8]) -> Option<(bool, u64)> {
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    let minus = magnitude.len() < text.len();
    let (whole, rest) = digits(magnitude);
    if rest.is_empty() && (whole.len() == 1 || (whole.len() < 20 && !whole.starts_with(b"0"))) {
        // The usual form: 19 digits cannot overflow.
        let value = whole.iter().fold(0u64, |n, digit| n * 10 + u64::from(digit - b'0'));
        return (!whole.is_empty()).then_some((minus, value));
    }
    if !is_number(text) {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix(b".") {
        Some(rest) => digits(rest),
        None => (&[][..], rest),
    };
    let exponent = decimal_exponent(rest)?;
    // The value is the digits times ten to the power of the scale.
    let mut scale = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let all = whole.iter().chain(fraction);
    let zeros = all.clone().rev().take_while(|digit| **digit == b'0').count();
    let significant = (whole.len() + fraction.len()).checked_sub(zeros).filter(|n| *n > 0);
    let Some(significant) = significant else {
        return Some((minus, 0));
    };
    scale = scale.checked_add(i64::try_from(zeros).ok()?)?;
    let mut value = 0u64;
    for digit in all.take(significant) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    let factor = 10u64.checked_pow(u32::try_from(scale).ok()?)?;
    Some((minus, value.checked_mul(factor)?))
}

/// The number behind `e`; 0 if there is none. `None` if it is too large to count with.
fn decimal_exponent(text: &[u8]) -> Option<i64> {
    match text.split_first() {
        None => Some(0),
        Some((_, exponent)) => {
            let exponent = std::str::from_utf8(exponent).ok()?;
            exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()
        }
    }
}
