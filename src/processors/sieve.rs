//! What the attributes of items mean to the inspectors of a row.
//!
//! An inspector is asked once about an attribute that comes again and again: what it said is
//! remembered with the attribute, in whatever item that stands; of numbers with the key alone. So
//! what comes again is compared, and neither looked up nor looked at, however many inspectors
//! stand in the row. What means nothing to any of them none is shown.

use super::inspect::Inspector;
use super::repeats::Repeats;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::SmallVec;

/// Finds meanings.
#[derive(Default)]
pub struct Sieve {
    /// Attributes that came lately, with the numbers of their meanings.
    known: Repeats,
    /// What is said of one attribute, on its way.
    said: Said,
}

/// What each inspector of the row says of an attribute; 0 if it need not see it.
type Said = SmallVec<[u16; 4]>;

/// All that was said of attributes, each once and by number. Number 0 is that nobody need see it.
/// Their number is bounded: keys are many, but what they mean is on lists.
#[derive(Default)]
pub struct Meanings {
    /// What was said, number by number, each by all inspectors.
    said: Vec<u16>,
    width: usize,
    numbers: HashMap<Said, u32, RandomState>,
}

impl Meanings {
    /// For a row of so many inspectors.
    pub fn new(inspectors: usize) -> Meanings {
        let mut meanings =
            Meanings { said: vec![], width: inspectors, numbers: HashMap::default() };
        meanings.number(&SmallVec::from_elem(0, inspectors));
        meanings
    }

    /// What the inspector at `place` of the row said.
    #[inline]
    pub fn of(&self, number: u32, place: usize) -> u16 {
        self.said.get(number as usize * self.width + place).copied().unwrap_or(0)
    }

    fn number(&mut self, said: &Said) -> u32 {
        if let Some(number) = self.numbers.get(said) {
            return *number;
        }
        let number = self.numbers.len() as u32;
        self.said.extend_from_slice(said);
        self.numbers.insert(said.clone(), number);
        number
    }
}

impl Sieve {
    /// The number of what `attribute` means, as far as it is remembered.
    #[inline(always)]
    pub fn known(&mut self, attribute: &[u8]) -> Option<u32> {
        let next = self.known.next(attribute, |rest| rest.is_empty() || is_number(rest));
        next.or_else(|| self.known.mark(entry(attribute))).map(u32::from)
    }

    /// The number of what `attribute` means, of which these inspectors are asked.
    pub fn look<'i>(
        &mut self,
        attribute: &[u8],
        inspectors: &[Box<dyn Inspector + 'i>],
        meanings: &mut Meanings,
    ) -> u32 {
        self.said.clear();
        self.said.extend(inspectors.iter().map(|inspector| inspector.meaning(attribute)));
        let number = meanings.number(&self.said);
        if let Ok(mark) = u8::try_from(number) {
            self.known.offer(entry(attribute), mark);
        }
        number
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
    let key = usize::from(*key);
    is_number(rest.get(key..)?).then(|| bytes.get(..2 + key))?
}

/// Whether what stands behind a key is a number.
#[inline]
fn is_number(bytes: &[u8]) -> bool {
    matches!(bytes, [0x12, 0..=0x7f, 0x10 | 0x18 | 0x21, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Moment;
    use crate::otlp::edit::Edits;
    use crate::otlp::view;
    use crate::otlp::wire::{put_bytes_field, put_message_field, put_varint_field};
    use crate::processors::inspect::Item;

    /// Finds a meaning of its own for every text of a key, and one for all numbers of it.
    struct Pedant;

    impl Inspector for Pedant {
        fn meaning(&self, attribute: &[u8]) -> u16 {
            let said = match key_of_number(attribute) {
                Some(_) => view::key_in(attribute),
                None => attribute,
            };
            said.iter().fold(7, |all: u16, byte| all.wrapping_mul(31) ^ u16::from(*byte)) % 200 + 1
        }

        fn item(&mut self, _: &mut Item<'_>, _: Moment, _: &mut Edits) {}

        fn end(&mut self, _: Moment, _: &mut Edits) {}
    }

    fn attribute(key: &str, value: u8) -> Vec<u8> {
        let mut bytes = vec![];
        put_bytes_field(&mut bytes, 1, key.as_bytes());
        put_message_field(&mut bytes, 2, |out| match value {
            0..40 => put_bytes_field(out, 1, &b"a text that goes on"[..usize::from(value) % 20]),
            _ => put_varint_field(out, 3, u64::from(value) * 99),
        });
        bytes
    }

    #[test]
    fn what_is_remembered_is_what_would_be_said() {
        let row: Vec<Box<dyn Inspector>> = vec![Box::new(Pedant)];
        let (mut sieve, mut meanings) = (Sieve::default(), Meanings::new(1));
        let mut random = fastrand::Rng::with_seed(1);
        let (mut known, mut asked) = (0, 0);
        for n in 0..50_000 {
            // Keys that begin with each other, in an order that mostly comes again.
            let key = ["gen_ai.usage", "gen_ai.usage.input", "gen_ai.model", "k"][n % 4];
            let attribute = attribute(key, random.u8(..60) / random.u8(1..9));
            let number = match sieve.known(&attribute) {
                Some(number) => (known += 1, number).1,
                None => (asked += 1, sieve.look(&attribute, &row, &mut meanings)).1,
            };
            assert_eq!(meanings.of(number, 0), Pedant.meaning(&attribute), "{attribute:?}");
        }
        assert!(known > asked, "{known} were known, {asked} were not");
    }
}
