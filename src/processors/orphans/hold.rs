//! Heads that wait for evidence: copies of their spans, request by request, and what was read of
//! them. A block leaves when its time has come, or early when there is too much.

use super::facts::Facts;
use crate::account::Charge;
use crate::batch::Batch;
use crate::limits;
use crate::moment::Moment;
use std::collections::BTreeMap;
use std::time::Duration;

/// What was held of one request.
pub struct Block {
    pub batch: Batch,
    /// Of each span that is held in it, in order; `None` of those that are no heads.
    pub heads: Vec<Option<Facts>>,
    pub came: Duration,
}

/// Blocks by the time at which they are due.
pub struct Hold {
    blocks: BTreeMap<(Duration, u64), Block>,
    number: u64,
    bytes: usize,
    limit: usize,
    /// Of what was read of the heads; their batches carry charges of their own.
    charge: Charge,
    facts: usize,
}

impl Hold {
    pub fn new(limit: usize, charge: Charge) -> Hold {
        Hold { blocks: BTreeMap::new(), number: 0, bytes: 0, limit, charge, facts: 0 }
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn put(&mut self, block: Block, due: Duration) {
        let tick = limits::ORPHAN_TICK.as_nanos().max(1);
        let ticks = u64::try_from(due.as_nanos().div_ceil(tick)).unwrap_or(u64::MAX);
        let due = Duration::from_nanos(ticks.saturating_mul(tick as u64));
        self.bytes += weight(&block);
        self.count(self.facts + facts(&block));
        self.number += 1;
        self.blocks.insert((due, self.number), block);
    }

    /// When the next block is due.
    pub fn next(&self) -> Option<Moment> {
        let ((due, _), _) = self.blocks.first_key_value()?;
        Some(Moment { monotonic: *due, unix_nanos: 0 })
    }

    /// The next block that is due, or too much, and whether it is that.
    pub fn take(&mut self, now: Moment, all: bool) -> Option<(Block, bool)> {
        let ((due, _), _) = self.blocks.first_key_value()?;
        let early = *due > now.monotonic;
        if early && !all && self.bytes <= self.limit {
            return None;
        }
        let (_, block) = self.blocks.pop_first()?;
        self.bytes = self.bytes.saturating_sub(weight(&block));
        self.count(self.facts.saturating_sub(facts(&block)));
        Some((block, early))
    }

    fn count(&mut self, facts: usize) {
        self.facts = facts;
        self.charge.resize(facts);
    }
}

fn weight(block: &Block) -> usize {
    block.batch.weight() + facts(block)
}

fn facts(block: &Block) -> usize {
    block.heads.len() * size_of::<Option<Facts>>()
}
