//! The decision about one item: a pure function of the configuration and of what the item says, so
//! that every replica decides the same.

use super::threshold::{Randomness, Threshold};

/// How randomness is found and thresholds are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// By the hash of the trace id, or of an attribute, with this seed.
    HashSeed(u32, Threshold),
    /// The threshold is raised to this one.
    Equalizing(Threshold),
    /// The probability is multiplied by this ratio, with this precision.
    Proportional(f64, usize),
}

/// What an item says.
#[derive(Clone, Copy, Default)]
pub struct Asked<'a> {
    /// What it says of sampling before; `None` if that cannot be read.
    pub before: Option<Before>,
    /// Zero or empty is none.
    pub trace_id: &'a [u8],
    /// What is hashed where there is no trace id.
    pub attribute: &'a [u8],
    /// The threshold that the item's priority asks for.
    pub priority: Option<Threshold>,
}

/// What samplers before have said.
#[derive(Clone, Copy, Default)]
pub struct Before {
    pub threshold: Option<Threshold>,
    pub randomness: Option<Randomness>,
}

/// Why an item cannot be sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Unreadable,
    RandomnessInUse,
    ThresholdInUse,
    MissingRandomness,
    Inconsistent,
}

impl Fault {
    /// For the log.
    pub fn sentence(self) -> &'static str {
        match self {
            Fault::Unreadable => "its tracestate or its sampling attributes cannot be read",
            Fault::RandomnessInUse => {
                "it says its randomness already; use mode equalizing or proportional"
            }
            Fault::ThresholdInUse => {
                "it says its threshold already; use mode equalizing or proportional"
            }
            Fault::MissingRandomness => "it has no trace id, nor another source of randomness",
            Fault::Inconsistent => "its threshold says that it should not have been sampled before",
        }
    }
}

/// Where the decision comes from, as the Collector's counters call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    TraceIdHash,
    TraceIdW3c,
    SamplingRandomness,
    SamplingPriority,
    MissingRandomness,
    Attribute,
}

/// What becomes of an item, and what it says from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    pub keeps: bool,
    /// To be written, if it is kept.
    pub threshold: Option<Threshold>,
    pub randomness: Option<Randomness>,
    pub policy: Policy,
    pub fault: Option<Fault>,
}

impl Mode {
    /// Decides about an item; `fail_closed` says whether one that cannot be sampled is dropped.
    pub fn decide(self, asked: &Asked<'_>, fail_closed: bool) -> Decision {
        let (randomness, mut policy) = self.randomness(asked);
        let fault = self.fault(asked, randomness);
        let before = asked.before.unwrap_or_default();
        let mut threshold = match fault {
            Some(_) if fail_closed || self.is_never() => Threshold::NEVER,
            Some(_) => Threshold::ALWAYS,
            None => self.threshold(before.threshold),
        };
        if let Some(priority) = asked.priority {
            threshold = priority;
            policy = Policy::SamplingPriority;
        }
        let keeps = threshold.keeps(randomness.unwrap_or(Randomness::MOST));
        let is_kept_out = matches!(
            fault,
            Some(Fault::Unreadable | Fault::RandomnessInUse | Fault::ThresholdInUse)
        );
        let writes = keeps && !is_kept_out;
        // A probability is never raised: who was sampled at 10 % stands for ten.
        let is_lower = fault != Some(Fault::Inconsistent)
            && before.threshold.is_some_and(|before| threshold < before);
        let hashed = matches!(self, Mode::HashSeed(..)) && writes;
        Decision {
            keeps,
            threshold: Some(threshold).filter(|_| writes && !is_lower),
            randomness: randomness.filter(|_| hashed),
            policy,
            fault,
        }
    }

    /// Whether nothing passes but what has priority.
    fn is_never(self) -> bool {
        match self {
            Mode::HashSeed(_, threshold) | Mode::Equalizing(threshold) => {
                threshold == Threshold::NEVER
            }
            Mode::Proportional(ratio, _) => ratio == 0.0,
        }
    }

    fn randomness(self, asked: &Asked<'_>) -> (Option<Randomness>, Policy) {
        let has_trace_id = asked.trace_id.iter().any(|byte| *byte != 0);
        match self {
            Mode::HashSeed(seed, _) if has_trace_id => {
                (Some(Randomness::hashed(asked.trace_id, seed)), Policy::TraceIdHash)
            }
            Mode::HashSeed(seed, _) if !asked.attribute.is_empty() => {
                (Some(Randomness::hashed(asked.attribute, seed)), Policy::Attribute)
            }
            Mode::HashSeed(..) => (None, Policy::MissingRandomness),
            Mode::Equalizing(_) | Mode::Proportional(..) => {
                let own = asked.before.and_then(|before| before.randomness);
                match (own, Randomness::of_trace_id(asked.trace_id)) {
                    (Some(own), _) => (Some(own), Policy::SamplingRandomness),
                    (None, Some(found)) => (Some(found), Policy::TraceIdW3c),
                    (None, None) => (None, Policy::MissingRandomness),
                }
            }
        }
    }

    fn fault(self, asked: &Asked<'_>, randomness: Option<Randomness>) -> Option<Fault> {
        let Some(before) = asked.before else { return Some(Fault::Unreadable) };
        if matches!(self, Mode::HashSeed(..)) && before.randomness.is_some() {
            return Some(Fault::RandomnessInUse);
        }
        if matches!(self, Mode::HashSeed(..)) && before.threshold.is_some() {
            return Some(Fault::ThresholdInUse);
        }
        let Some(randomness) = randomness else { return Some(Fault::MissingRandomness) };
        let wrong = before.threshold.is_some_and(|threshold| !threshold.keeps(randomness));
        wrong.then_some(Fault::Inconsistent)
    }

    fn threshold(self, before: Option<Threshold>) -> Threshold {
        match self {
            Mode::HashSeed(_, threshold) => threshold,
            Mode::Equalizing(threshold) => before.map_or(threshold, |before| before.max(threshold)),
            Mode::Proportional(ratio, precision) => {
                let before = before.map_or(1.0, Threshold::probability);
                // What is smaller than any threshold says is not sampled.
                Threshold::of(before * ratio, precision).unwrap_or(Threshold::NEVER)
            }
        }
    }
}
