//! The bytes of held spans: blocks, each of one request, in segments of memory that are used again.
//!
//! Spans are held for seconds, come on all threads and leave in no order, which is what allocators
//! are worst at: with an allocation for each request the process took half as much again as was
//! held. Segments are allocated once, filled one after the other, and free when nothing in them is
//! held. Traces leave about in the order in which they came, so most segments empty by themselves;
//! where much is free between what is held, the sparsest one's spans are copied out of it. So what
//! is counted is what is taken.

use super::runs::Run;
use crate::receipt::Receipts;
use crate::verdict::Verdict;
use bytes::{Bytes, BytesMut};

/// Bytes that a block takes besides its own: its slot, twice for growth, and its share of lists.
const BLOCK_BYTES: usize = 192;

/// The part of full segments, one in so many, that may be free between what is held. Of fewer
/// segments than these the one that empties would be moved for nothing.
const FREE_SHARE: usize = 4;

/// Free segments that are kept for the next.
const SPARE: usize = 4;

/// A request of which spans are held.
pub struct Block {
    pub bytes: Bytes,
    /// Items of the request if it is here as it came, else 0.
    pub whole: usize,
    /// The numbers of the traces of its runs; some may have left.
    pub traces: Vec<u32>,
    /// What the journal claims, if there is one: each batch with a run of it gets a clone.
    pub receipts: Receipts,
    segment: u32,
    runs: usize,
    /// Runs that are about to leave.
    leaving: usize,
}

/// Memory of several blocks, or of a large one.
struct Segment {
    /// What is not filled.
    rest: BytesMut,
    capacity: usize,
    /// The numbers of its blocks; some may be gone.
    blocks: Vec<u32>,
    live: usize,
    /// Bytes that are held in it.
    held: usize,
}

/// Blocks by number.
pub struct Blocks {
    slots: Vec<Option<Block>>,
    free: Vec<u32>,
    segments: Vec<Option<Segment>>,
    free_segments: Vec<u32>,
    /// The segment that is being filled.
    open: Option<u32>,
    /// Bytes of all others, and how many of them are held.
    full: usize,
    held: usize,
    spare: Vec<BytesMut>,
    segment_bytes: usize,
    bytes: usize,
}

impl Blocks {
    pub fn new(segment_bytes: usize) -> Blocks {
        Blocks {
            slots: vec![],
            free: vec![],
            segments: vec![],
            free_segments: vec![],
            open: None,
            full: 0,
            held: 0,
            spare: vec![],
            segment_bytes,
            bytes: 0,
        }
    }

    /// Bytes that all of them take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that a block of `len` bytes would take in addition.
    pub fn growth(&self, len: usize) -> usize {
        match len {
            _ if len > self.segment_bytes / 2 => len,
            _ if self.has_room(len) || !self.spare.is_empty() => 0,
            _ => self.segment_bytes,
        }
    }

    fn has_room(&self, len: usize) -> bool {
        let open = self.open.and_then(|open| self.segment(open));
        open.is_some_and(|segment| segment.rest.capacity() >= len)
    }

    fn segment(&self, number: u32) -> Option<&Segment> {
        self.segments.get(number as usize)?.as_ref()
    }

    fn segment_mut(&mut self, number: u32) -> Option<&mut Segment> {
        self.segments.get_mut(number as usize)?.as_mut()
    }

    /// A block of these `parts`, of `len` bytes in all; `whole` if they are a request of so many
    /// items. Yields its number.
    pub fn insert<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]>,
        len: usize,
        whole: usize,
    ) -> u32 {
        let segment = self.room(len);
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        let Some(place) = self.segment_mut(segment) else { return number };
        parts.for_each(|part| place.rest.extend_from_slice(part));
        let bytes = place.rest.split().freeze();
        place.blocks.push(number);
        place.live += 1;
        let (traces, receipts) = (vec![], Receipts::none());
        let block = Block { bytes, whole, traces, receipts, segment, runs: 0, leaving: 0 };
        self.bytes += BLOCK_BYTES;
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = Some(block),
            None => self.slots.push(Some(block)),
        }
        number
    }

    /// A segment with room for `len` bytes.
    fn room(&mut self, len: usize) -> u32 {
        if len > self.segment_bytes / 2 {
            self.full += len;
            return self.begin(BytesMut::with_capacity(len), len);
        }
        if self.has_room(len)
            && let Some(open) = self.open
        {
            return open;
        }
        self.close();
        let size = self.segment_bytes;
        // What has left may still be on its way.
        let free = self.spare.iter_mut().position(|spare| spare.try_reclaim(size));
        let rest = match free {
            Some(free) => self.spare.swap_remove(free),
            None => BytesMut::with_capacity(size),
        };
        self.bytes -= if free.is_some() { size } else { 0 };
        let open = self.begin(rest, size);
        self.open = Some(open);
        open
    }

    /// The open segment is full.
    fn close(&mut self) {
        let Some(number) = self.open.take() else { return };
        let Some(segment) = self.segment(number) else { return };
        let live = segment.live;
        (self.full, self.held) = (self.full + segment.capacity, self.held + segment.held);
        if live == 0 {
            self.end(number);
        }
    }

    fn begin(&mut self, rest: BytesMut, capacity: usize) -> u32 {
        self.bytes += capacity;
        let segment = Some(Segment { rest, capacity, blocks: vec![], live: 0, held: 0 });
        let number = self.free_segments.pop().unwrap_or(self.segments.len() as u32);
        match self.segments.get_mut(number as usize) {
            Some(place) => *place = segment,
            None => self.segments.push(segment),
        }
        number
    }

    /// Takes a full segment out in which nothing is held.
    fn end(&mut self, number: u32) {
        let place = self.segments.get_mut(number as usize);
        let Some(segment) = place.and_then(Option::take) else { return };
        self.free_segments.push(number);
        (self.full, self.held) = (self.full - segment.capacity, self.held - segment.held);
        if segment.capacity == self.segment_bytes && self.spare.len() < SPARE {
            self.spare.push(segment.rest);
        } else {
            self.bytes -= segment.capacity;
        }
    }

    pub fn get(&self, number: u32) -> Option<&Block> {
        self.slots.get(number as usize)?.as_ref()
    }

    /// Lets `receipts` stand for what is held of a block.
    pub fn claim(&mut self, number: u32, receipts: Receipts) {
        if let Some(block) = self.get_mut(number) {
            block.receipts = receipts;
        }
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Block> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    /// The bytes of `run`.
    pub fn bytes_of(&self, run: &Run) -> &[u8] {
        self.get(run.block).map_or(&[], |block| run.of(&block.bytes))
    }

    /// Counts `run`, of the trace `trace`, as held.
    pub fn add(&mut self, run: &Run, trace: u32) {
        let Some(block) = self.get_mut(run.block) else { return };
        block.runs += 1;
        let before = block.traces.capacity();
        if block.traces.last() != Some(&trace) {
            block.traces.push(trace);
        }
        let (segment, after) = (block.segment, block.traces.capacity());
        self.bytes += (after - before) * size_of::<u32>();
        self.held += if self.open == Some(segment) { 0 } else { run.len() };
        if let Some(segment) = self.segment_mut(segment) {
            segment.held += run.len();
        }
    }

    /// So many runs are about to leave, of traces that stand in this block only.
    pub fn leave(&mut self, number: u32, runs: usize) {
        if let Some(block) = self.get_mut(number) {
            block.leaving += runs;
        }
    }

    /// The request as it came, if all of it leaves, and it is no smaller than `least`.
    pub fn leaves_whole(&self, number: u32, least: usize) -> Option<&Block> {
        let block = self.get(number)?;
        let whole = block.whole > 0 && block.leaving == block.runs && block.bytes.len() >= least;
        whole.then_some(block)
    }

    /// `run` is not held any more.
    pub fn let_go(&mut self, run: &Run) {
        let Some(block) = self.get_mut(run.block) else { return };
        block.runs -= 1;
        block.leaving = 0;
        let (number, runs) = (block.segment, block.runs);
        self.held -= if self.open == Some(number) { 0 } else { run.len() };
        if let Some(segment) = self.segment_mut(number) {
            segment.held -= run.len();
        }
        if runs == 0
            && let Some(block) = self.remove(run.block)
        {
            // Its share of the claim; those of the batches that it left in go on.
            block.receipts.settle(&Verdict::Accepted);
        }
    }

    /// The numbers of the blocks of the sparsest segment, if much is free between what is held and
    /// that one is half empty.
    pub fn sparse(&mut self) -> Option<Vec<u32>> {
        if (self.full - self.held) * FREE_SHARE <= self.full {
            return None;
        }
        let open = self.open.map(|open| open as usize);
        let full = self.segments.iter().enumerate().filter(|(number, _)| Some(*number) != open);
        let full = full.filter_map(|(number, segment)| Some((number, segment.as_ref()?)));
        let half = full.filter(|(_, segment)| segment.held < segment.capacity / 2);
        let (number, _) = half.min_by_key(|(_, segment)| segment.held * 1024 / segment.capacity)?;
        let segment = self.segment_mut(number as u32)?;
        let mut blocks = std::mem::take(&mut segment.blocks);
        blocks.sort_unstable();
        blocks.dedup();
        let there = |block: &Block| block.segment as usize == number;
        blocks.retain(|block| self.get(*block).is_some_and(there));
        Some(blocks)
    }

    /// Takes a block out, with all of its runs.
    pub fn remove(&mut self, number: u32) -> Option<Block> {
        let block = self.slots.get_mut(number as usize)?.take()?;
        self.free.push(number);
        self.bytes -= BLOCK_BYTES + block.traces.capacity() * size_of::<u32>();
        let open = self.open == Some(block.segment);
        let segment = self.segment_mut(block.segment)?;
        segment.live -= 1;
        if segment.live == 0 && !open {
            self.end(block.segment);
        }
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers::Headers;
    use super::super::runs::Group;
    use super::*;

    fn block(blocks: &mut Blocks, len: usize) -> Run {
        let bytes = vec![7; len];
        let block = blocks.insert([&bytes[..]].into_iter(), len, 0);
        let id = Headers::default().take(b"");
        let group = Group { resource: id, scope: id };
        let run = Run { block, group, at: 0, end: len as u32, items: 1 };
        blocks.add(&run, 1);
        run
    }

    #[test]
    fn segments_are_filled_and_used_again() {
        let mut blocks = Blocks::new(1000);
        for _ in 0..100 {
            let runs: Vec<Run> = (0..30).map(|_| block(&mut blocks, 300)).collect();
            assert!(blocks.bytes() < 15 * 1000 + 30 * 300, "{}", blocks.bytes());
            assert!(runs.iter().all(|run| blocks.bytes_of(run) == [7; 300]));
            for run in &runs {
                blocks.let_go(run);
            }
        }
        assert_eq!(blocks.bytes(), (SPARE + 1) * 1000);
    }

    #[test]
    fn what_empties_in_order_is_not_moved_and_what_is_sparse_is() {
        let mut blocks = Blocks::new(1000);
        let runs: Vec<Run> = (0..90).map(|_| block(&mut blocks, 300)).collect();
        let (old, young) = runs.split_at(60);
        for run in old {
            blocks.let_go(run);
            assert_eq!(blocks.sparse(), None);
        }
        let go = young.iter().filter(|run| run.block % 3 != 1);
        go.for_each(|run| blocks.let_go(run));
        let mut moved = 0;
        while let Some(sparse) = blocks.sparse() {
            for number in sparse {
                blocks.remove(number);
                block(&mut blocks, 300);
                moved += 1;
            }
        }
        assert!((5..=10).contains(&moved), "{moved} of ten");
        assert!((blocks.full - blocks.held) * FREE_SHARE <= blocks.full);
    }

    #[test]
    fn what_is_on_its_way_is_not_overwritten() {
        let mut blocks = Blocks::new(1000);
        let mut kept = vec![];
        for n in 0..50u8 {
            let number = blocks.insert([&[n; 400][..]].into_iter(), 400, 0);
            kept.push((n, blocks.remove(number).unwrap().bytes));
        }
        assert!(kept.iter().all(|(n, bytes)| bytes.iter().all(|byte| byte == n)));
    }

    #[test]
    fn a_large_request_has_a_segment_of_its_own() {
        let mut blocks = Blocks::new(1000);
        let small = block(&mut blocks, 100);
        let large = block(&mut blocks, 5000);
        let beside = block(&mut blocks, 100);
        assert!(blocks.bytes() < 6000 + 3 * 300);
        blocks.let_go(&large);
        assert!(blocks.bytes() < 1000 + 3 * 300);
        assert_eq!(blocks.bytes_of(&small), blocks.bytes_of(&beside));
    }
}
