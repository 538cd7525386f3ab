//! Bytes that come again and again: a table of those that came lately, small enough for a cache of
//! the processor. The spans of a service repeat themselves: names, models and addresses are the
//! same in nearly all of them, and what is the same needs no second look. With each entry stands a
//! mark of whoever put it there. Entries follow each other, too, as the attributes of a span do:
//! what came behind an entry the last time is compared first, and mostly it is that.

/// Sets of entries; a power of two. Each holds two, since what is hot is little and falls into the
/// same set now and then: one place for both would keep one of them out for good.
const SETS: usize = 128;

/// Bytes of an entry, at most and at least.
const LONGEST: usize = 62;
const SHORTEST: usize = 8;

/// Others in its place that an entry outlives since it last came; all bits up to its highest.
const WORTH: u8 = 3 << 6;

/// One less is worth so much less.
const ONCE: u8 = 1 << 6;

/// The bits of the length.
const LENGTH: u8 = !WORTH;

/// The table.
pub struct Repeats {
    slots: Box<[[Slot; 2]; SETS]>,
    /// What came behind each slot the last time, and the one that came last: set and place there.
    behind: Box<[Place; 2 * SETS]>,
    last: Place,
}

/// The number of a slot: twice that of its set, and its place there.
type Place = u8;

/// An entry; none with a length of 0. As long as a line of memory.
#[derive(Clone, Copy)]
struct Slot {
    bytes: [u8; LONGEST],
    /// The length in the lower bits, and what the entry is still worth in those of [`WORTH`].
    length: u8,
    mark: u8,
}

impl Slot {
    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        self.bytes.get(..usize::from(self.length & LENGTH))
    }
}

impl Default for Repeats {
    fn default() -> Repeats {
        let slots = Box::new([[Slot { bytes: [0; LONGEST], length: 0, mark: 0 }; 2]; SETS]);
        Repeats { slots, behind: Box::new([0; 2 * SETS]), last: 0 }
    }
}

impl Repeats {
    /// Whether `bytes` are an entry.
    #[inline]
    pub fn has(&mut self, bytes: &[u8]) -> bool {
        self.mark(bytes).is_some()
    }

    /// The mark of the entry that `bytes` are.
    #[inline]
    pub fn mark(&mut self, bytes: &[u8]) -> Option<u8> {
        let number = place(bytes)?;
        let set = self.slots.get_mut(number)?;
        let place =
            set.iter().position(|slot| slot.bytes().is_some_and(|it| is_same(it, bytes)))?;
        let slot = set.get_mut(place)?;
        slot.length |= WORTH;
        let mark = slot.mark;
        self.came((2 * number + place) as Place);
        Some(mark)
    }

    /// The mark of what came behind the last entry when that came before, if `bytes` begin with
    /// it and it `ends` there: what it is told is what follows.
    #[inline(always)]
    pub fn next(&mut self, bytes: &[u8], ends: impl FnOnce(&[u8]) -> bool) -> Option<u8> {
        let next = *self.behind.get(usize::from(self.last))?;
        let slot = self.slots.as_flattened_mut().get_mut(usize::from(next))?;
        let (begin, rest) = bytes.split_at_checked(usize::from(slot.length & LENGTH))?;
        if begin.is_empty() || !is_same(slot.bytes()?, begin) || !ends(rest) {
            return None;
        }
        slot.length |= WORTH;
        self.last = next;
        Some(slot.mark)
    }

    /// Notes that the entry in this slot came.
    #[inline]
    fn came(&mut self, place: Place) {
        if let Some(behind) = self.behind.get_mut(usize::from(self.last)) {
            *behind = place;
        }
        self.last = place;
    }

    /// Makes `bytes` an entry with this mark if what stands in their place has been passed over
    /// often enough.
    pub fn offer(&mut self, bytes: &[u8], mark: u8) {
        let set = place(bytes).and_then(|place| self.slots.get_mut(place));
        let Some([a, b]) = set else { return };
        let slot = if b.length & WORTH < a.length & WORTH { b } else { a };
        if slot.length & WORTH > 0 {
            slot.length -= ONCE;
        } else if let Some(to) = slot.bytes.get_mut(..bytes.len()) {
            to.copy_from_slice(bytes);
            (slot.length, slot.mark) = (bytes.len() as u8 | WORTH, mark);
        }
    }
}

/// Whether two slices are the same that are not shorter than an entry: without a call, which costs
/// more than to compare so little.
#[inline(always)]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let words = |bytes: &[u8]| bytes.last_chunk::<8>().map(|last| u64::from_le_bytes(*last));
    let (Some(last), Some(of_b)) = (words(a), words(b)) else { return false };
    let pairs = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let unlike = pairs.fold(last ^ of_b, |unlike, (a, b)| {
        unlike | (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b))
    });
    a.len() == b.len() && unlike == 0
}

/// The set of `bytes`: by their length, their end and their middle, since many begin alike.
#[inline]
fn place(bytes: &[u8]) -> Option<usize> {
    if !(SHORTEST..=LONGEST).contains(&bytes.len()) {
        return None;
    }
    let middle = bytes.get(bytes.len() / 2..)?.first_chunk::<4>()?;
    let last = bytes.last_chunk::<8>()?;
    let mixed = u64::from_le_bytes(*last) ^ u64::from(u32::from_le_bytes(*middle)) << 13;
    let mixed = (mixed ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Some((mixed >> (64 - SETS.trailing_zeros())) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_offered_whole_is_an_entry() {
        let mut repeats = Repeats::default();
        let long = [b'x'; LONGEST + 1];
        for bytes in [&b"gpt-4o-2024-08-06"[..], &long[..LONGEST], b"12345678"] {
            assert!(!repeats.has(bytes));
            repeats.offer(bytes, bytes.len() as u8);
            assert_eq!(repeats.mark(bytes), Some(bytes.len() as u8));
            assert!(!repeats.has(&bytes[1..]) && !repeats.has(&bytes[..bytes.len() - 1]));
        }
        for bytes in [&b""[..], b"1234567", &long] {
            repeats.offer(bytes, 1);
            assert!(!repeats.has(bytes), "it is too short or too long");
        }
    }

    #[test]
    fn what_comes_often_is_not_pushed_out_by_what_comes_once() {
        let mut repeats = Repeats::default();
        repeats.offer(b"api.openai.com", 1);
        for n in 0..100 * SETS {
            repeats.offer(format!("chatcmpl-{n:030}").as_bytes(), 1);
            assert!(n % SETS > 0 || repeats.has(b"api.openai.com"));
        }
        for n in 0..100 * SETS {
            repeats.offer(format!("chatcmpl-{n:030}").as_bytes(), 1);
        }
        assert!(!repeats.has(b"api.openai.com"), "it comes no more");
    }

    #[test]
    fn what_came_behind_an_entry_is_found_there_if_it_ends_where_it_may() {
        let mut repeats = Repeats::default();
        repeats.offer(b"first of all", 1);
        repeats.offer(b"second of all", 2);
        let next = |repeats: &mut Repeats, bytes: &[u8]| repeats.next(bytes, <[u8]>::is_empty);
        for _ in 0..2 {
            assert_eq!(repeats.mark(b"first of all"), Some(1));
            assert_eq!(repeats.mark(b"second of all"), Some(2));
        }
        assert_eq!(next(&mut repeats, b"first of all"), Some(1));
        assert_eq!(next(&mut repeats, b"second of all!"), None, "it goes on");
        assert_eq!(next(&mut repeats, b"second of al"), None, "it is cut off");
        assert_eq!(next(&mut repeats, b"second of ALL"), None, "it is another");
        assert_eq!(repeats.next(b"second of all!", |rest| rest == b"!"), Some(2));
        repeats.mark(b"first of all");
        for n in 0..100 * SETS {
            repeats.offer(format!("{n:030}").as_bytes(), 3);
        }
        assert_eq!(next(&mut repeats, b"second of all"), None, "it is no entry any more");
    }
}
