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
        self.known.mark(entry(attribute)).map(u32::from)
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
    match rest.get(usize::from(*key)..)? {
        [0x12, 0..=0x7f, 0x10 | 0x18 | 0x21, ..] => bytes.get(..2 + usize::from(*key)),
        _ => None,
    }
}
