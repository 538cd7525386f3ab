//! What a client is told: accepted, busy, or refused.
//!
//! A closed vocabulary that every room speaks; only here does it become HTTP and gRPC codes.

use std::time::Duration;

/// The outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// Nothing is wrong with the request; the client should send it again later.
    Busy(Busy),
    /// The request is wrong and will be wrong again.
    Refused(Refused),
}

/// Why a client should come back, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    pub reason: String,
    pub retry_after: Duration,
}

/// Why a request will never be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub kind: Refusal,
    pub reason: String,
}

/// The kinds of refusal that have codes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The bytes are not what they claim to be: 400, INVALID_ARGUMENT.
    Malformed,
    /// Over a size limit: 413, RESOURCE_EXHAUSTED without RetryInfo.
    TooLarge,
    /// No such path or method: 404, UNIMPLEMENTED.
    NotFound,
    /// Not POST: 405.
    Method,
    /// Media type or encoding that is not taken: 415, UNIMPLEMENTED.
    Media,
    /// The client was too slow: 408, DEADLINE_EXCEEDED.
    Slow,
    /// Our own failure: 500, INTERNAL.
    Internal,
}

impl Verdict {
    /// Busy for the default time.
    pub fn busy(reason: impl Into<String>) -> Verdict {
        Verdict::Busy(Busy { reason: reason.into(), retry_after: crate::limits::RETRY_AFTER })
    }

    pub fn refused(kind: Refusal, reason: impl Into<String>) -> Verdict {
        Verdict::Refused(Refused { kind, reason: reason.into() })
    }

    pub fn malformed(reason: impl Into<String>) -> Verdict {
        Verdict::refused(Refusal::Malformed, reason)
    }

    /// Which of several verdicts stands for all. Busy outranks refused: sending again may still
    /// save what the busy one could not take.
    pub fn rank(&self) -> u8 {
        match self {
            Verdict::Accepted => 0,
            Verdict::Refused(_) => 1,
            Verdict::Busy(_) => 2,
        }
    }
}
