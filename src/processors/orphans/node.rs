//! A boundary span as the index remembers it: two lines of memory, since many are noted and few
//! ever asked for.

use super::facts::Facts;
use super::words::Role;
use std::time::Duration;

/// A span that may be a parent.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub trace: u128,
    pub span: u64,
    /// 0 for none.
    pub parent: u64,
    pub start: u64,
    pub end: u64,
    pub service: u64,
    pub operation: u64,
    pub tool: u64,
    pub peer: u64,
    pub tenant: u64,
    pub role: Role,
    pub kind: u8,
    /// How far back the one before it of its trace is; 0 if there is none.
    back: u32,
    /// When it came, in nanoseconds: half as long as a duration.
    came: u64,
    /// Its place in the order in which all came.
    pub number: u64,
}

/// No node.
pub const NONE: u64 = u64::MAX;

impl Node {
    /// The node of this number, behind the one numbered `before` of its trace.
    #[inline]
    pub fn of(facts: &Facts, number: u64, before: u64, came: Duration) -> Node {
        let back = number.checked_sub(before).and_then(|back| u32::try_from(back).ok());
        Node {
            trace: facts.trace,
            span: facts.span,
            parent: facts.parent.unwrap_or(0),
            start: facts.start,
            end: facts.end,
            service: facts.service,
            operation: facts.operation,
            tool: facts.tool,
            peer: facts.peer,
            tenant: facts.tenant,
            role: facts.role,
            kind: facts.kind,
            back: back.unwrap_or(0),
            came: u64::try_from(came.as_nanos()).unwrap_or(u64::MAX),
            number,
        }
    }

    pub fn came(&self) -> Duration {
        Duration::from_nanos(self.came)
    }

    /// The number of the one before it of its trace; [`NONE`] if there is none.
    pub fn before(&self) -> u64 {
        if self.back == 0 { NONE } else { self.number.saturating_sub(u64::from(self.back)) }
    }
}
