//! Which traces were joined to which, so that late spans follow.
//!
//! Bounded in number and time; what is joined to one trace is bounded too.

use crate::limits;
use crate::moment::Moment;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// The traces that were joined to others, the oldest first.
pub struct Aliases {
    to: HashMap<u128, u128, RandomState>,
    /// Fragments and spans that were joined to a trace.
    sizes: HashMap<u128, (usize, usize), RandomState>,
    ages: VecDeque<(Duration, u128)>,
    limit: usize,
    ttl: Duration,
}

impl Aliases {
    pub fn new(limit: usize, ttl: Duration) -> Aliases {
        let (to, sizes) = (HashMap::default(), HashMap::default());
        Aliases { to, sizes, ages: VecDeque::new(), limit, ttl }
    }

    /// Whether `trace` was joined to another.
    pub fn contains(&self, trace: u128) -> bool {
        self.to.contains_key(&trace)
    }

    /// Forgets those that are too old, or too many.
    pub fn expire(&mut self, now: Moment) {
        while let Some((at, trace)) = self.ages.front().copied() {
            if self.ages.len() <= self.limit && at + self.ttl > now.monotonic {
                return;
            }
            self.ages.pop_front();
            if let Some(target) = self.to.remove(&trace) {
                self.sizes.remove(&target);
            }
        }
    }

    /// The trace that spans of `trace` go to.
    pub fn of(&self, trace: u128) -> u128 {
        let mut at = trace;
        for _ in 0..limits::ORPHAN_DEPTH {
            match self.to.get(&at) {
                Some(next) => at = *next,
                None => return at,
            }
        }
        trace
    }

    /// Notes that `trace` with so many spans is joined to `target`; not if that gets too large.
    pub fn add(&mut self, trace: u128, target: u128, spans: usize, now: Moment) -> bool {
        let (own_fragments, own_spans) = self.sizes.get(&trace).copied().unwrap_or_default();
        let (fragments, joined) = self.sizes.get(&target).copied().unwrap_or_default();
        let (fragments, spans) = (fragments + own_fragments + 1, joined + own_spans + spans);
        if fragments > limits::ORPHAN_FRAGMENTS || spans > limits::ORPHAN_JOINED_SPANS {
            return false;
        }
        self.sizes.insert(target, (fragments, spans));
        self.to.insert(trace, target);
        self.ages.push_back((now.monotonic, trace));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_lead_to_the_first_and_are_forgotten() {
        let mut aliases = Aliases::new(2, Duration::from_secs(60));
        let start = Moment::default();
        assert!(aliases.add(3, 2, 10, start) && aliases.add(2, 1, 10, start));
        assert_eq!([1, 2, 3, 4].map(|trace| aliases.of(trace)), [1, 1, 1, 4]);
        assert!(aliases.add(5, 1, 1, start.plus(Duration::from_secs(30))));
        aliases.expire(start);
        assert!(!aliases.contains(3) && aliases.contains(5), "one too many");
        aliases.expire(start.plus(Duration::from_secs(60)));
        assert!(!aliases.contains(2) && aliases.contains(5));
    }

    #[test]
    fn what_is_joined_to_one_trace_is_bounded() {
        let mut aliases = Aliases::new(1000, Duration::from_secs(60));
        let now = Moment::default();
        assert!(!aliases.add(7, 8, limits::ORPHAN_JOINED_SPANS + 1, now) && !aliases.contains(7));
        for trace in 0..limits::ORPHAN_FRAGMENTS as u128 {
            assert!(aliases.add(100 + trace, 1, 1, now));
        }
        assert!(!aliases.add(9, 1, 1, now));
        // Its own pieces count too.
        assert!(!aliases.add(1, 2, 1, now));
    }
}
