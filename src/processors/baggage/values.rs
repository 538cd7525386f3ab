//! The values of one trace, encoded as the attributes that spans get.

use crate::otlp::write::put_attribute;
use smallvec::SmallVec;

/// Values by key number, each once.
#[derive(Default)]
pub struct Values {
    /// Bit `k` is set if key `k` has a value.
    mask: u32,
    /// The encoded attributes, one behind the other.
    encoded: Vec<u8>,
    ends: SmallVec<[End; 4]>,
}

/// Where the attribute of a key ends, and its value with it.
#[derive(Clone, Copy)]
struct End {
    key: u8,
    at: u32,
    /// Bytes of the encoded value.
    value: u32,
}

impl Values {
    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        let spilled = if self.ends.spilled() { self.ends.capacity() * size_of::<End>() } else { 0 };
        self.encoded.capacity() + spilled
    }

    /// The keys that have values, as bits.
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// Gives `key` a value if it has none: an attribute `name` in field `number` with the encoded
    /// `AnyValue`. False if it has another one, which stands.
    pub fn offer(&mut self, key: u8, number: u32, name: &[u8], value: &[u8]) -> bool {
        if self.mask & 1 << key == 0 {
            put_attribute(&mut self.encoded, number, name, value);
            let (at, value) = (self.encoded.len() as u32, value.len() as u32);
            self.ends.push(End { key, at, value });
            self.mask |= 1 << key;
            return true;
        }
        let end = self.ends.iter().find(|end| end.key == key);
        end.is_some_and(|end| {
            let known = (end.at - end.value) as usize..end.at as usize;
            self.encoded.get(known) == Some(value)
        })
    }

    /// Appends the attributes of all keys that `present` does not have.
    pub fn put(&self, present: u32, out: &mut Vec<u8>) {
        if self.mask & present == 0 {
            return out.extend_from_slice(&self.encoded);
        }
        let mut from = 0;
        for end in &self.ends {
            let part = from..end.at as usize;
            if present & 1 << end.key == 0 {
                out.extend_from_slice(self.encoded.get(part).unwrap_or_default());
            }
            from = end.at as usize;
        }
    }
}
