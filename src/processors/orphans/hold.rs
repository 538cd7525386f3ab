//! Heads that wait for evidence: copies of their spans, and what was read of them.
//!
//! What is held of one request is a block; blocks that are due together are joined up to a size.
//! One leaves when its time has come, or early when there is too much, and what of it is to wait
//! longer stays as another. Where whole fragments are held blocks stay as they came, since the
//! spans of one leave together.

use super::Mode;
use super::facts::Facts;
use super::index::CANDIDATES;
use super::judge::{Judge, Verdict};
use super::tags::Finding;
use crate::account::Charge;
use crate::batch::Batch;
use crate::limits;
use crate::moment::Moment;
use crate::otlp::cut::cut;
use crate::otlp::edit::Edits;
use crate::otlp::view::{ScopeGroup, Span};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use smallvec::SmallVec;
use std::collections::{BTreeMap, btree_map};
use std::hint::black_box;
use std::time::Duration;

/// Roots are judged every so many times that their block is.
const ROOTS_EVERY: u32 = 4;

/// Bytes in a line of memory.
const LINE: usize = 64;

/// A head that waits.
pub struct Head {
    pub facts: Facts,
    pub came: Duration,
    /// What is known of it already, while others of the block wait.
    pub verdict: Option<Verdict>,
    /// What was found of it while it waited.
    pub decided: Option<Box<Finding>>,
}

impl Head {
    pub fn new(facts: Facts, came: Duration) -> Head {
        Head { facts, came, verdict: None, decided: None }
    }

    /// Whether its parent may still come.
    pub fn waits(&self) -> bool {
        self.verdict == Some(Verdict::Wait)
    }

    fn is_root(&self) -> bool {
        self.facts.parent.is_none()
    }
}

/// What was held of one request, or of several that are due together.
pub struct Block {
    pub batch: Batch,
    /// Of each span that is held in it, in order; `None` of those that are no heads.
    pub heads: Vec<Option<Head>>,
    /// How often it was judged.
    pub tries: u32,
    /// When the first of it came.
    pub came: Duration,
}

impl Block {
    pub fn new(batch: Batch, heads: Vec<Option<Head>>, came: Duration) -> Block {
        Block { batch, heads, tries: 0, came }
    }

    /// Asks for all of its memory: it was touched last when it came, and to wait for one line after
    /// the other takes longer than all that is done with them.
    fn warm(&self) {
        let bytes = self.batch.bytes().iter().step_by(LINE).fold(0, |all, byte| all ^ byte);
        let heads = self.heads().fold(0, |all, Head { facts, .. }| {
            all ^ facts.span ^ facts.conversation ^ facts.asks ^ (facts.names.len() as u64)
        });
        black_box((bytes, heads));
    }

    pub fn spans(&self) -> impl Iterator<Item = Span<'_>> {
        let groups = self.batch.request().resource_groups();
        groups.flat_map(|group| group.scope_groups()).flat_map(ScopeGroup::spans)
    }

    pub fn heads(&self) -> impl Iterator<Item = &Head> {
        self.heads.iter().flatten()
    }

    /// Judges the heads, and says whether all are judged. If they leave as a `whole`, what is
    /// certain of one stays so, since what speaks for it may be forgotten while others wait; the
    /// other roots are judged when nothing waits any more, and before that now and then. Those that
    /// came at such a time that it is their `last` chance do not wait.
    pub fn judge(
        &mut self,
        judge: &mut Judge<'_>,
        last: impl Fn(Duration) -> bool,
        whole: bool,
    ) -> bool {
        self.warm();
        let roots_too = self.tries.is_multiple_of(ROOTS_EVERY);
        self.tries += 1;
        let mut waits = false;
        for roots in [false, true] {
            let put_off = whole && roots && waits && !roots_too;
            for head in self.heads.iter_mut().flatten().filter(|head| head.is_root() == roots) {
                head.verdict = head.verdict.take().filter(Verdict::is_certain);
                if put_off || head.verdict.is_some() {
                    continue;
                }
                let judged = match &head.decided {
                    Some(finding) => Verdict::Tag(finding.clone()),
                    None => judge.due(&head.facts, last(head.came)),
                };
                waits |= judged == Verdict::Wait;
                head.verdict = Some(judged);
            }
        }
        !waits
    }

    /// Parts it into what is ready and those heads whose parents may still come.
    pub fn part(mut self) -> (Block, Option<Block>) {
        let waits = |head: &Option<Head>| head.as_ref().is_some_and(Head::waits);
        let starts: Vec<usize> = self.spans().map(|span| span.0.start).collect();
        let starts = starts.into_iter().zip(&self.heads).filter(|(_, head)| waits(head));
        let starts: Vec<usize> = starts.map(|(start, _)| start).collect();
        let all = std::mem::take(&mut self.heads);
        let (waiting, ready): (Vec<_>, Vec<_>) = all.into_iter().partition(waits);
        let came = waiting.iter().flatten().map(|head| head.came).min();
        let mut edits = Edits::default();
        let alone = cut(&mut edits, self.batch.bytes(), &starts);
        let waiting = came.map(|came| {
            let batch = self.batch.part(alone, waiting.len());
            Block { batch, heads: waiting, tries: self.tries, came }
        });
        let batch = self.batch.edited(&mut edits);
        (Block { batch, heads: ready, ..self }, waiting)
    }

    /// Takes `other` over. Room is made for as many heads as there are in a block of such spans:
    /// what is held for a while is not to take twice as much as it needs.
    fn append(&mut self, other: Block) {
        let (all, bytes) = (self.heads.len(), self.batch.bytes().len().max(1));
        self.batch.append(other.batch, limits::ORPHAN_BLOCK);
        if self.heads.capacity() - all < other.heads.len() {
            let more = all.min((limits::ORPHAN_BLOCK * all / bytes).saturating_sub(all));
            self.heads.reserve_exact(other.heads.len().max(more));
        }
        self.heads.extend(other.heads);
        self.came = self.came.min(other.came);
        self.tries = self.tries.min(other.tries);
    }

    /// The traces of the roots in it.
    pub fn roots(&self) -> impl Iterator<Item = u128> {
        self.heads().filter(|head| head.is_root()).map(|head| head.facts.trace)
    }
}

/// A head that is held: its block, and its place there.
pub type Waiting = ((Duration, u64), usize);

/// Blocks by the time at which they are due.
pub struct Hold {
    blocks: BTreeMap<(Duration, u64), Block>,
    mode: Mode,
    /// How many roots of each trace are held, if fragments are.
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
    pub fn new(limit: usize, charge: Charge, mode: Mode) -> Hold {
        let (blocks, roots) = (BTreeMap::new(), HashMap::default());
        let naming = (mode == Mode::Link).then(HashMap::default);
        let (number, bytes, items, facts) = (0, 0, 0, 0);
        Hold { blocks, mode, roots, naming, number, bytes, items, limit, charge, facts }
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
        self.items += block.batch.items();
        if self.mode == Mode::Rewrite {
            block.roots().for_each(|trace| *self.roots.entry(trace).or_default() += 1);
        }
        let at = self.joinable(&block, due).unwrap_or_else(|| {
            self.number += 1;
            (due, self.number)
        });
        let before = self.blocks.get(&at).map_or(0, |held| held.heads.len());
        for (key, (at, place)) in names(&block, at) {
            let naming = self.naming.as_mut().map(|naming| naming.entry(key).or_default());
            // With more there is no telling whom a caller called.
            if let Some(few) = naming.filter(|few| few.len() < CANDIDATES) {
                few.push((at, before + place));
            }
        }
        let (held, counted) = match self.blocks.entry(at) {
            btree_map::Entry::Vacant(free) => (free.insert(block), (0, 0)),
            btree_map::Entry::Occupied(held) => {
                let held = held.into_mut();
                let counted = (weight(held), facts(held));
                held.append(block);
                (held, counted)
            }
        };
        let (weight, facts) = (weight(held), facts(held));
        self.bytes += weight - counted.0;
        self.count(self.facts + facts - counted.1);
    }

    /// Where a block is held that `block` can be joined to.
    fn joinable(&self, block: &Block, due: Duration) -> Option<(Duration, u64)> {
        let whole = self.mode == Mode::Rewrite;
        let mut due_then = self.blocks.range((due, 0)..=(due, u64::MAX));
        let (at, held) = due_then.next_back().filter(|_| !whole)?;
        let bytes = held.batch.bytes().len() + block.batch.bytes().len();
        (bytes <= limits::ORPHAN_BLOCK).then_some(*at)
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
        let head = self.blocks.get(&block)?.heads.get(place)?;
        head.as_ref().map(|head| &head.facts)
    }

    /// Says what was found of a head while it waits.
    pub fn decide(&mut self, (block, place): Waiting, finding: Finding) {
        let Some(block) = self.blocks.get_mut(&block) else { return };
        if let Some(Some(head)) = block.heads.get_mut(place) {
            head.decided.get_or_insert_with(|| Box::new(finding));
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
        for trace in block.roots().filter(|_| self.mode == Mode::Rewrite) {
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
    heads.flat_map(move |(place, head)| {
        head.facts.names.iter().map(move |key| (key.hash, (at, place)))
    })
}

fn weight(block: &Block) -> usize {
    block.batch.weight() + facts(block)
}

fn facts(block: &Block) -> usize {
    block.heads.len() * size_of::<Option<Head>>()
}
