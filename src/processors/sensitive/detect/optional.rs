//! What is found only if asked for, because ids and versions look like it: phone numbers, US
//! social security numbers, IP addresses, random words.

use super::{Class, Hit, before, is_word, run};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Shortest random word, and its bits of entropy per byte.
const RANDOM: usize = 20;
const ENTROPY: f64 = 3.5;

/// Finds those that are `on`.
pub fn find(text: &[u8], on: impl Fn(Class) -> bool, hits: &mut Vec<Hit>) {
    let (numbers, ip) = (on(Class::Phone) || on(Class::Ssn), on(Class::Ip));
    let mut at = 0;
    while at < text.len() {
        let starts = text.get(at).is_some_and(|byte| is_word(*byte) || b"+(:".contains(byte));
        if !starts || before(text, at).is_some_and(|byte| is_word(byte) || byte == b'.') {
            at += 1;
            continue;
        }
        let found = ssn(text, at).filter(|_| numbers && on(Class::Ssn));
        let found = found.map(|to| (to, Class::Ssn));
        let found = found.or_else(|| Some((phone(text, at)?, Class::Phone)));
        let found = found.filter(|(_, class)| on(*class));
        let found = found.or_else(|| Some((address(text, at).filter(|_| ip)?, Class::Ip)));
        let found = found.or_else(|| Some((random(text, at)?, Class::HighEntropy)));
        let length = run(text, at, text.len(), is_word).max(1);
        at = match found.filter(|(_, class)| on(*class)) {
            Some((to, class)) => {
                hits.push(Hit { from: at, to, class });
                to
            }
            None => at + length,
        };
    }
}

/// Three, two and four digits with hyphens; some numbers are never given out.
fn ssn(text: &[u8], at: usize) -> Option<usize> {
    let [a, b, c, b'-', d, e, b'-', f, g, h, i] = text.get(at..)?.first_chunk::<11>()? else {
        return None;
    };
    let digits = [a, b, c, d, e, f, g, h, i];
    let number = |digits: &[&u8]| digits.iter().fold(0, |sum, d| sum * 10 + u32::from(**d) - 48);
    if !digits.iter().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let area = number(&[a, b, c]);
    let given = !matches!(area, 0 | 666 | 900..) && number(&[d, e]) > 0;
    let ends = text.get(at + 11).is_none_or(|byte| !is_word(*byte) && *byte != b'-');
    (given && number(&[f, g, h, i]) > 0 && ends).then_some(at + 11)
}

/// `+` and 8 to 15 digits, or ten digits in the American form, with the usual signs between.
fn phone(text: &[u8], at: usize) -> Option<usize> {
    let signs = |byte: u8| byte.is_ascii_digit() || b"+() -.".contains(&byte);
    let length = run(text, at, 24, signs);
    let run = text.get(at..at + length)?;
    let end = run.iter().rposition(u8::is_ascii_digit)? + 1;
    let run = run.get(..end)?;
    let digits = run.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_international = run.first() == Some(&b'+') && (8..=15).contains(&digits);
    let groups = || run.split(|byte| !byte.is_ascii_digit()).filter(|group| !group.is_empty());
    let is_american = digits == 10 && groups().map(<[u8]>::len).eq([3, 3, 4]);
    let ends = text.get(at + end).is_none_or(|byte| !is_word(*byte));
    ((is_international || is_american) && ends).then_some(at + end)
}

/// An address, except the loopback and unspecified ones; `::` alone is none.
fn address(text: &[u8], at: usize) -> Option<usize> {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    let length = run(text, at, 45, is_part);
    let run = text.get(at..at + length)?;
    let end = run.iter().rposition(u8::is_ascii_hexdigit)? + 1;
    let word = std::str::from_utf8(run.get(..end)?).ok()?;
    // host:port
    let bare = word.rsplit_once(':').map_or(word, |(host, _)| host);
    let v4 = [word, bare].into_iter().find_map(|w| Some((w, w.parse::<Ipv4Addr>().ok()?)));
    let v4 = v4.map(|(word, ip)| (word.len(), IpAddr::V4(ip)));
    let v6 = word.parse::<Ipv6Addr>().ok().filter(|_| word.matches(':').count() > 2);
    let (length, ip) = v4.or_else(|| Some((word.len(), IpAddr::V6(v6?))))?;
    let ends = text.get(at + length).is_none_or(|byte| !is_word(*byte));
    (ends && !ip.is_loopback() && !ip.is_unspecified()).then_some(at + length)
}

/// A word of letters and digits that is too random for a name.
fn random(text: &[u8], at: usize) -> Option<usize> {
    let length = run(text, at, 512, |byte| is_word(byte) || b"+/-".contains(&byte));
    let word = text.get(at..at + length).filter(|word| word.len() >= RANDOM)?;
    let has = |wanted: fn(&u8) -> bool| word.iter().any(wanted);
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    (mixed && entropy(word) >= ENTROPY).then_some(at + length)
}

/// Bits per byte.
fn entropy(word: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in word {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let all = word.len() as f64;
    let part = |count: &u32| f64::from(*count) / all;
    counts.iter().filter(|count| **count > 0).map(|c| -part(c) * part(c).log2()).sum()
}
