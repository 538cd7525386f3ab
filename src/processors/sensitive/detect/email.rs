//! Addresses of people, and passwords within URLs: both have an `@`. In what travels in URLs and
//! headers that of an address is written `%40`.

use super::domains::is_top_level;
use super::{Class, Hit, before, run};
use memchr::memchr2_iter;

/// Bytes before the `@`, of which SMTP allows 64.
const LOCAL: usize = 64;
/// Bytes of a domain.
const DOMAIN: usize = 253;
/// Bytes of user and password in a URL: tokens are under 300.
const CREDENTIALS: usize = 512;

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte)
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
}

/// An `@`, and where what follows it begins.
#[derive(Clone, Copy)]
struct At {
    at: usize,
    end: usize,
}

/// Those of `text`, however they are written.
fn all(text: &[u8]) -> impl Iterator<Item = At> {
    memchr2_iter(b'@', b'%', text).filter_map(|at| match text.get(at..)? {
        [b'@', ..] => Some(At { at, end: at + 1 }),
        [b'%', b'4', b'0', ..] => Some(At { at, end: at + 3 }),
        _ => None,
    })
}

/// Whether an address or a password can stand in `text`.
pub fn may_stand(text: &[u8]) -> bool {
    all(text).any(|At { at, end }| {
        let behind = run(text, end, DOMAIN, is_domain);
        let behind = text.get(end..end + behind).unwrap_or_default();
        let has_local = before(text, at).is_some_and(is_local) && behind.len() > 3;
        has_local && memchr::memchr(b'.', behind).is_some() || password(text, at).is_some()
    })
}

/// Finds all in `text`.
pub fn find(text: &[u8], hits: &mut Vec<Hit>) {
    for at in all(text) {
        if let Some(from) = password(text, at.at) {
            hits.push(Hit { from, to: at.at, class: Class::UrlPassword });
        } else if let Some((from, to)) = address(text, at) {
            hits.push(Hit { from, to, class: Class::Email });
        }
    }
}

/// The address around `at`.
fn address(text: &[u8], At { at, end: start }: At) -> Option<(usize, usize)> {
    let ahead = text.get(..at)?.iter().rev();
    let local = ahead.take(LOCAL + 1).take_while(|byte| is_local(**byte)).count();
    let mut from = at.checked_sub(local)?;
    while from < at && matches!(text.get(from), Some(b'.' | b'-' | b'%' | b'+')) {
        from += 1;
    }
    if from == at || at - from > LOCAL || before(text, at) == Some(b'.') {
        return None;
    }
    let length = run(text, start, DOMAIN + 1, is_domain);
    let domain = text.get(start..start + length)?;
    // A sentence may end behind it.
    let domain = domain.trim_ascii_end();
    let end = domain.iter().rposition(|byte| byte.is_ascii_alphanumeric())? + 1;
    let domain = domain.get(..end)?;
    // git@host:path is the address of a repository.
    let is_git = text.get(from..at) == Some(b"git") && text.get(start + end) == Some(&b':');
    if is_git || domain.len() > DOMAIN {
        return None;
    }
    let mut labels = domain.split(|byte| *byte == b'.');
    let top = labels.next_back()?;
    let (mut count, mut fine) = (0, true);
    for label in labels {
        count += 1;
        fine &= !label.is_empty() && label.len() < 64 && label.first() != Some(&b'-');
    }
    (count > 0 && fine && is_top_level(top)).then_some((from, start + end))
}

/// Where user and password of a URL begin, if those end at `at`.
fn password(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'@') {
        return None;
    }
    let ahead = text.get(at.saturating_sub(CREDENTIALS)..at)?;
    let stops = |byte: &u8| byte.is_ascii_whitespace() || b"@/\"'<>".contains(byte);
    let length = ahead.iter().rev().take_while(|byte| !stops(byte)).count();
    let from = at - length;
    // Behind "://", or behind ":\/\/" as some write it in JSON.
    let scheme = text.get(..from)?;
    let is_url = scheme.ends_with(b"://") || scheme.ends_with(br":\/\/");
    let credentials = text.get(from..at)?;
    let colon = memchr::memchr(b':', credentials)?;
    (is_url && colon + 1 < credentials.len()).then_some(from)
}
