//! Values by number, in chunks of memory that are given back when nothing is left in them: what a
//! flood of small traces takes is free for large ones afterwards.

use std::collections::VecDeque;

/// Values of one chunk.
const CHUNK: usize = 256;

/// Values by number. A number is used again once its value is gone.
pub struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks with room. The last is filled first, and those that have just got room come last.
    open: VecDeque<u32>,
    /// Chunks without memory.
    vacant: Vec<u32>,
}

struct Chunk<T> {
    slots: Vec<Option<T>>,
    free: Vec<u8>,
}

impl<T> Chunk<T> {
    fn new() -> Chunk<T> {
        let slots = std::iter::repeat_with(|| None).take(CHUNK).collect();
        Chunk { slots, free: (0..=u8::MAX).rev().collect() }
    }
}

impl<T> Slab<T> {
    pub fn new() -> Slab<T> {
        Slab { chunks: vec![], open: VecDeque::new(), vacant: vec![] }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let chunk = CHUNK * (size_of::<Option<T>>() + 1) + size_of::<Chunk<T>>();
        (self.chunks.len() - self.vacant.len()) * chunk
    }

    pub fn get(&self, number: u32) -> Option<&T> {
        let (chunk, slot) = place(number);
        self.chunks.get(chunk)?.slots.get(slot)?.as_ref()
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (chunk, slot) = place(number);
        self.chunks.get_mut(chunk)?.slots.get_mut(slot)?.as_mut()
    }

    /// Takes `value` in; yields its number.
    pub fn insert(&mut self, value: T) -> u32 {
        let number = self.open.back().copied().unwrap_or_else(|| self.grow());
        let Some(chunk) = self.chunks.get_mut(number as usize) else { return number };
        let free = chunk.free.pop().unwrap_or_default();
        if chunk.free.is_empty() {
            self.open.pop_back();
        }
        if let Some(slot) = chunk.slots.get_mut(usize::from(free)) {
            *slot = Some(value);
        }
        number * CHUNK as u32 + u32::from(free)
    }

    fn grow(&mut self) -> u32 {
        let number = self.vacant.pop().unwrap_or(self.chunks.len() as u32);
        match self.chunks.get_mut(number as usize) {
            Some(chunk) => *chunk = Chunk::new(),
            None => self.chunks.push(Chunk::new()),
        }
        self.open.push_back(number);
        number
    }

    /// Takes a value out.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let (at, slot) = place(number);
        let chunk = self.chunks.get_mut(at)?;
        let value = chunk.slots.get_mut(slot)?.take()?;
        if chunk.free.is_empty() {
            self.open.push_front(at as u32);
        }
        chunk.free.push(slot as u8);
        if chunk.free.len() == CHUNK && self.open.len() > 1 {
            *chunk = Chunk { slots: vec![], free: vec![] };
            self.open.retain(|open| *open as usize != at);
            self.vacant.push(at as u32);
        }
        Some(value)
    }
}

fn place(number: u32) -> (usize, usize) {
    (number as usize / CHUNK, number as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_there_under_its_number_and_memory_is_given_back() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..1000u64).map(|n| slab.insert(n)).collect();
        assert!((0..1000).zip(&numbers).all(|(n, number)| slab.get(*number) == Some(&n)));
        let full = slab.bytes();
        for number in numbers.iter().skip(1) {
            assert!(slab.remove(*number).is_some());
        }
        assert_eq!(slab.remove(numbers[1]), None);
        assert!(slab.bytes() <= full / 2, "{} of {full}", slab.bytes());
        let again: Vec<u32> = (0..999u64).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.bytes(), full);
        assert!(!again.contains(&numbers[0]));
        assert_eq!(slab.get(numbers[0]), Some(&0));
    }
}
