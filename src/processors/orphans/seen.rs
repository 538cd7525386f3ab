//! The span ids that passed: one set of fixed size for all traces.
//!
//! Two halves: when the young one is full it becomes the old one, and what was the old one is
//! forgotten. Each half has a number, so that it can be said whether the set still holds
//! everything since a given time. Ids are kept as 64-bit hashes of trace and span id, under a key
//! of the process's own; two of half a million collide once in a hundred million traces.
//!
//! A half is larger than a cache, and nearly every span is a new one, so what an insertion costs
//! is waiting for memory. Hence one line of it is all that most touch, and they come in groups,
//! for a processor to wait for several at once. And what is asked for is mostly near: the last ids
//! of the trace that came last are compared before anything is looked up.

use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use std::hint::black_box;

/// Hashes in one line of memory.
const LINE: usize = 8;

/// Insertions that are made together.
const GROUP: usize = 64;

/// The last ids of a trace that are compared.
const NEAR: usize = 4;

/// Words of eight marks for each of a group.
const MARKS: usize = GROUP / 8;

/// The set.
pub struct Seen {
    young: Half,
    old: Half,
    /// What is still to be put into the young half, and a bit for each: most of what is asked for
    /// is not among it.
    coming: Vec<u64>,
    marks: [u64; MARKS],
    /// The trace that came last, its last ids in a ring, and how many they were.
    trace: u128,
    near: [u64; NEAR],
    count: usize,
    /// Ids in one half at most.
    half: usize,
    /// The number of the young half.
    number: u64,
    hasher: RandomState,
}

impl Seen {
    /// A set that holds between half of `limit` and `limit` ids once it is full.
    pub fn new(limit: usize) -> Seen {
        let (young, old) = (Half::default(), Half::default());
        let half = (limit / 2).max(1);
        let coming = Vec::with_capacity(GROUP);
        let (marks, hasher) = ([0; MARKS], RandomState::default());
        let (trace, near, count) = (0, [0; NEAR], 0);
        Seen { young, old, coming, marks, trace, near, count, half, number: 0, hasher }
    }

    #[inline]
    pub fn insert(&mut self, trace: u128, span: u64) {
        if self.trace != trace {
            (self.trace, self.near) = (trace, [0; NEAR]);
        }
        self.count = (self.count + 1) % NEAR;
        if let Some(near) = self.near.get_mut(self.count) {
            *near = span;
        }
        let hash = self.hash(trace, span);
        self.coming.push(hash);
        let (word, bit) = mark(hash);
        if let Some(marks) = self.marks.get_mut(word) {
            *marks |= bit;
        }
        if self.coming.len() >= GROUP.min(self.half) {
            self.settle();
        }
    }

    #[inline]
    pub fn contains(&self, trace: u128, span: u64) -> bool {
        self.is_near(trace, span) || self.is_far(trace, span)
    }

    #[inline]
    fn is_near(&self, trace: u128, span: u64) -> bool {
        // Without a branch for each, as below; no span has the id 0.
        let near = self.near.iter().fold(false, |has, known| has | (*known == span));
        near && span != 0 && self.trace == trace
    }

    fn is_far(&self, trace: u128, span: u64) -> bool {
        let hash = self.hash(trace, span);
        let (word, bit) = mark(hash);
        let marked = self.marks.get(word).is_some_and(|marks| marks & bit != 0);
        (marked && self.coming.contains(&hash))
            || self.young.contains(hash)
            || self.old.contains(hash)
    }

    /// The number of the young half.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the set holds every id since its young half had this number.
    pub fn reaches_back_to(&self, number: u64) -> bool {
        number + 1 >= self.number
    }

    /// Puts what is coming into the young half.
    fn settle(&mut self) {
        // All lines are asked for first, so that one wait is for many of them.
        black_box(self.coming.iter().fold(0, |all, hash| all ^ self.young.first(*hash)));
        self.marks = [0; MARKS];
        for hash in self.coming.drain(..) {
            if self.young.len >= self.half && !self.young.contains(hash) {
                std::mem::swap(&mut self.young, &mut self.old);
                self.young.clear();
                self.number += 1;
            }
            self.young.insert(hash);
        }
    }

    /// Never 0.
    #[inline]
    fn hash(&self, trace: u128, span: u64) -> u64 {
        self.hasher.hash_one((trace, span)).max(1)
    }
}

/// The word and the bit in it that mark `hash`, by bits of it that no line is found by.
#[inline]
fn mark(hash: u64) -> (usize, u64) {
    ((hash >> 58) as usize % MARKS, 1 << (hash >> 52 & 63))
}

/// A set of hashes that are not 0, in lines; what finds its line full goes into the next.
#[derive(Default)]
struct Half {
    /// A power of two of them, or none. The free places of a line are 0 and its last.
    lines: Vec<Line>,
    len: usize,
}

/// A line of memory.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; LINE]);

impl Line {
    // Without a branch: one that waits for memory would be guessed, half the time wrongly.
    #[inline]
    fn has(&self, hash: u64) -> bool {
        self.0.iter().fold(false, |has, known| has | (*known == hash))
    }

    #[inline]
    fn used(&self) -> usize {
        self.0.iter().map(|known| usize::from(*known != 0)).sum()
    }
}

impl Half {
    fn contains(&self, hash: u64) -> bool {
        let mut at = self.line(hash);
        while let Some(line) = self.lines.get(at) {
            if line.has(hash) {
                return true;
            }
            if line.used() < LINE {
                return false;
            }
            at = self.behind(at);
        }
        false
    }

    #[inline]
    fn insert(&mut self, hash: u64) {
        // Five in a line of eight on average: few are full.
        if self.len >= self.lines.len() * (LINE - 3) {
            self.grow();
        }
        let mut at = self.line(hash);
        while let Some(line) = self.lines.get_mut(at) {
            if line.has(hash) {
                return;
            }
            let used = line.used();
            if let Some(free) = line.0.get_mut(used) {
                *free = hash;
                self.len += 1;
                return;
            }
            at = self.behind(at);
        }
    }

    /// The first place of the line that `hash` belongs into.
    #[inline]
    fn first(&self, hash: u64) -> u64 {
        self.lines.get(self.line(hash)).map_or(0, |line| line.0[0])
    }

    fn grow(&mut self) {
        let lines = vec![Line::default(); (self.lines.len() * 2).max(2)];
        let before = std::mem::replace(&mut self.lines, lines);
        self.len = 0;
        let hashes = before.iter().flat_map(|line| line.0);
        hashes.filter(|hash| *hash != 0).for_each(|hash| self.insert(hash));
    }

    fn clear(&mut self) {
        self.lines.fill(Line::default());
        self.len = 0;
    }

    /// The line that `hash` belongs into.
    #[inline]
    fn line(&self, hash: u64) -> usize {
        hash as usize & self.lines.len().saturating_sub(1)
    }

    #[inline]
    fn behind(&self, line: usize) -> usize {
        (line + 1) & (self.lines.len() - 1)
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
        (101..=150).for_each(|span| seen.insert(1, span));
        assert!(!seen.reaches_back_to(then) && !seen.contains(1, 1));
        assert!(seen.contains(1, 51));
        assert!(seen.young.len + seen.old.len <= 100);
    }

    #[test]
    fn it_holds_what_was_put_into_it_and_nothing_else() {
        let (mut seen, mut half) = (Seen::new(1 << 20), Half::default());
        for span in 1..=20_000 {
            seen.insert(u128::from(span % 7), span * 3);
            // All of one line, so that each of them goes on into the next.
            half.insert(span << 32);
            assert!(seen.contains(u128::from(span % 7), span * 3) && half.contains(span << 32));
            assert!(!half.contains(span << 32 | 1 << 31) || span > 20_000);
        }
        for span in 1..=20_000u64 {
            let [trace, other] = [span % 7, (span + 1) % 7].map(u128::from);
            assert!(seen.contains(trace, span * 3) && !seen.contains(other, span * 3));
            assert!(!seen.contains(trace, span * 3 + 1));
        }
        assert_eq!((seen.young.len + seen.coming.len(), half.len), (20_000, 20_000));
    }
}
