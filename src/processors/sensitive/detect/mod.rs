//! Detectors: secrets and personal data recognised by their form, wherever they stand in a text.
//!
//! Each has a cheap sign and a validation (checksum, structure, length), because ids of all kinds
//! look alike. [`Detectors::may_hit`] is what every text that is kept goes through: three searches
//! (for `@`, for the beginnings of secrets, for long stretches of digits and capitals) that leave
//! ordinary texts at once, and a look at the length, since most are shorter than any secret.
//! [`Detectors::find`] asks for boundaries and checksums. Both take time linear in the text,
//! whatever stands in it.

mod domains;
mod email;
mod number;
mod optional;
mod token;

use aho_corasick::packed;
use aho_corasick::{AhoCorasick, MatchKind};

/// What is recognised. The order is that of the configuration and decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Email,
    PaymentCard,
    Iban,
    Jwt,
    PrivateKey,
    CloudKey,
    LlmKey,
    AccessToken,
    UrlPassword,
    Authorization,
    Phone,
    Ssn,
    Ip,
    HighEntropy,
}

/// One detector: its name in the configuration, and what stands in the place of what it finds.
pub struct Detector {
    pub class: Class,
    pub name: &'static str,
    pub mask: &'static str,
}

const fn detector(class: Class, name: &'static str, mask: &'static str) -> Detector {
    Detector { class, name, mask }
}

/// All detectors, each at the place of its class.
pub const ALL: [Detector; 14] = [
    detector(Class::Email, "email", "[email]"),
    detector(Class::PaymentCard, "payment_card", "[payment_card]"),
    detector(Class::Iban, "iban", "[iban]"),
    detector(Class::Jwt, "jwt", "[jwt]"),
    detector(Class::PrivateKey, "private_key", "[private_key]"),
    detector(Class::CloudKey, "cloud_key", "[cloud_key]"),
    detector(Class::LlmKey, "llm_key", "[llm_key]"),
    detector(Class::AccessToken, "access_token", "[access_token]"),
    detector(Class::UrlPassword, "url_password", "[url_password]"),
    detector(Class::Authorization, "authorization", "[authorization]"),
    detector(Class::Phone, "phone", "[phone]"),
    detector(Class::Ssn, "ssn", "[ssn]"),
    detector(Class::Ip, "ip", "[ip]"),
    detector(Class::HighEntropy, "high_entropy", "[high_entropy]"),
];

/// Bytes of the shortest text in which anything is found: an email address.
const SHORTEST: usize = 6;

/// Bytes of the shortest secret, the id of an AWS key, but for headers, which have a space, and
/// tokens of Slack, which have an x.
const SHORTEST_SECRET: usize = 20;

/// Bytes of the shortest of these: `Basic` with a user and a password.
const SHORTEST_HEADER: usize = 12;

/// The place of `class` in [`ALL`].
pub fn place(class: Class) -> usize {
    class as usize
}

/// Something found: the bytes `from..to` of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    pub from: usize,
    pub to: usize,
    pub class: Class,
}

/// A byte that a word goes on with.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The byte of `text` before `at`.
fn before(text: &[u8], at: usize) -> Option<u8> {
    text.get(at.checked_sub(1)?).copied()
}

/// The length of the run of `wanted` bytes that `text` has at `at`, looked at up to `most`.
fn run(text: &[u8], at: usize, most: usize, wanted: fn(u8) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take(most).take_while(|byte| wanted(**byte)).count()
}

/// Whether `text` has the space of a header, or may hold a token of Slack.
fn has_short_sign(text: &[u8]) -> bool {
    memchr::memchr2_iter(b' ', b'x', text).any(|at| match text.get(at..) {
        Some([b'x', next, ..]) => matches!(next, b'o' | b'a'),
        Some([b' ', ..]) => true,
        _ => false,
    })
}

/// The detectors that are on.
pub struct Detectors {
    on: [bool; ALL.len()],
    /// The beginnings of secrets; `None` where the machine has no vector instructions.
    fast: Option<packed::Searcher>,
    slow: Option<AhoCorasick>,
    /// Whether one is on that has no sign to look for at first.
    without_sign: bool,
}

impl Detectors {
    /// Those of [`ALL`] that are `wanted`.
    pub fn new(wanted: impl Fn(&Detector) -> bool) -> Detectors {
        let mut on = [false; ALL.len()];
        on.iter_mut().zip(&ALL).for_each(|(on, detector)| *on = wanted(detector));
        let starts = || token::SIGNS.iter().map(|sign| sign.start);
        let fast = packed::Config::new().builder().extend(starts()).build();
        let slow = match fast {
            Some(_) => None,
            None => {
                AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(starts()).ok()
            }
        };
        let optional = [Class::Phone, Class::Ssn, Class::Ip, Class::HighEntropy];
        let without_sign = optional.iter().any(|class| on.get(place(*class)) == Some(&true));
        Detectors { on, fast, slow, without_sign }
    }

    fn is_on(&self, class: Class) -> bool {
        self.on.get(place(class)).copied().unwrap_or(false)
    }

    fn any(&self, classes: &[Class]) -> bool {
        classes.iter().any(|class| self.is_on(*class))
    }

    /// Whether something may be found in `text`.
    pub fn may_hit(&self, text: &[u8]) -> bool {
        if text.len() < SHORTEST {
            return false;
        }
        self.without_sign
            || email::may_stand(text)
            || number::stretches(text).any(|stretch| number::may_stand(text, stretch))
            || self.may_hold_secret(text)
    }

    /// Whether `text` has one of the signs of secrets.
    fn may_hold_secret(&self, text: &[u8]) -> bool {
        if text.len() < SHORTEST_HEADER || text.len() < SHORTEST_SECRET && !has_short_sign(text) {
            return false;
        }
        let mut found = false;
        self.signs(text, |at, sign| {
            found = (sign.may_stand)(text, at + sign.start.len());
            !found
        });
        found
    }

    /// Calls `each` with the signs of secrets in `bytes` until it yields false.
    fn signs(&self, bytes: &[u8], mut each: impl FnMut(usize, &token::Sign) -> bool) {
        let mut at = 0;
        while let Some((from, to, id)) = self.next_sign(bytes, at) {
            if let Some(sign) = token::SIGNS.get(id)
                && !each(from, sign)
            {
                return;
            }
            // Signs may overlap: the next one can begin inside this one.
            at = if to > from { from + 1 } else { to + 1 };
        }
    }

    fn next_sign(&self, bytes: &[u8], at: usize) -> Option<(usize, usize, usize)> {
        if at > bytes.len() {
            return None;
        }
        if let Some(fast) = &self.fast {
            let span = aho_corasick::Span { start: at, end: bytes.len() };
            let found = fast.find_in(bytes, span)?;
            return Some((found.start(), found.end(), found.pattern().as_usize()));
        }
        let found = self.slow.as_ref()?.find(aho_corasick::Input::new(bytes).range(at..))?;
        Some((found.start(), found.end(), found.pattern().as_usize()))
    }

    /// Puts what `text` holds behind `hits`, in order of place; of those that overlap, the one
    /// that begins first, and of those the longest.
    pub fn find(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let start = hits.len();
        if self.any(&[Class::Email, Class::UrlPassword]) {
            email::find(text, hits);
        }
        let mut past = 0;
        self.signs(text, |at, sign| {
            if at >= past
                && let Some((from, to)) = (sign.find)(text, at, at + sign.start.len())
            {
                past = to;
                hits.push(Hit { from, to, class: sign.class });
            }
            true
        });
        for stretch in number::stretches(text) {
            number::find(text, stretch, hits);
        }
        if self.without_sign {
            optional::find(text, |class| self.is_on(class), hits);
        }
        let mut all = hits.split_off(start);
        all.retain(|hit| self.is_on(hit.class));
        all.sort_by_key(|hit| (hit.from, std::cmp::Reverse(hit.to)));
        let mut past = 0;
        for hit in all {
            if hit.from >= past {
                past = hit.to;
                hits.push(hit);
            }
        }
    }
}

#[cfg(test)]
mod tests;
