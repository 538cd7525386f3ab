//! Heads that have left without a parent that is known: what may still answer the question, and
//! when it is given up.
//!
//! Who misses a parent is found again by its id, others by a key that they name or by the trace of
//! the context that they noted. Of those that miss the same parent one entry is kept. The ledger is
//! bounded in entries; those go first that came first. Spans that nobody waits for cost one look
//! at whether anybody waits in their trace, for each run of spans of one.

use super::ages::Ages;
use super::facts::Facts;
use super::index::CANDIDATES;
use super::tags::{Finding, status};
use crate::account::Charge;
use crate::limits;
use crate::moment::Moment;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Place;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

/// What is always remembered of a head.
pub struct Head {
    pub trace: u128,
    pub span: u64,
    pub parent: Option<u64>,
    pub start: u64,
    pub remote: Option<bool>,
}

/// A head that left, and others that miss the same parent.
pub struct Entry {
    pub head: Head,
    /// All that was read of a root, to judge it again.
    pub facts: Option<Box<Facts>>,
    /// What was said of it.
    pub finding: Finding,
    /// Others that miss its parent, as many as one bridge has links to; and all that do.
    pub others: SmallVec<[u64; 1]>,
    pub count: usize,
    /// What stood around the head, as it left: the fields of its group but for the spans; and the
    /// bytes of it that no entry before had.
    pub group: Arc<[u8]>,
    pub own: usize,
    /// Its tenant as an attribute of a span, if it has one of its own.
    pub tenant: Box<[u8]>,
    /// The process that it came from.
    pub instance: u64,
    pub came: Duration,
    until: Duration,
}

/// A span that came late: an answer to the entries that miss it.
pub struct Late {
    pub trace: u128,
    pub span: u64,
    pub service: u64,
}

/// Numbers of entries.
type Numbers = SmallVec<[u64; 1]>;

pub struct Ledger {
    entries: BTreeMap<u64, Entry>,
    number: u64,
    /// For how long; not at all if that is nothing.
    time: Duration,
    limit: usize,
    /// Entries that miss a parent, by trace and span.
    missing: HashMap<(u128, u64), u64, RandomState>,
    /// How many of them there are of each trace.
    traces: HashMap<u128, u32, RandomState>,
    /// Entries by the keys that they name, and by the trace of the context that they noted.
    keys: HashMap<u64, Numbers, RandomState>,
    noted: HashMap<u128, Numbers, RandomState>,
    /// What stood around heads lately, by hash: mostly the same.
    groups: Ages<Option<Arc<[u8]>>>,
    hasher: RandomState,
    /// When spans of a process came last, while any span misses its parent.
    alive: Ages<Duration>,
    now: Moment,
    /// Whether entries miss a parent in the trace at hand.
    owed: bool,
    /// What came in this batch: parents, and entries that may find theirs.
    came: Vec<Late>,
    asked: Vec<u64>,
    charge: Charge,
    bytes: usize,
}

impl Ledger {
    pub fn new(limit: usize, time: Duration, charge: Charge) -> Ledger {
        Ledger {
            entries: BTreeMap::new(),
            number: 0,
            time,
            limit,
            missing: HashMap::default(),
            traces: HashMap::default(),
            keys: HashMap::default(),
            noted: HashMap::default(),
            groups: Ages::new(limits::ORPHAN_GROUPS),
            hasher: RandomState::default(),
            alive: Ages::new(limits::ORPHAN_SERVICES),
            now: Moment::default(),
            owed: false,
            came: vec![],
            asked: vec![],
            charge,
            bytes: 0,
        }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether anything may still be learned of a head that leaves with this finding.
    pub fn takes(&self, head: &Facts, finding: &Finding) -> bool {
        let open = match head.parent {
            Some(_) => finding.status != status::RESOLVED,
            None => {
                let asks = !head.names.is_empty() || head.captured.is_some();
                let several = finding.status == status::AMBIGUOUS;
                asks && !several && finding.status != status::RESOLVED
            }
        };
        open && !self.time.is_zero()
    }

    /// Notes a head that leaves. Yields how many were forgotten for it.
    pub fn put(&mut self, mut entry: Entry, now: Moment) -> usize {
        let missing = entry.head.parent.map(|parent| (entry.head.trace, parent));
        let known = missing.and_then(|missing| self.missing.get(&missing));
        if let Some(known) = known.and_then(|number| self.entries.get_mut(number)) {
            known.count += 1;
            if known.others.len() + 2 < limits::ORPHAN_LINKS {
                known.others.push(entry.head.span);
            }
            return 0;
        }
        let mut forgotten = 0;
        while self.entries.len() >= self.limit && self.forget_first() {
            forgotten += 1;
        }
        entry.until = now.monotonic + self.time;
        self.enter(entry);
        forgotten
    }

    fn enter(&mut self, entry: Entry) {
        self.number += 1;
        let number = self.number;
        if let Some(parent) = entry.head.parent {
            self.missing.insert((entry.head.trace, parent), number);
            *self.traces.entry(entry.head.trace).or_default() += 1;
        } else if let Some(facts) = &entry.facts {
            for key in &facts.names {
                let few = self.keys.entry(key.hash).or_default();
                // With more there is no telling whom a caller called.
                if few.len() < CANDIDATES {
                    few.push(number);
                }
            }
            if let Some((trace, _)) = facts.captured.as_deref() {
                let few = self.noted.entry(*trace).or_default();
                if few.len() < CANDIDATES {
                    few.push(number);
                }
            }
        }
        self.bytes += weight(&entry);
        self.charge.resize(self.bytes);
        self.entries.insert(number, entry);
    }

    fn forget_first(&mut self) -> bool {
        let first = self.entries.first_key_value().map(|(number, _)| *number);
        first.and_then(|number| self.take(number)).is_some()
    }

    /// Takes out the entry of this number.
    pub fn take(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        let trace = entry.head.trace;
        if let Some(parent) = entry.head.parent {
            self.missing.remove(&(trace, parent));
            if let Place::Occupied(mut count) = self.traces.entry(trace) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        } else if let Some(facts) = &entry.facts {
            facts.names.iter().for_each(|key| leave(&mut self.keys, key.hash, number));
            facts.captured.iter().for_each(|noted| leave(&mut self.noted, noted.0, number));
        }
        self.bytes = self.bytes.saturating_sub(weight(&entry));
        self.charge.resize(self.bytes);
        Some(entry)
    }

    /// Spans of `trace` follow.
    #[inline]
    pub fn follow(&mut self, trace: u128) {
        if self.entries.is_empty() {
            self.owed = false;
            return;
        }
        self.owed = self.traces.contains_key(&trace);
        self.asked.extend(self.noted.get(&trace).into_iter().flatten());
    }

    /// A span of the trace at hand came.
    #[inline]
    pub fn comes(&mut self, trace: u128, span: u64, service: u64) {
        if self.owed && self.missing.contains_key(&(trace, span)) {
            self.came.push(Late { trace, span, service });
        }
    }

    /// A span came that offers these keys.
    #[inline]
    pub fn offers(&mut self, facts: &Facts) {
        if !self.keys.is_empty() {
            let keys = facts.offers.iter().filter_map(|key| self.keys.get(&key.hash));
            self.asked.extend(keys.flatten());
        }
    }

    /// The parents that came in this batch, each with the entry that missed it.
    pub fn answered(&mut self) -> Vec<(Late, Entry)> {
        let came = std::mem::take(&mut self.came);
        let answered = came.into_iter().filter_map(|late| {
            let number = *self.missing.get(&(late.trace, late.span))?;
            Some((late, self.take(number)?))
        });
        answered.collect()
    }

    /// The numbers of the entries that spans of this batch may answer.
    pub fn asked(&mut self) -> Vec<u64> {
        let mut asked = std::mem::take(&mut self.asked);
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    /// What was read of the root in the entry of this number.
    pub fn root(&self, number: u64) -> Option<Facts> {
        self.entries.get(&number)?.facts.as_deref().cloned()
    }

    /// Fields that stand around heads, once for all of them, and how many bytes of them are new.
    pub fn share(&mut self, fields: Vec<u8>) -> (Arc<[u8]>, usize) {
        self.groups.update(self.hasher.hash_one(&fields), |known| match known {
            Some(known) if **known == *fields => (known.clone(), 0),
            _ => {
                let own = fields.len();
                (known.insert(fields.into()).clone(), own)
            }
        })
    }

    /// When the next entry is given up.
    pub fn next(&self) -> Option<Duration> {
        self.entries.first_key_value().map(|(_, entry)| entry.until)
    }

    /// The next entry that is given up now. One whose parent is of its own process waits on for as
    /// long as that lives.
    pub fn given_up(&mut self, now: Moment) -> Option<Entry> {
        loop {
            let (number, _) =
                self.entries.first_key_value().filter(|(_, entry)| entry.until <= now.monotonic)?;
            let mut entry = self.take(*number)?;
            if entry.head.remote == Some(false) && self.lives(entry.instance, now) {
                entry.until = now.monotonic + self.time;
                self.enter(entry);
                continue;
            }
            return Some(entry);
        }
    }

    /// Whether it is of interest which processes live.
    #[inline]
    pub fn watches(&self) -> bool {
        !self.traces.is_empty()
    }

    /// A batch begins.
    pub fn begin(&mut self, now: Moment) {
        self.now = now;
    }

    /// Spans of a process came.
    pub fn saw(&mut self, instance: u64) {
        let now = self.now.monotonic;
        self.alive.update(instance, |last| *last = now);
    }

    fn lives(&self, instance: u64, now: Moment) -> bool {
        let last = self.alive.get(instance);
        last.is_some_and(|last| *last + limits::ORPHAN_SILENCE > now.monotonic)
    }
}

/// Takes an entry out of a list.
fn leave<K: std::hash::Hash + Eq>(
    lists: &mut HashMap<K, Numbers, RandomState>,
    key: K,
    number: u64,
) {
    if let Place::Occupied(mut few) = lists.entry(key) {
        few.get_mut().retain(|known| *known != number);
        if few.get().is_empty() {
            few.remove();
        }
    }
}

/// Bytes that an entry counts as: itself, its places in tables, what was read of it. What stood
/// around it is mostly shared.
fn weight(entry: &Entry) -> usize {
    let facts = entry.facts.as_ref().map_or(0, |_| size_of::<Facts>());
    size_of::<Entry>() + 4 * size_of::<(u128, u64, u64)>() + facts + entry.tenant.len() + entry.own
}

/// A head that leaves now.
pub fn entry(head: &Facts, finding: &Finding, came: Duration) -> Entry {
    Entry {
        head: Head {
            trace: head.trace,
            span: head.span,
            parent: head.parent,
            start: head.start,
            remote: head.remote(),
        },
        facts: head.parent.is_none().then(|| Box::new(head.clone())),
        finding: finding.clone(),
        others: SmallVec::new(),
        count: 1,
        group: Arc::from([]),
        own: 0,
        tenant: Box::from([]),
        instance: 0,
        came,
        until: Duration::ZERO,
    }
}
