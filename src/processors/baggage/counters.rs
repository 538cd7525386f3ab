//! What `baggage` counts: what it wrote, and what it did not take and why.

use crate::processors::Setup;
use crate::telemetry::Counter;

/// The counters of one processor.
pub struct Counters {
    pub promoted: Counter,
    pub malformed: Counter,
    pub beyond: Counter,
    pub too_long: Counter,
    pub distinct: Counter,
}

/// Counts members of baggage that were not taken for this reason.
pub fn rejected(setup: &Setup<'_>, reason: &str) -> Counter {
    let help = "Members of baggage that were not taken, by reason.";
    setup.counter("spanloom_baggage_rejected_members", help, &[("reason", reason)])
}

impl Counters {
    pub fn new(setup: &Setup<'_>) -> Counters {
        let rejected = |reason| rejected(setup, reason);
        let help = "Attributes written from baggage.";
        Counters {
            promoted: setup.counter("spanloom_baggage_promoted_attributes", help, &[]),
            malformed: rejected("malformed"),
            beyond: rejected("beyond_limit"),
            too_long: rejected("too_long"),
            distinct: rejected("too_many_values"),
        }
    }
}
