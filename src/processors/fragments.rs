//! Traces that are fragments of others: a trace that was torn off, and the span that it belongs
//! below.
//!
//! Who finds it out says it here ([`Fragments::join`]), and whoever works by trace can ask
//! ([`Fragments::above`]). One place for all pipelines with the same receivers, since it is about
//! ids alone. Bounded in traces and time, as all memory of traces.

use super::Setup;
use super::memory::{Bounds, Gauges, Memory};
use super::places::Striped;
use crate::limits;
use crate::moment::Moment;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A span, by the keys of its trace and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub trace: u128,
    pub span: u64,
}

/// What each fragment stands below.
pub struct Fragments {
    above: Striped<Memory<Option<Place>>>,
    /// Whether there ever was one: usually nobody has to ask further.
    any: AtomicBool,
}

impl Fragments {
    /// Those that processors in pipelines with the same receivers have together.
    pub fn of(setup: &Setup<'_>) -> Arc<Fragments> {
        setup.common(|| Fragments {
            above: Striped::new(setup.shards, || Memory::new(bounds(setup), gauges(setup), |_| 0)),
            any: AtomicBool::new(false),
        })
    }

    /// The trace `fragment` belongs below `above`.
    pub fn join(&self, fragment: u128, above: Place, now: Moment) {
        self.any.store(true, Ordering::Relaxed);
        let mut known = self.above.lock(fragment);
        known.expire(now);
        known.update(fragment, now, |place| *place = Some(above));
    }

    /// Whether there ever was one.
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// How many traces `fragment` is below, up to a bound.
    pub fn depth(&self, fragment: u128, now: Moment) -> u32 {
        let mut at = fragment;
        (0..limits::FRAGMENTS_DEPTH)
            .take_while(|_| match self.above(at, now) {
                Some(place) => {
                    at = place.trace;
                    true
                }
                None => false,
            })
            .count() as u32
    }

    /// The span that the trace `fragment` belongs below, if it is a fragment of another.
    #[inline]
    pub fn above(&self, fragment: u128, now: Moment) -> Option<Place> {
        if !self.any() {
            return None;
        }
        self.above.lock(fragment).get(fragment, now).copied().flatten()
    }
}

fn bounds(setup: &Setup<'_>) -> Bounds {
    let traces = setup.portion(limits::FRAGMENTS);
    Bounds { traces, bytes: usize::MAX, ttl: limits::FRAGMENTS_TTL }
}

fn gauges(setup: &Setup<'_>) -> Gauges {
    let forgotten = |cause| {
        let help = "Fragments of traces that were forgotten, by cause.";
        setup.registry.counter("spanloom_fragments_forgotten", help, &[("cause", cause)])
    };
    Gauges {
        traces: setup
            .registry
            .gauge("spanloom_fragments", "Traces known as fragments.", &[])
            .into(),
        evicted: forgotten("evicted"),
        expired: forgotten("expired"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Signal;
    use crate::telemetry::Registry;

    #[test]
    fn what_one_says_the_others_know_for_a_time() {
        let registry = Registry::default();
        let setup = Setup::new("orphans", "traces", Signal::Traces, &registry);
        let places = setup.places.clone();
        let other = Setup::new("baggage", "logs", Signal::Logs, &registry);
        let (one, other) = (Fragments::of(&setup), Fragments::of(&Setup { places, ..other }));
        let (now, above) = (Moment::default(), Place { trace: 1, span: 7 });
        assert_eq!(other.above(2, now), None);
        one.join(2, above, now);
        assert_eq!((other.above(2, now), other.above(1, now)), (Some(above), None));
        one.join(4, Place { trace: 2, span: 9 }, now);
        assert_eq!([1, 2, 4].map(|trace| other.depth(trace, now)), [0, 1, 2]);
        one.join(5, Place { trace: 5, span: 9 }, now);
        assert_eq!(other.depth(5, now) as usize, limits::FRAGMENTS_DEPTH);
        let later = now.plus(limits::FRAGMENTS_TTL);
        one.join(3, above, later.plus(limits::FRAGMENTS_TTL));
        assert_eq!(other.above(2, later), None);
    }
}
