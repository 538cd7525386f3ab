//! Heads that wait for evidence: copies of their spans, request by request, and what was read of
//! them. A block leaves when its time has come, or early when there is too much.

use super::facts::Facts;
use super::index::CANDIDATES;
use super::judge::{Judge, Verdict};
use super::tags::Finding;
use crate::account::Charge;
use crate::batch::Batch;
use crate::limits;
use crate::moment::Moment;
use crate::otlp::view::{ScopeGroup, Span};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use smallvec::SmallVec;
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
    /// What was found of some of them already, by their places in `heads`.
    pub decided: Vec<(usize, Finding)>,
}

impl Block {
    /// What was found of the head at this place while it waited.
    pub fn decided(&self, place: usize) -> Option<&Finding> {
        self.decided.iter().find(|(known, _)| *known == place).map(|(_, finding)| finding)
    }

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
            for (place, (head, verdict)) in self.heads.iter().zip(&mut self.verdicts).enumerate() {
                let Some(head) = head.as_ref().filter(|head| head.parent.is_none() == roots) else {
                    continue;
                };
                if verdict.is_none() {
                    let decided = self.decided.iter().find(|(known, _)| *known == place);
                    let decided = decided.map(|(_, found)| Verdict::Tag(Box::new(found.clone())));
                    let judged = decided.unwrap_or_else(|| judge.due(head, last));
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

/// A head that is held: its block, and its place there.
pub type Waiting = ((Duration, u64), usize);

/// Blocks by the time at which they are due.
pub struct Hold {
    blocks: BTreeMap<(Duration, u64), Block>,
    /// How many roots of each trace are held.
    roots: HashMap<u128, u32, RandomState>,
    /// Some of the heads that name a key, by it, if anybody asks for them.
    naming: Option<HashMap<u64, SmallVec<[Waiting; 1]>, RandomState>>,
    number: u64,
    bytes: usize,
    items: usize,
    limit: usize,
    /// Of what was read of the heads; their batches carry charges of their own.
    charge: Charge,
    facts: usize,
}

impl Hold {
    pub fn new(limit: usize, charge: Charge, by_key: bool) -> Hold {
        let (blocks, roots) = (BTreeMap::new(), HashMap::default());
        let naming = by_key.then(HashMap::default);
        Hold { blocks, roots, naming, number: 0, bytes: 0, items: 0, limit, charge, facts: 0 }
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Spans that are held.
    pub fn items(&self) -> usize {
        self.items
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
        self.items += block.batch.items();
        self.count(self.facts + facts(&block));
        self.number += 1;
        block.roots().for_each(|trace| *self.roots.entry(trace).or_default() += 1);
        for (key, waiting) in names(&block, (due, self.number)) {
            let naming = self.naming.as_mut().map(|naming| naming.entry(key).or_default());
            // With more there is no telling whom a caller called.
            if let Some(few) = naming.filter(|few| few.len() < CANDIDATES) {
                few.push(waiting);
            }
        }
        self.blocks.insert((due, self.number), block);
    }

    /// Whether a head waits for who offers `key`.
    pub fn awaits(&self, key: u64) -> bool {
        self.naming.as_ref().is_some_and(|naming| naming.contains_key(&key))
    }

    /// The heads that do.
    pub fn naming(&self, key: u64) -> SmallVec<[Waiting; 1]> {
        let naming = self.naming.as_ref().and_then(|naming| naming.get(&key));
        naming.cloned().unwrap_or_default()
    }

    pub fn head(&self, (block, place): Waiting) -> Option<&Facts> {
        self.blocks.get(&block)?.heads.get(place)?.as_ref()
    }

    /// Says what was found of a head while it waits.
    pub fn decide(&mut self, (block, place): Waiting, finding: Finding) {
        let Some(block) = self.blocks.get_mut(&block) else { return };
        if block.decided(place).is_none() {
            block.decided.push((place, finding));
        }
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
        let (at, block) = self.blocks.pop_first()?;
        self.bytes = self.bytes.saturating_sub(weight(&block));
        self.items = self.items.saturating_sub(block.batch.items());
        self.count(self.facts.saturating_sub(facts(&block)));
        for (key, waiting) in names(&block, at) {
            if let Some(naming) = &mut self.naming
                && let Entry::Occupied(mut few) = naming.entry(key)
            {
                few.get_mut().retain(|known| *known != waiting);
                if few.get().is_empty() {
                    few.remove();
                }
            }
        }
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

/// The keys that heads of `block`, which stands at `at`, name.
fn names(block: &Block, at: (Duration, u64)) -> impl Iterator<Item = (u64, Waiting)> {
    let heads = block.heads.iter().enumerate();
    let heads = heads.filter_map(|(place, head)| Some((place, head.as_ref()?)));
    heads.flat_map(move |(place, head)| head.names.iter().map(move |key| (key.hash, (at, place))))
}

fn weight(block: &Block) -> usize {
    block.batch.weight() + facts(block)
}

fn facts(block: &Block) -> usize {
    block.heads.len() * size_of::<Option<Facts>>()
}
