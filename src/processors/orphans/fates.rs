//! What becomes of traces in mode `rewrite`, for pipelines of log records to know: those of the
//! same processor id, receivers and processors before it.
//!
//! A pipeline of spans says it here and decides by what it knows itself: another one with the same
//! spans must not take its decisions for late ones.

use super::ages::Ages;
use crate::limits;
use crate::moment::Moment;
use crate::processors::Setup;
use crate::processors::places::Striped;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// It is held, and may still get another trace.
    Open,
    /// Its spans are of this trace now.
    Moved(u128),
}

pub struct Fates {
    stripes: Striped<Stripe>,
    hasher: RandomState,
}

struct Stripe {
    moved: Ages<(u128, Duration)>,
    /// How many roots of each trace are held: as many as the limit of what is held allows.
    open: HashMap<u128, u32, RandomState>,
}

impl Fates {
    /// Those that this processor has together with its namesakes.
    pub fn of(setup: &Setup<'_>) -> Arc<Fates> {
        let limit = setup.portion(limits::ORPHAN_ALIASES);
        let stripe = || Stripe { moved: Ages::new(limit), open: HashMap::default() };
        setup.shared(|| Fates {
            stripes: Striped::new(setup.shards, stripe),
            hasher: RandomState::default(),
        })
    }

    /// A root of `trace` is held.
    pub fn open(&self, trace: u128) {
        *self.stripes.lock(trace).open.entry(trace).or_default() += 1;
    }

    /// A root of `trace` is held no more.
    pub fn close(&self, trace: u128) {
        let mut stripe = self.stripes.lock(trace);
        if let Some(count) = stripe.open.get_mut(&trace) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                stripe.open.remove(&trace);
            }
        }
    }

    /// Spans of `trace` are of the trace `to` now.
    pub fn moved(&self, trace: u128, to: u128, now: Moment) {
        let moved = &mut self.stripes.lock(trace).moved;
        moved.update(self.hasher.hash_one(trace), |place| *place = (to, now.monotonic));
    }

    pub fn fate(&self, trace: u128, now: Moment) -> Fate {
        let stripe = self.stripes.lock(trace);
        match stripe.moved.get(self.hasher.hash_one(trace)) {
            Some((to, since)) if *since + limits::ORPHAN_ALIAS_TIME > now.monotonic => {
                Fate::Moved(*to)
            }
            _ if stripe.open.contains_key(&trace) => Fate::Open,
            _ => Fate::Stays,
        }
    }
}
