//! What a client is told: accepted, busy, or refused.
//!
//! A closed vocabulary that every room speaks; only here does it become HTTP and gRPC codes, in
//! both directions: [`Verdict::http`] and [`Verdict::grpc`] for what we answer, [`of_http`] and
//! [`of_grpc`] for what backends answer us. The tables are those of OTLP 1.11, "Failures".

use std::time::Duration;

/// The codes of gRPC and of `google.rpc.Status`.
pub mod code {
    pub const OK: u32 = 0;
    pub const CANCELLED: u32 = 1;
    pub const UNKNOWN: u32 = 2;
    pub const INVALID_ARGUMENT: u32 = 3;
    pub const DEADLINE_EXCEEDED: u32 = 4;
    pub const NOT_FOUND: u32 = 5;
    pub const ALREADY_EXISTS: u32 = 6;
    pub const PERMISSION_DENIED: u32 = 7;
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    pub const FAILED_PRECONDITION: u32 = 9;
    pub const ABORTED: u32 = 10;
    pub const OUT_OF_RANGE: u32 = 11;
    pub const UNIMPLEMENTED: u32 = 12;
    pub const INTERNAL: u32 = 13;
    pub const UNAVAILABLE: u32 = 14;
    pub const DATA_LOSS: u32 = 15;
    pub const UNAUTHENTICATED: u32 = 16;
}

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
    /// The framing of the protocol is broken: 400, INTERNAL.
    Framing,
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

    /// What a person reads; empty if accepted.
    pub fn reason(&self) -> &str {
        match self {
            Verdict::Accepted => "",
            Verdict::Busy(busy) => &busy.reason,
            Verdict::Refused(refused) => &refused.reason,
        }
    }

    /// When to come back: for the busy, and for no one else. Its absence tells clients of
    /// RESOURCE_EXHAUSTED not to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Verdict::Busy(busy) => Some(busy.retry_after),
            _ => None,
        }
    }

    /// The HTTP status.
    pub fn http(&self) -> u16 {
        let kind = match self {
            Verdict::Accepted => return 200,
            Verdict::Busy(_) => return 503,
            Verdict::Refused(refused) => refused.kind,
        };
        match kind {
            Refusal::Malformed | Refusal::Framing => 400,
            Refusal::TooLarge => 413,
            Refusal::NotFound => 404,
            Refusal::Method => 405,
            Refusal::Media => 415,
            Refusal::Slow => 408,
            Refusal::Internal => 500,
        }
    }

    /// The gRPC code, one of [`code`]; also that in the body of an HTTP error.
    pub fn grpc(&self) -> u32 {
        let kind = match self {
            Verdict::Accepted => return code::OK,
            Verdict::Busy(_) => return code::UNAVAILABLE,
            Verdict::Refused(refused) => refused.kind,
        };
        match kind {
            Refusal::Malformed => code::INVALID_ARGUMENT,
            Refusal::TooLarge => code::RESOURCE_EXHAUSTED,
            Refusal::NotFound | Refusal::Method | Refusal::Media => code::UNIMPLEMENTED,
            // Retryable by the table, and rightly so: the network was slow, not the request wrong.
            Refusal::Slow => code::DEADLINE_EXCEEDED,
            Refusal::Framing | Refusal::Internal => code::INTERNAL,
        }
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

/// What a backend's answer means for the request that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has the request.
    Delivered,
    /// Another attempt may succeed.
    Retry,
    /// Another attempt is forbidden.
    Refused,
}

/// The meaning of an HTTP status. Redirects are not followed, so they are refusals.
pub fn of_http(status: u16) -> Answer {
    match status {
        200..=299 => Answer::Delivered,
        429 | 502 | 503 | 504 => Answer::Retry,
        _ => Answer::Refused,
    }
}

/// The meaning of a gRPC code; `retry_info` says whether the status carried a `RetryInfo`. Codes
/// that nobody has defined mean UNKNOWN.
pub fn of_grpc(code: u32, retry_info: bool) -> Answer {
    match code {
        code::OK => Answer::Delivered,
        code::CANCELLED
        | code::DEADLINE_EXCEEDED
        | code::ABORTED
        | code::OUT_OF_RANGE
        | code::UNAVAILABLE
        | code::DATA_LOSS => Answer::Retry,
        code::RESOURCE_EXHAUSTED if retry_info => Answer::Retry,
        _ => Answer::Refused,
    }
}

/// The gRPC code of an answer that has an HTTP status and no `grpc-status`: a proxy's, not a gRPC
/// server's. The table is gRPC's own.
pub fn grpc_of_http(status: u16) -> u32 {
    match status {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502 | 503 | 504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_its_codes() {
        let refused = |kind| Verdict::refused(kind, "x");
        let cases = [
            (Verdict::Accepted, 200, code::OK),
            (Verdict::busy("x"), 503, code::UNAVAILABLE),
            (refused(Refusal::Malformed), 400, code::INVALID_ARGUMENT),
            (refused(Refusal::Framing), 400, code::INTERNAL),
            (refused(Refusal::TooLarge), 413, code::RESOURCE_EXHAUSTED),
            (refused(Refusal::NotFound), 404, code::UNIMPLEMENTED),
            (refused(Refusal::Method), 405, code::UNIMPLEMENTED),
            (refused(Refusal::Media), 415, code::UNIMPLEMENTED),
            (refused(Refusal::Slow), 408, code::DEADLINE_EXCEEDED),
            (refused(Refusal::Internal), 500, code::INTERNAL),
        ];
        for (verdict, http, grpc) in cases {
            assert_eq!((verdict.http(), verdict.grpc()), (http, grpc), "{verdict:?}");
            let busy = matches!(verdict, Verdict::Busy(_));
            assert_eq!(verdict.retry_after().is_some(), busy, "{verdict:?}");
        }
    }

    /// What we answer must mean to clients what we meant, by the table that they go by.
    #[test]
    fn only_the_busy_and_the_slow_are_told_to_come_back() {
        for kind in [Refusal::Malformed, Refusal::TooLarge, Refusal::Media, Refusal::Internal] {
            let verdict = Verdict::refused(kind, "x");
            assert_eq!(of_http(verdict.http()), Answer::Refused, "{kind:?}");
            assert_eq!(of_grpc(verdict.grpc(), false), Answer::Refused, "{kind:?}");
        }
        let busy = Verdict::busy("x");
        assert_eq!(of_http(busy.http()), Answer::Retry);
        assert_eq!(of_grpc(busy.grpc(), true), Answer::Retry);
    }

    #[test]
    fn all_grpc_codes_with_and_without_retry_info() {
        const RETRY: [u32; 6] = [1, 4, 10, 11, 14, 15];
        for code in 0..40 {
            for retry_info in [false, true] {
                let expected = match code {
                    0 => Answer::Delivered,
                    8 if retry_info => Answer::Retry,
                    _ if RETRY.contains(&code) => Answer::Retry,
                    _ => Answer::Refused,
                };
                assert_eq!(of_grpc(code, retry_info), expected, "{code} {retry_info}");
            }
        }
    }

    #[test]
    fn all_http_statuses() {
        for status in 100..600 {
            let expected = match status {
                _ if status / 100 == 2 => Answer::Delivered,
                429 | 502 | 503 | 504 => Answer::Retry,
                _ => Answer::Refused,
            };
            assert_eq!(of_http(status), expected, "{status}");
            // The two tables agree on what is worth another attempt.
            let by_grpc = of_grpc(grpc_of_http(status), false);
            assert_eq!(by_grpc == Answer::Retry, expected == Answer::Retry, "{status}");
        }
    }
}
