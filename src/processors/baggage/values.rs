//! Values of one request, encoded as the attributes that spans get. Log records have theirs in a
//! field of another number, and get the same behind another tag.

use crate::otlp::fields::span;
use crate::otlp::wire::{WireType, put_tag};
use crate::otlp::write::put_attribute;
use smallvec::SmallVec;

/// Values by target number, each once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// Bit `k` is set if target `k` has a value.
    mask: u32,
    /// The encoded attributes, one behind the other.
    encoded: Vec<u8>,
    ends: SmallVec<[End; 4]>,
}

/// Where the attribute of a target ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct End {
    target: u8,
    at: u32,
}

impl Values {
    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        let spilled = if self.ends.spilled() { self.ends.capacity() * size_of::<End>() } else { 0 };
        self.encoded.capacity() + spilled
    }

    /// The targets that have values, as bits.
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// Gives `target` a value if it has none: an attribute `name` with the encoded `AnyValue`.
    pub fn offer(&mut self, target: u8, name: &[u8], value: &[u8]) {
        if self.mask & 1 << target == 0 {
            put_attribute(&mut self.encoded, span::ATTRIBUTES, name, value);
            self.ended(target);
        }
    }

    /// Takes the values of `other` for the targets that have none.
    pub fn add(&mut self, other: &Values) {
        for (target, attribute) in other.attributes() {
            if self.mask & 1 << target == 0 {
                self.encoded.extend_from_slice(attribute);
                self.ended(target);
            }
        }
    }

    /// Appends the attributes of all targets that `present` does not have, as those of an item
    /// that has them in field `number`.
    #[inline]
    pub fn put(&self, present: u32, number: u32, out: &mut Vec<u8>) {
        if self.mask & present == 0 && number == span::ATTRIBUTES {
            return out.extend_from_slice(&self.encoded);
        }
        for (target, attribute) in self.attributes() {
            if present & 1 << target == 0 {
                put_tag(out, number, WireType::Len);
                // The tag of a span's attributes takes one byte.
                out.extend_from_slice(attribute.get(1..).unwrap_or_default());
            }
        }
    }

    fn ended(&mut self, target: u8) {
        self.ends.push(End { target, at: self.encoded.len() as u32 });
        self.mask |= 1 << target;
    }

    fn attributes(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end.at as usize));
        self.ends.iter().zip(starts).map(|(end, start)| {
            (end.target, self.encoded.get(start..end.at as usize).unwrap_or_default())
        })
    }
}
