//! What processors have together that run in different tasks: the shards of one pipeline, and
//! pipelines of several signals that see the same telemetry.
//!
//! Two kinds of places, in each of which one value of a type stands:
//!
//! - [`Setup::shared`]: for processors of one id, in pipelines with the same receivers and the same
//!   processors before it. What one of them learned is then nothing that another was not to see:
//!   behind `sensitive` nobody reads what was learned in front of it.
//! - [`Setup::common`]: for all processors in pipelines with the same receivers. Only what may be
//!   known to all of them belongs there, such as which trace is part of which.
//!
//! A pipeline that begins with a connector shares with none but its own shards, since what
//! happened in front of the connector may differ. Places live as long as the graph.
//!
//! What changes stands in [`Striped`], cut by trace id as pipelines are cut into shards, so that
//! shards do not meet. A lock is held for one trace's turn, and never while another is taken.

use super::Setup;
use super::memory::trace_key;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Anything = Arc<dyn Any + Send + Sync>;

/// All places of a graph. Cloning shares them.
#[derive(Clone, Default)]
pub struct Places(Arc<Mutex<HashMap<(String, TypeId), Anything>>>);

impl Places {
    /// What stands at `name`; what `make` makes, if there is nothing yet.
    fn find<T: Send + Sync + 'static>(&self, name: String, make: impl FnOnce() -> T) -> Arc<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name, TypeId::of::<T>());
        let found = all.get(&key).and_then(|found| found.clone().downcast::<T>().ok());
        found.unwrap_or_else(|| {
            let made = Arc::new(make());
            all.insert(key, made.clone());
            made
        })
    }
}

impl Setup<'_> {
    /// The value that processors of this id have together, where they see the same; `make` makes
    /// it for the first of them.
    pub fn shared<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let (id, origin, before) = (self.id, self.origin, self.before);
        self.places.find(format!("{id}\n{origin}\n{before}"), make)
    }

    /// The value that all processors have together that see telemetry of the same receivers.
    pub fn common<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        self.places.find(self.origin.to_owned(), make)
    }

    /// What this shard may take of a `limit` that is the pipeline's.
    pub fn portion(&self, limit: usize) -> usize {
        limit.div_ceil(self.shards.max(1))
    }
}

/// Which of `shards` the trace `key` belongs to. Those that make ids may choose their low bits or
/// their high ones, so all are mixed; items without a trace, whose key is 0, stay together.
#[inline]
pub fn shard(key: u128, shards: usize) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let folded = (key as u64 ^ ((key >> 64) as u64).rotate_left(32)).wrapping_mul(MIX);
    let mixed = (folded ^ folded >> 32).wrapping_mul(MIX);
    ((u128::from(mixed) * shards as u128) >> 64) as usize
}

/// The same of a trace id as an item has it.
#[inline]
pub fn shard_of(id: &[u8], shards: usize) -> usize {
    shard(trace_key(id).unwrap_or_default(), shards)
}

/// Values behind locks, each for some of the traces: at least one.
pub struct Striped<T> {
    first: Mutex<T>,
    others: Vec<Mutex<T>>,
}

impl<T> Striped<T> {
    /// `stripes` of what `make` makes.
    pub fn new(stripes: usize, make: impl Fn() -> T) -> Striped<T> {
        let others = (1..stripes).map(|_| Mutex::new(make())).collect();
        Striped { first: Mutex::new(make()), others }
    }

    /// The value for the trace `key`, which others wait for meanwhile.
    #[inline]
    pub fn lock(&self, key: u128) -> MutexGuard<'_, T> {
        let stripe = match self.others.len() {
            0 => &self.first,
            n => shard(key, n + 1)
                .checked_sub(1)
                .and_then(|n| self.others.get(n))
                .unwrap_or(&self.first),
        };
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, one after the other.
    pub fn each(&self, mut visit: impl FnMut(&mut T)) {
        for stripe in std::iter::once(&self.first).chain(&self.others) {
            visit(&mut stripe.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Signal;
    use crate::telemetry::Registry;

    #[test]
    fn those_share_that_have_the_same_id_and_see_the_same() {
        let (registry, places) = (Registry::default(), Places::default());
        let setup =
            |id: &'static str, signal: Signal, origin: &'static str, before: &'static str| {
                let setup = Setup::new(id, signal.name(), signal, &registry);
                Setup { origin, before, places: places.clone(), ..setup }
            };
        let first = setup("baggage", Signal::Traces, "otlp", "sensitive");
        let shared = first.shared(|| Mutex::new(0));
        for (other, same) in [
            (setup("baggage", Signal::Logs, "otlp", "sensitive"), true),
            (setup("baggage/2", Signal::Logs, "otlp", "sensitive"), false),
            (setup("baggage", Signal::Logs, "otlp", ""), false),
            (setup("baggage", Signal::Logs, "otlp/2", "sensitive"), false),
        ] {
            let found = other.shared(|| Mutex::new(0));
            assert_eq!(Arc::ptr_eq(&shared, &found), same, "{} {}", other.id, other.origin);
        }
        let common = first.common(|| Mutex::new(0));
        let other = setup("orphans", Signal::Logs, "otlp", "");
        assert!(Arc::ptr_eq(&common, &other.common(|| Mutex::new(0))));
        assert!(!Arc::ptr_eq(&common, &setup("a", Signal::Logs, "b", "").common(|| Mutex::new(0))));
        assert!(!Arc::ptr_eq(&common, &shared));
    }

    #[test]
    fn traces_are_spread_whichever_bits_of_their_ids_differ() {
        for shift in [0, 8, 32, 56, 64, 96, 120] {
            let mut found = [0; 8];
            (1..=200u128).for_each(|n| found[shard(n << shift, 8)] += 1);
            assert!(found.iter().all(|n| *n >= 8), "at bit {shift}: {found:?}");
        }
        assert_eq!((shard(7, 1), shard(u128::MAX, 1), shard(0, 8)), (0, 0, 0));
    }

    #[test]
    fn a_stripe_has_the_traces_of_its_shard() {
        let stripes = Striped::new(4, Vec::new);
        (0..100u128).for_each(|key| stripes.lock(key).push(shard(key, 4)));
        let mut sizes = vec![];
        stripes.each(|stripe| {
            assert!(stripe.windows(2).all(|two| two[0] == two[1]), "one shard each");
            sizes.push(stripe.len());
        });
        assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (4, 100));
    }
}
