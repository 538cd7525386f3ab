//! The span ids that passed: one set of fixed size for all traces.
//!
//! Two halves: when the young one is full it becomes the old one, and what was the old one is
//! forgotten. Each half has a number, so that it can be said whether the set still holds
//! everything since a given time. Ids are kept as 64-bit hashes of trace and span id, under a key
//! of the process's own; two of half a million collide once in a hundred million traces.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// The set.
pub struct Seen {
    young: HashTable<u64>,
    old: HashTable<u64>,
    /// Ids in one half at most.
    half: usize,
    /// The number of the young half.
    number: u64,
    hasher: RandomState,
}

impl Seen {
    /// A set that holds between half of `limit` and `limit` ids once it is full.
    pub fn new(limit: usize) -> Seen {
        let (young, old) = (HashTable::new(), HashTable::new());
        let half = (limit / 2).max(1);
        Seen { young, old, half, number: 0, hasher: RandomState::default() }
    }

    #[inline]
    pub fn insert(&mut self, trace: u128, span: u64) {
        let hash = self.hasher.hash_one((trace, span));
        if self.young.find(hash, |known| *known == hash).is_some() {
            return;
        }
        if self.young.len() >= self.half {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.number += 1;
        }
        self.young.insert_unique(hash, hash, |known| *known);
    }

    pub fn contains(&self, trace: u128, span: u64) -> bool {
        let hash = self.hasher.hash_one((trace, span));
        let find = |half: &HashTable<u64>| half.find(hash, |known| *known == hash).is_some();
        find(&self.young) || find(&self.old)
    }

    /// The number of the young half.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the set holds every id since its young half had this number.
    pub fn reaches_back_to(&self, number: u64) -> bool {
        number + 1 >= self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_says_how_far_it_reaches_back() {
        let mut seen = Seen::new(100);
        for span in 1..=50 {
            seen.insert(1, span);
            seen.insert(1, span);
        }
        let then = seen.number();
        assert!(seen.contains(1, 1) && !seen.contains(2, 1));
        for span in 51..=100 {
            seen.insert(1, span);
        }
        assert!(seen.reaches_back_to(then) && seen.contains(1, 1));
        seen.insert(1, 101);
        assert!(!seen.reaches_back_to(then) && !seen.contains(1, 1));
        assert!(seen.contains(1, 51));
        assert!(seen.young.len() + seen.old.len() <= 100);
    }
}
