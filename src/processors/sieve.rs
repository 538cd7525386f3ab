//! Which attributes of an item inspectors are shown: those of their keys, and of the others what
//! they do not let pass.
//!
//! The spans of a service repeat themselves: names, models and addresses are the same in nearly
//! all of them. What passed lately is remembered whole, so that what comes again is compared and
//! not looked at. Only what has none of the keys and passes whatever it stands in is remembered.

use super::inspect::Inspector;
use super::names::Names;
use crate::otlp::view;
use crate::otlp::wire::Field;
use std::sync::Arc;

/// Attributes that are remembered; a power of two.
const SLOTS: usize = 128;

/// Bytes of an attribute that is remembered, at most and at least.
const LONGEST: usize = 62;
const SHORTEST: usize = 8;

/// Others in its place that a remembered attribute outlives since it last came.
const WORTH: u8 = 3;

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
    slots: Box<[Slot; SLOTS]>,
}

/// An attribute that passed; none with a length of 0.
#[derive(Clone, Copy)]
struct Slot {
    bytes: [u8; LONGEST],
    length: u8,
    worth: u8,
}

impl Sieve {
    pub fn new(keys: Arc<Names<()>>) -> Sieve {
        let slot = Slot { bytes: [0; LONGEST], length: 0, worth: 0 };
        Sieve { keys, all: false, slots: Box::new([slot; SLOTS]) }
    }

    /// What becomes of `attribute`, which these inspectors are asked about.
    #[inline]
    pub fn place<'i>(
        &mut self,
        attribute: &Field<'_>,
        inspectors: &[Box<dyn Inspector + 'i>],
    ) -> Place {
        let bytes = attribute.bytes();
        let mut slot = if self.all { None } else { self.slots.get_mut(slot(bytes)) };
        if let Some(slot) = &mut slot
            && slot.bytes.get(..usize::from(slot.length)) == Some(bytes)
        {
            slot.worth = WORTH;
            return Place::Passed;
        }
        if self.keys.find(view::key(attribute)).is_some() {
            return Place::Listed;
        }
        if self.all || !inspectors.iter().all(|inspector| inspector.passes(attribute)) {
            return Place::Rest;
        }
        if let Some(slot) = slot {
            slot.offer(bytes);
        }
        Place::Passed
    }
}

impl Slot {
    /// Remembers `bytes` when what is here has been passed over often enough.
    fn offer(&mut self, bytes: &[u8]) {
        if self.worth > 0 {
            self.worth -= 1;
        } else if let Some(to) = self.bytes.get_mut(..bytes.len())
            && bytes.len() >= SHORTEST
        {
            to.copy_from_slice(bytes);
            (self.length, self.worth) = (bytes.len() as u8, WORTH);
        }
    }
}

/// The number of the slot of an attribute: by its length, its end and its middle, since many begin
/// alike.
#[inline]
fn slot(bytes: &[u8]) -> usize {
    let middle = bytes.get(bytes.len() / 2..).and_then(<[u8]>::first_chunk::<4>);
    let last = bytes.last_chunk::<8>();
    let (Some(middle), Some(last)) = (middle, last) else { return 0 };
    let mixed = u64::from_le_bytes(*last) ^ u64::from(u32::from_le_bytes(*middle)) << 13;
    let mixed = (mixed ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - SLOTS.trailing_zeros())) as usize
}
