//! Which attributes of an item inspectors are shown: those of their keys, and of the others what
//! they do not let pass.
//!
//! What has none of the keys and passes, in whatever item it stands, is remembered whole, so that
//! what comes again is compared and not looked at; of numbers only the key is.

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
    pub all: bool,
    /// Those that passed lately.
    passed: Repeats,
}

impl Sieve {
    pub fn new(keys: Arc<Names<()>>) -> Sieve {
        Sieve { keys, all: false, passed: Repeats::default() }
    }

    /// What becomes of the attribute in `field`, which these inspectors are asked about.
    #[inline]
    pub fn place<'i>(
        &mut self,
        field: &Field<'_>,
        inspectors: &[Box<dyn Inspector + 'i>],
    ) -> Place {
        match self.is_known(field.bytes()) {
            true => Place::Passed,
            false => self.look(field, inspectors),
        }
    }

    /// Whether `attribute` passed lately, as far as is remembered.
    #[inline(always)]
    pub fn is_known(&mut self, attribute: &[u8]) -> bool {
        !self.all && self.passed.has(key_of_number(attribute).unwrap_or(attribute))
    }

    /// What becomes of an attribute that is not known.
    pub fn look<'i>(&mut self, field: &Field<'_>, inspectors: &[Box<dyn Inspector + 'i>]) -> Place {
        if self.keys.find(view::key(field)).is_some() {
            return Place::Listed;
        }
        if self.all || !inspectors.iter().all(|inspector| inspector.passes(field)) {
            return Place::Rest;
        }
        let bytes = field.bytes();
        self.passed.offer(key_of_number(bytes).unwrap_or(bytes));
        Place::Passed
    }
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
