//! Payment cards and bank accounts: runs of digits (and capitals) with a checksum.
//!
//! Both are long runs of bytes that seldom stand together in prose and code, so that most of a text
//! is never looked at.

use super::{Class, Hit, before, is_word, run};
use std::ops::Range;

/// Bytes of the shortest card number; IBANs have 15 at least.
pub const SHORTEST: usize = 13;
/// Bytes of the longest IBAN with its spaces.
const LONGEST: usize = 42;

/// Countries of IBANs with the length of theirs.
const COUNTRIES: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22\
    DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26\
    IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23\
    PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22\
    VG24XK20YE30";

/// The stretches of `bytes` that are long enough for a card or an IBAN. None of them lies between
/// two bytes [`SHORTEST`] apart, so few bytes of a text are looked at.
pub fn stretches(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = SHORTEST - 1;
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at) {
            if !is_part(*byte) {
                at += SHORTEST;
                continue;
            }
            let ahead = bytes.get(..at).unwrap_or_default().iter().rev();
            let from = at - ahead.take_while(|byte| is_part(**byte)).count();
            let to = at + run(bytes, at, usize::MAX, is_part);
            at = to + SHORTEST;
            if to - from >= SHORTEST {
                return Some(from..to);
            }
        }
        None
    })
}

/// What cards and IBANs are made of.
#[inline]
fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_uppercase() || byte == b' ' || byte == b'-'
}

fn is_spaced_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b' ' || byte == b'-'
}

fn is_spaced_capital(byte: u8) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_uppercase() || byte == b' '
}

/// Whether one can begin in `stretch`, whatever stands before and behind it.
pub fn may_stand(bytes: &[u8], stretch: Range<usize>) -> bool {
    let mut at = stretch.start;
    while at < stretch.end {
        match bytes.get(at) {
            Some(b'2'..=b'6') => {
                let length = run(bytes, at, LONGEST, is_spaced_digit);
                let run = bytes.get(at..at + length).unwrap_or_default();
                if run.iter().filter(|byte| byte.is_ascii_digit()).count() >= 13 {
                    return true;
                }
                at += run.iter().take_while(|byte| byte.is_ascii_digit()).count().max(1);
            }
            Some(b'A'..=b'Z') if country(bytes, at).is_some() => {
                let length = run(bytes, at, LONGEST, is_spaced_capital);
                if length >= 15 {
                    return true;
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    false
}

/// Finds those that begin in `stretch`.
pub fn find(text: &[u8], stretch: Range<usize>, hits: &mut Vec<Hit>) {
    let mut at = stretch.start;
    while at < stretch.end {
        let Some(byte) = text.get(at) else { return };
        if before(text, at).is_some_and(is_word) {
            at += 1;
            continue;
        }
        let found = match byte {
            b'2'..=b'6' => card(text, at).map(|to| (to, Class::PaymentCard)),
            b'A'..=b'Z' => iban(text, at).map(|to| (to, Class::Iban)),
            _ => None,
        };
        at = match found {
            Some((to, class)) => {
                hits.push(Hit { from: at, to, class });
                to
            }
            None => at + 1,
        };
    }
}

/// The end of the card number that begins at `at`.
fn card(text: &[u8], at: usize) -> Option<usize> {
    // No part of a decimal number or of something longer that is written with signs between.
    if at >= 2 && matches!(before(text, at), Some(b'.' | b'-' | b':')) {
        let further = before(text, at - 1);
        if further.is_some_and(is_word) {
            return None;
        }
    }
    let mut digits = [0u8; 19];
    let (mut count, mut groups, mut here) = (0, [0usize; 6], at);
    let (mut group, mut separator) = (0, None);
    loop {
        let length = run(text, here, 20, |byte| byte.is_ascii_digit());
        let fits = digits.get_mut(count..count + length).zip(text.get(here..here + length));
        let Some((to, from)) = fits else { break };
        to.copy_from_slice(from);
        (count, here) = (count + length, here + length);
        if let Some(slot) = groups.get_mut(group) {
            *slot = length;
        }
        let next = text.get(here).copied().filter(|byte| matches!(byte, b' ' | b'-'));
        let goes_on = text.get(here + 1).is_some_and(u8::is_ascii_digit);
        if next.is_none() || !goes_on || separator.is_some_and(|s| Some(s) != next) || group == 4 {
            break;
        }
        // With four groups it is whole; what follows is another number.
        let is_whole = matches!(groups, [4, 4, 4, 4, 0, 0] | [4, 6, 5, 0, ..] | [4, 6, 4, 0, ..]);
        if is_whole && next == Some(b' ') {
            break;
        }
        separator = next;
        group += 1;
        here += 1;
    }
    let shape = matches!(
        groups,
        [13..=19, 0, ..]
            | [4, 4, 4, 4, 0, 0]
            | [4, 6, 5, 0, ..]
            | [4, 6, 4, 0, ..]
            | [4, 4, 4, 4, 3, 0]
    );
    let ends = match (text.get(here), text.get(here + 1)) {
        (Some(byte), _) if is_word(*byte) => false,
        (Some(b'.' | b'-'), Some(byte)) => !is_word(*byte),
        _ => true,
    };
    let digits = digits.get(..count)?;
    (shape && ends && is_issued(digits) && luhn(digits)).then_some(here)
}

/// Whether an issuer gives out numbers of this beginning and length.
fn is_issued(digits: &[u8]) -> bool {
    let head = |n: usize| {
        let digits = digits.iter().take(n);
        digits.fold(0u32, |sum, digit| sum * 10 + u32::from(digit.wrapping_sub(b'0')))
    };
    let (two, three, four) = (head(2), head(3), head(4));
    match digits.len() {
        13 => two / 10 == 4,
        14 => matches!(three, 300..=305 | 309) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37),
        16 => {
            matches!(two, 40..=49 | 51..=55 | 62 | 65)
                || matches!(three, 644..=649)
                || matches!(four, 2221..=2720 | 3528..=3589 | 6011)
        }
        17 | 18 => two == 62,
        19 => matches!(two, 40..=49 | 62 | 65) || matches!(four, 3528..=3589 | 6011),
        _ => false,
    }
}

fn luhn(digits: &[u8]) -> bool {
    let mut sum = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        let digit = u32::from(digit.wrapping_sub(b'0'));
        sum += match place % 2 {
            0 => digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        };
    }
    sum % 10 == 0
}

/// The length of an IBAN with the country and check digits that stand at `at`.
fn country(text: &[u8], at: usize) -> Option<usize> {
    let head: &[u8; 4] = text.get(at..)?.first_chunk()?;
    let [first, second, tens, ones] = *head;
    if !second.is_ascii_uppercase() || !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return None;
    }
    let entry = COUNTRIES.chunks(4).find(|entry| entry.starts_with(&[first, second]))?;
    let digit = |place: usize| entry.get(place).map(|byte| usize::from(byte.wrapping_sub(b'0')));
    Some(digit(2)? * 10 + digit(3)?)
}

/// The end of the IBAN that begins at `at`.
fn iban(text: &[u8], at: usize) -> Option<usize> {
    let length = country(text, at)?;
    let (mut count, mut here, mut rest, mut head) = (0, at, 0u32, [0u8; 4]);
    let add = |rest: u32, byte: u8| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte.wrapping_sub(b'A')) + 10) % 97,
    };
    while count < length {
        let byte = *text.get(here)?;
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' => {
                match head.get_mut(count) {
                    Some(slot) => *slot = byte,
                    None => rest = add(rest, byte),
                }
                count += 1;
            }
            b' ' if count % 4 == 0 => {}
            _ => return None,
        }
        here += 1;
    }
    let rest = head.iter().fold(rest, |rest, byte| add(rest, *byte));
    let ends = text.get(here).is_none_or(|byte| !is_word(*byte));
    (rest == 1 && ends).then_some(here)
}
