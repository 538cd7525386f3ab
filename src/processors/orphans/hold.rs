//! Heads that wait for evidence: copies of their spans, request by request, and what was read of
//! them. A block leaves when its time has come, or early when there is too much.

use super::facts::Facts;
use super::judge::{Judge, Verdict};
use crate::account::Charge;
use crate::batch::Batch;
use crate::limits;
use crate::moment::Moment;
use crate::otlp::view::{ScopeGroup, Span};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::BTreeMap;
use std::time::Duration;

/// Roots are judged every so many times that their block is.
const ROOTS_EVERY: u32 = 4;

/// What was held of one request.
pub struct Block {
    pub batch: Batch,
    /// Of each span that is held in it, in order; `None` of those that are no heads.
    pub heads: Vec<Option<Facts>>,
    /// What is known of the heads already, while others of the block wait.
    pub verdicts: Vec<Option<Verdict>>,
    /// How often it was judged.
    pub tries: u32,
    pub came: Duration,
}

impl Block {
    pub fn spans(&self) -> impl Iterator<Item = Span<'_>> {
        let groups = self.batch.request().resource_groups();
        groups.flat_map(|group| group.scope_groups()).flat_map(ScopeGroup::spans)
    }

    /// Judges the heads, and says whether all are judged. What is certain of one stays so, since
    /// what speaks for it may be forgotten while others wait. The other roots are judged when
    /// nothing waits any more, and before that now and then.
    pub fn judge(&mut self, judge: &mut Judge<'_>, last: bool) -> bool {
        let roots_too = self.tries.is_multiple_of(ROOTS_EVERY);
        self.tries += 1;
        self.verdicts.iter_mut().for_each(|it| *it = it.take().filter(Verdict::is_certain));
        self.verdicts.resize_with(self.heads.len(), || None);
        let mut waits = false;
        for roots in [false, true] {
            if roots && waits && !roots_too {
                break;
            }
            for (head, verdict) in self.heads.iter().zip(&mut self.verdicts) {
                let Some(head) = head.as_ref().filter(|head| head.parent.is_none() == roots) else {
                    continue;
                };
                if verdict.is_none() {
                    let judged = judge.due(head, last);
                    waits |= judged == Verdict::Wait;
                    *verdict = Some(judged);
                }
            }
        }
        !waits
    }

    /// The traces of the roots in it.
    pub fn roots(&self) -> impl Iterator<Item = u128> {
        self.heads.iter().flatten().filter(|head| head.parent.is_none()).map(|head| head.trace)
    }
}

/// Blocks by the time at which they are due.
pub struct Hold {
    blocks: BTreeMap<(Duration, u64), Block>,
    /// How many roots of each trace are held.
    roots: HashMap<u128, u32, RandomState>,
    number: u64,
    bytes: usize,
    limit: usize,
    /// Of what was read of the heads; their batches carry charges of their own.
    charge: Charge,
    facts: usize,
}

impl Hold {
    pub fn new(limit: usize, charge: Charge) -> Hold {
        let (blocks, roots) = (BTreeMap::new(), HashMap::default());
        Hold { blocks, roots, number: 0, bytes: 0, limit, charge, facts: 0 }
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Blocks that are held.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether a root of `trace` is held.
    pub fn has_root_of(&self, trace: u128) -> bool {
        self.roots.contains_key(&trace)
    }

    pub fn put(&mut self, block: Block, due: Duration) {
        let tick = limits::ORPHAN_TICK.as_nanos().max(1);
        let ticks = u64::try_from(due.as_nanos().div_ceil(tick)).unwrap_or(u64::MAX);
        let due = Duration::from_nanos(ticks.saturating_mul(tick as u64));
        self.bytes += weight(&block);
        self.count(self.facts + facts(&block));
        self.number += 1;
        block.roots().for_each(|trace| *self.roots.entry(trace).or_default() += 1);
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
        for trace in block.roots() {
            if let Entry::Occupied(mut count) = self.roots.entry(trace) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
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
