//! Which attributes of an item inspectors are shown: those of their keys, and of the others what
//! they do not let pass.
//!
//! What has one of the keys, and what has none and passes, is remembered whole, in whatever item it
//! stands, so that what comes again is compared and not looked at; of numbers only the key is.

use super::inspect::Inspector;
use super::names::Names;
use super::repeats::Repeats;
use crate::otlp::view;
use crate::otlp::wire::Field;
use std::sync::Arc;

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has one of the keys.
    Listed,
    /// It has none, and somebody looks at it.
    Rest,
    /// Nobody looks at it.
    Passed,
}

/// Sorts attributes.
pub struct Sieve {
    /// The keys of all inspectors: most attributes have none of them.
    keys: Arc<Names<()>>,
    /// Whether every attribute is looked at.
    all: bool,
    /// Whether none is but those of the keys.
    keys_only: bool,
    /// Those that came lately, marked if they are listed; but for those that are looked at.
    known: Repeats,
}

impl Sieve {
    pub fn new(keys: Arc<Names<()>>) -> Sieve {
        Sieve { keys, all: false, keys_only: false, known: Repeats::default() }
    }

    /// Asks the inspectors what they look at in what follows.
    pub fn ask<'i>(&mut self, inspectors: &[Box<dyn Inspector + 'i>]) {
        self.all = inspectors.iter().any(|inspector| inspector.all());
        self.keys_only =
            !self.all && inspectors.iter().all(|inspector| inspector.others().is_none());
    }

    /// What becomes of `attribute` as far as it is remembered.
    #[inline(always)]
    pub fn known(&mut self, attribute: &[u8]) -> Option<Place> {
        let listed = match (self.all, self.keys_only) {
            (true, _) => None,
            (false, false) => self.known.mark(entry(attribute)),
            // Most keys are ruled out by their beginning, which is quicker than to remember them.
            (false, true) => Some(self.keys.find(view::key_in(attribute)).is_some()),
        };
        listed.map(|listed| if listed { Place::Listed } else { Place::Passed })
    }

    /// What becomes of the attribute in `field`, of which these inspectors are asked.
    pub fn look<'i>(&mut self, field: &Field<'_>, inspectors: &[Box<dyn Inspector + 'i>]) -> Place {
        let others = || inspectors.iter().filter_map(|inspector| inspector.others());
        let passes = || others().all(|others| others.pass(field));
        let place = match self.keys.find(view::key(field)) {
            Some(()) => Place::Listed,
            None if self.all || !passes() => return Place::Rest,
            None => Place::Passed,
        };
        if !self.all {
            self.known.offer(entry(field.bytes()), place == Place::Listed);
        }
        place
    }
}

/// What is remembered of `attribute`.
#[inline]
fn entry(attribute: &[u8]) -> &[u8] {
    key_of_number(attribute).unwrap_or(attribute)
}

/// The key, as encoded, of an attribute that holds a number.
#[inline]
fn key_of_number(bytes: &[u8]) -> Option<&[u8]> {
    let [0x0a, key @ 0..=0x7f, rest @ ..] = bytes else { return None };
    match rest.get(usize::from(*key)..)? {
        [0x12, 0..=0x7f, 0x10 | 0x18 | 0x21, ..] => bytes.get(..2 + usize::from(*key)),
        _ => None,
    }
}
